/**
 * The device TLB of a drive that a lab gives one (`ats`): asked by the drive's own requests, filled by translation requests over its
 * link, and known to the queue of its IOMMU, which sends it invalidations (PCI Express Base Specification chapter 10).
 */
import { DeviceTlb } from '../iommu/ats/deviceTlb.ts';
import { answerOfFaultReason, answerOfRiscvCause, TranslationAgent } from '../iommu/ats/translationAgent.ts';
import type { Iommu } from '../iommu/iommu.ts';
import type { FabricCosts } from '../pcie/fabric.ts';
import type { Way } from '../pcie/way.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import type { PartOf } from './schema.ts';

const PAGES_2M = 512;

export function buildDeviceTlb(
  options: NonNullable<PartOf<'nvme'>['ats']>,
  sourceId: number,
  iommu: Iommu,
  way: Way,
  costs: FabricCosts,
): DeviceTlb {
  const { entries4K, entries2M, ways, entriesPerRequest, lookupNs, invalidationNs, queueDepth } = options;
  const { rootComplex, memoryRead } = costs;
  const answerOf = iommu.vendor === 'riscv' ? answerOfRiscvCause : answerOfFaultReason;
  const arrays = [
    { pages: 1, entries: entries4K, ways },
    { pages: PAGES_2M, entries: entries2M, ways },
  ];
  const tlb = new DeviceTlb({
    sourceId,
    agent: new TranslationAgent({ translator: iommu, way, rootComplex, answerOf }),
    untranslated: iommu,
    arrays: arrays.filter(({ entries }) => entries > 0),
    entriesPerRequest,
    lookup: nanoseconds(lookupNs),
    // a read that has just been translated: there and back, and its data
    useTime: picoseconds(2 * (way.downTime(0) + rootComplex) + memoryRead),
    invalidation: nanoseconds(invalidationNs),
  });
  iommu.deviceTlbs.add(sourceId, { tlb, way, rootComplex, queueDepth });
  return tlb;
}
