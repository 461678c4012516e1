/**
 * Whether a device may ask for translations stands in its entry, and software writes it there (VT-d specification 9.3, TT, and 9.4, DTE; AMD
 * specification 48882, 2.2.2.1, I; SMMUv3 specification IHI 0070, 5.2, EATS). Who asks without it gets an Unsupported Request.
 */
import { expect, test } from 'vitest';
import { DeviceDomains } from '../attachDomain.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Link } from '../../pcie/link.ts';
import { Way } from '../../pcie/way.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import { FREE_IOMMU_COSTS } from '../../iommu/freeCosts.ts';
import { Iommu } from '../../iommu/iommu.ts';
import {
  answerOfFaultReason,
  ATS_SUCCESS,
  ATS_UNSUPPORTED_REQUEST,
  TranslationAgent,
} from '../../iommu/ats/translationAgent.ts';

const DEVICE = 0x0108;

test.each([
  ['vtd', false],
  ['vtd', true],
  ['amd', false],
  ['smmuv3', false],
] as const)(
  '%s, scalable mode %s: a device without the bit is not answered, one with it is',
  (vendor, scalableMode) => {
    const memory = new PhysicalMemory(2 ** 28);
    const frames = new FrameAllocator(memory, 1, 2 ** 16 - 1);
    const iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      geometry: {
        iotlb: { entries4K: 16, entries2M: 4, entries1G: 4, ways: 4 },
        pagingCache: { entries512G: 4, entries1G: 4, entries2M: 4 },
        contextCacheEntries: 2,
        walkers: 1,
      },
      costs: FREE_IOMMU_COSTS,
      counters: new Counters(),
      log: null,
      vendor,
      scalableMode,
    });
    const domains = new DeviceDomains(memory, frames, iommu);
    const agent = new TranslationAgent({
      translator: iommu,
      way: new Way(
        new Link({
          generation: 3,
          lanes: 4,
          maxPayloadSize: 256,
          maxReadRequestSize: 512,
          propagation: nanoseconds(100),
        }),
      ),
      rootComplex: nanoseconds(10),
      answerOf: answerOfFaultReason,
    });
    const table = frames.allocatePage();
    const answerOf = (source: number): number => agent.request(source, NO_PASID, 5, 1, false, picoseconds(0));
    domains.attach(DEVICE, 3, table, domains.firstLevels);
    expect(answerOf(DEVICE)).toBe(ATS_UNSUPPORTED_REQUEST);
    domains.attach(DEVICE + 1, 4, table, domains.firstLevels, true);
    // nothing is mapped, which is an answer
    expect([answerOf(DEVICE + 1), agent.entries]).toEqual([ATS_SUCCESS, 1]);
  },
);
