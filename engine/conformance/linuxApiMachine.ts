/**
 * The emulated machine on which recorded DMA API calls are made again: memory as large as the recorded machine's, the kernel
 * profile's DMA API, its IOMMU, the device that the calls are for, and a plain DMA engine behind the same requester id.
 * Page tables and coherent memory lie in the largest stretch of RAM that the recording leaves alone.
 * Leaves out: time (nothing here costs anything) and the other devices, but for the domain ids that they took.
 */
import { EduDevice } from '../devices/eduDevice.ts';
import { dmaCostParameters, resolveDmaCosts } from '../dma/kernels/costs.ts';
import { createDmaDevice, type DmaDevice, type ReservedRegion } from '../dma/device.ts';
import { DmaApi } from '../dma/dmaApi.ts';
import { kernelProfile, type KernelProfile } from '../dma/kernels/profiles.ts';
import { Swiotlb } from '../dma/swiotlb/swiotlb.ts';
import type { DmaTrace } from '../dma/trace.ts';
import { FREE_IOMMU_COSTS } from '../iommu/freeCosts.ts';
import { Iommu, type IommuGeometry } from '../iommu/iommu.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Fabric } from '../pcie/fabric.ts';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import { picoseconds } from '../time/picoseconds.ts';
import type { BouncePool } from './linuxApiBounce.ts';
import type { PageRun } from './linuxApiObjects.ts';
import type { ApiSystem } from './linuxApiSystem.ts';

/** More page tables than any recorded script needs, and few enough that a hostile one ends soon. */
const MOST_OWN_PAGES = 32_768;
const FIRST_USED_PAGE = 256;
const LARGEST_RAM = 2 ** 42;

/** An emulated machine's IOTLB in software keeps every translation until it is told to forget it. */
const GEOMETRY: IommuGeometry = {
  iotlb: { entries4K: 1024, entries2M: 64, entries1G: 16, ways: 16 },
  pagingCache: { entries512G: 4, entries1G: 4, entries2M: 16 },
  contextCacheEntries: 8,
  walkers: 1,
};
const NONE = picoseconds(0);
const LINK = { generation: 1, lanes: 1, maxPayloadSize: 128, maxReadRequestSize: 128, propagation: NONE };

export class ApiMachine {
  readonly system: ApiSystem;
  readonly profile: KernelProfile;
  readonly memory: PhysicalMemory;
  readonly cpus: readonly Cpu[];
  readonly device: DmaDevice;
  readonly api: DmaApi;
  readonly engine: EduDevice;
  readonly events = new EventQueue();

  constructor(system: ApiSystem, used: readonly PageRun[], pool: BouncePool, trace: DmaTrace) {
    this.system = system;
    this.profile = kernelProfile(system.profile);
    const { memory, frames } = machineMemory(system, used);
    this.memory = memory;
    const counters = new Counters();
    const iommu =
      system.iommu === null
        ? null
        : new Iommu({
            name: 'dmar0',
            memory,
            frames,
            geometry: GEOMETRY,
            costs: FREE_IOMMU_COSTS,
            counters,
            log: null,
            vendor: system.iommu === 'amd' ? 'amd' : 'vtd',
            cachingMode: system.cachingMode,
          });
    this.cpus = Array.from({ length: system.cpus }, (_, id) => new Cpu(id));
    const costs = resolveDmaCosts(dmaCostParameters('recorded-instructions', this.profile.name));
    const bounceOptions = {
      memory,
      ...pool,
      slots: system.swiotlbSlots,
      force: system.swiotlbForce,
      costs,
      counters,
      trace,
      log: null,
    };
    const swiotlb = system.swiotlbActive || pool.startIndex.length > 0 ? new Swiotlb(bounceOptions) : null;
    this.api = new DmaApi({
      profile: this.profile,
      costs,
      memory,
      frames,
      iommu,
      counters,
      trace,
      timers: null,
      cpus: system.cpus,
      log: null,
      swiotlb,
      cachingMode: system.cachingMode,
      levels: system.levels,
    });
    const reservedRegions = system.iomem.windows;
    const { forceDac } = system;
    for (let before = 0; before < system.devicesBefore; before += 1) {
      const other = createDmaDevice({ name: `device${before}`, sourceId: before, reservedRegions });
      this.api.attach(other, iommu === null ? 'none' : 'lazy');
    }
    const sourceId = sourceIdOf(system.address);
    this.device = createDmaDevice({ name: `0000:00:${system.address}`, sourceId, reservedRegions, forceDac });
    this.api.attach(this.device, system.domain);
    const fabric = new Fabric({
      events: this.events,
      memory,
      translator: iommu,
      costs: { rootComplex: NONE, memoryRead: NONE, mmioWrite: NONE },
      counters,
    });
    this.engine = new EduDevice(fabric.addRootPort(LINK).addFunction(sourceId));
  }

  /** Lets the DMA engine finish. */
  settle(): void {
    while (this.events.step());
  }
}

function sourceIdOf(address: string): number {
  const [slot = '', fn = ''] = address.split('.');
  return (Number.parseInt(slot, 16) << 3) | Number(fn);
}

function machineMemory(
  system: ApiSystem,
  used: readonly PageRun[],
): { readonly memory: PhysicalMemory; readonly frames: FrameAllocator } {
  const { ram } = system.iomem;
  const bytes = Math.ceil(((ram.at(-1)?.end ?? 0) + 1) / PAGE_SIZE) * PAGE_SIZE;
  if (bytes > LARGEST_RAM) {
    throw new LabError(system.kernelRelease, 'its iomem.txt names more than 4 TiB of RAM.', 'Check that file.');
  }
  const memory = new PhysicalMemory(bytes);
  const free = largestGap(ram, used);
  if (free.end - free.first < 64) {
    throw new LabError(system.kernelRelease, 'the recording leaves no RAM for page tables.', 'Check its iomem.txt.');
  }
  const pages = Math.min(free.end - free.first, MOST_OWN_PAGES);
  return { memory, frames: new FrameAllocator(memory, free.first, pages) };
}

/** The largest run of RAM pages that nothing uses. */
function largestGap(ram: readonly ReservedRegion[], used: readonly PageRun[]): PageRun {
  const taken = [...used].sort((a, b) => a.first - b.first);
  let best: PageRun = { first: 0, end: 0 };
  const consider = (first: number, end: number): void => {
    if (end - first > best.end - best.first) best = { first, end };
  };
  for (const region of ram) {
    const end = Math.floor((region.end + 1) / PAGE_SIZE);
    let from = Math.max(Math.ceil(region.start / PAGE_SIZE), FIRST_USED_PAGE);
    for (const range of taken) {
      if (range.end <= from || range.first >= end) continue;
      consider(from, range.first);
      from = range.end;
    }
    consider(from, end);
  }
  return best;
}
