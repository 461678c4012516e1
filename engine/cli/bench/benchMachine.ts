/** The machine that the bench measures: a VT-d IOMMU of common size, kernel 7.3, one device, costs of the default preset. */
import { createDmaDevice, type DmaDevice, type DomainType } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { kernelProfile } from '../../dma/kernels/profiles.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { resolveCosts } from '../../lab/presets.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';

const MEMORY_BYTES = 2 ** 30;
const PROFILE = '7.3';
const GEOMETRY = {
  iotlb: { entries4K: 128, entries2M: 32, entries1G: 4, ways: 4 },
  pagingCache: { entries512G: 8, entries1G: 16, entries2M: 64 },
  contextCacheEntries: 16,
  walkers: 6,
};

export interface BenchMachine {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly iommu: Iommu;
  readonly api: DmaApi;
  readonly device: DmaDevice;
}

export function benchMachine(domain: DomainType): BenchMachine {
  const memory = new PhysicalMemory(MEMORY_BYTES);
  const frames = new FrameAllocator(memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
  const costs = resolveCosts({ preset: 'default', overrides: {} }, PROFILE);
  const shared = { memory, frames, counters: new Counters(), log: null };
  const iommu = new Iommu({ ...shared, name: 'iommu0', geometry: GEOMETRY, costs: costs.hardware });
  const kernel = { profile: kernelProfile(PROFILE), costs: costs.dma, cpus: 1 };
  const api = new DmaApi({ ...shared, ...kernel, iommu, trace: null, timers: null });
  const device = createDmaDevice({ name: '0000:01:00.0', sourceId: 0x100 });
  api.attach(device, domain);
  return { memory, frames, iommu, api, device };
}
