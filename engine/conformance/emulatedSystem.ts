/**
 * The emulated machine of a replay: the kernel profile's DMA API over a VT-d IOMMU, and the mapping half of the NVMe driver,
 * with no drive behind it but the one that a device log brings (emulatedDrive.ts). It is the very code that a run uses; only the trace that listens and the hooks that stand in for
 * the machine's past (what its IOVA caches held, when its descriptor pools were empty) are particular to a replay.
 * Leaves out: data, time.
 */
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE } from '../dma/attributes.ts';
import { dmaCostParameters, resolveDmaCosts } from '../dma/kernels/costs.ts';
import { createDmaDevice, type DmaDevice } from '../dma/device.ts';
import { DmaApi } from '../dma/dmaApi.ts';
import type { DmaIommu } from '../dma/dmaIommu.ts';
import { iovaCacheableSize } from '../dma/iova/iovaRcache.ts';
import { kernelProfile } from '../dma/kernels/profiles.ts';
import { ScatterList } from '../dma/scatterList.ts';
import type { DmaTrace } from '../dma/trace.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { ReplayedPool } from '../drivers/descriptorPool.ts';
import { NvmeIod } from '../drivers/nvmeIod.ts';
import { NvmeMapping } from '../drivers/nvmeMapping.ts';
import { EVERY_DOMAIN, EVERY_SPACE } from '../iommu/caches/owner.ts';
import { type InvalidationObserver, InvalidationQueue } from '../iommu/vtd/invalidationQueue.ts';
import { FREE_IOMMU_COSTS } from '../iommu/freeCosts.ts';
import { Iommu, type IommuGeometry } from '../iommu/iommu.ts';
import type { RecordedSystem } from '../lab/recordingFiles.ts';
import type { RecordedMemory } from '../lab/recordingVectors.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { MappedRequest } from '../schemes/mappedRequest.ts';
import { MappingRequest } from '../schemes/mappingRequest.ts';
import { createScheme } from '../schemes/schemes.ts';
import { Cpu } from '../time/cpu.ts';
import { RECORDED_IOTLB_ENTRIES } from './deviceEnds.ts';
import type { DriveParts } from './emulatedDrive.ts';
import type { RecordedAllocation } from './recordedAllocations.ts';

/** Page tables and descriptors of the replay lie here; recorded pages lie wherever the recorded machine had them. */
const MEMORY_BYTES = 256 * 1024 * 1024;
/** What coherent and borrowed mappings point at: never touched. */
const SCRATCH_PAGES = 32;
const LARGEST_LIST = 256;
const SOURCE_ID = 0x18;
/** Of a 2 MiB leaf. Stand-ins lie so that none can form. */
const LARGE_LEAF_PAGES = 512;

/**
 * The IOMMU of the recorded machines (QEMU hw/i386/intel_iommu.c): one hash of 1024 translations of any size, emptied when it
 * is full. It has no paging-structure caches, but ours are never seen: only fills and hits of translations are compared.
 */
const GEOMETRY: IommuGeometry = {
  iotlb: {
    entries4K: RECORDED_IOTLB_ENTRIES,
    entries2M: RECORDED_IOTLB_ENTRIES,
    entries1G: RECORDED_IOTLB_ENTRIES,
    ways: RECORDED_IOTLB_ENTRIES,
    emptiedAt: RECORDED_IOTLB_ENTRIES,
  },
  pagingCache: { entries512G: 4, entries1G: 4, entries2M: 16 },
  contextCacheEntries: 4,
  walkers: 1,
};

/** A request between its mapping and its unmapping; reused. */
export class EmulatedRequest {
  readonly iod = new NvmeIod(new MappedRequest(new DmaIovaState(), new ScatterList(LARGEST_LIST), LARGEST_LIST));
  mapped = false;
}

export class EmulatedSystem {
  readonly #cpus: readonly Cpu[];
  readonly #device: DmaDevice;
  readonly #dma: DmaApi;
  readonly #translated: DmaIommu | null;
  readonly #pool: ReplayedPool;
  readonly #driver: NvmeMapping;
  readonly #scratch: number;
  readonly #block = new MappingRequest();
  readonly #idle: EmulatedRequest[] = [];
  readonly #parts: DriveParts;
  readonly #frames: FrameAllocator;

  constructor(system: RecordedSystem, cpus: number, trace: DmaTrace, observer: InvalidationObserver) {
    this.#cpus = Array.from({ length: cpus }, (_, id) => new Cpu(id));
    const memory = new PhysicalMemory(MEMORY_BYTES);
    const frames = new FrameAllocator(memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
    const counters = new Counters();
    const profile = kernelProfile(system.kernelProfile);
    const iommu = new Iommu({
      name: 'dmar0',
      memory,
      frames,
      geometry: GEOMETRY,
      costs: FREE_IOMMU_COSTS,
      counters,
      log: null,
    });
    const { invalidationQueue } = iommu;
    if (invalidationQueue instanceof InvalidationQueue) invalidationQueue.observer = observer;
    this.#frames = frames;
    this.#parts = { iommu, memory, counters, sourceId: SOURCE_ID };
    this.#dma = new DmaApi({
      profile,
      costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', profile.name)),
      memory,
      frames,
      iommu,
      counters,
      trace,
      timers: null,
      cpus,
      log: null,
    });
    this.#device = createDmaDevice({
      name: '0000:00:03.0',
      sourceId: SOURCE_ID,
      maxSegmentSize: 0xffff_ffff,
      minAlignMask: PAGE_SIZE - 1,
      forceDac: system.forceDac,
    });
    this.#dma.attach(this.#device, system.domain);
    this.#translated = this.#dma.translatedDevice(this.#device);
    this.#scratch = frames.allocateContiguous(SCRATCH_PAGES) * PAGE_SIZE;
    this.#pool = new ReplayedPool(this.#dma, this.#device, this.#scratch);
    const scheme = createScheme(profile.nvmeScheme, this.#dma, this.#device, profile, system.kernelRelease);
    this.#driver = new NvmeMapping({
      name: 'nvme0',
      scheme,
      pools: { small: this.#pool, large: this.#pool },
      memory,
      sglSupport: true,
    });
  }

  /**
   * Before each of a request's allocations the caches are put into the state that the recording shows: holding a range of
   * that size, or not. The result is called once by itself and then after every allocation.
   */
  past(cpuId: number, allocations: readonly RecordedAllocation[]): () => void {
    let next = 0;
    const prepare = (): void => {
      const allocation = allocations[next];
      next += 1;
      if (allocation === undefined || this.#translated === null) return;
      const { iova } = this.#translated;
      if (allocation.slow) {
        iova.forceSlowOnce();
        return;
      }
      const { pages, limitPfn } = allocation;
      const size = iovaCacheableSize(pages);
      const cached = iova.rcache.get(cpuId, size, limitPfn);
      if (cached !== 0) iova.rcache.insert(cpuId, cached, size);
      else iova.seedRcache(cpuId, pages, limitPfn);
    };
    prepare();
    return prepare;
  }

  /** Null: the driver had nothing to map, or could not. */
  map(cpuId: number, memory: RecordedMemory): EmulatedRequest | null {
    if (memory.vectors.length === 0) return null;
    const block = this.#block;
    block.reset(memory.write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
    for (const { phys, length } of memory.vectors) block.addVector(phys, length);
    block.segments = memory.segments;
    this.#pool.emptyFor(memory.poolPages.length);
    const request = this.#idle.pop() ?? new EmulatedRequest();
    const status = this.#driver.mapRequest(this.#cpu(cpuId), block, request.iod);
    if (status === 'ok') return request;
    this.#idle.push(request);
    return null;
  }

  unmap(cpuId: number, request: EmulatedRequest): void {
    this.#driver.unmapRequest(this.#cpu(cpuId), request.iod);
    this.#idle.push(request);
  }

  driveParts(): DriveParts {
    return this.#parts;
  }

  /** Bus page of `pages` mapped pages, each by a leaf of its own. */
  mapStandIns(pages: number): number {
    const first = this.#frames.allocateContiguous(pages + 1, LARGE_LEAF_PAGES) + 1;
    const address = this.#dma.dmaMapPhys(
      this.#cpu(0),
      this.#device,
      first * PAGE_SIZE,
      pages * PAGE_SIZE,
      DMA_BIDIRECTIONAL,
      0,
    );
    return Math.floor(address / PAGE_SIZE);
  }

  emptyIotlb(): void {
    this.#parts.iommu.iotlb.invalidateAll();
  }

  dropTranslation(busPage: number): void {
    this.#parts.iommu.iotlb.invalidateRange(EVERY_DOMAIN, EVERY_SPACE, busPage, busPage);
  }

  /** The bus address of the next list that the driver's pool gives out; null: that of no matter. */
  giveListBlock(address: number | null): void {
    const phys = address === null ? null : this.#physOf(address);
    this.#pool.giveNext(address === null || phys === null ? null : { phys, address });
  }

  #physOf(address: number): number | null {
    return this.#translated === null ? address : this.#translated.domain.iovaToPhys(address);
  }

  /** A mapping that stands for one of the machine's past. */
  mapPages(cpuId: number, pages: number): number {
    return this.#dma.dmaMapPhys(this.#cpu(cpuId), this.#device, this.#scratch, pages * PAGE_SIZE, DMA_FROM_DEVICE, 0);
  }

  unmapPages(cpuId: number, address: number, pages: number): void {
    this.#dma.dmaUnmapPhys(this.#cpu(cpuId), this.#device, address, pages * PAGE_SIZE, DMA_FROM_DEVICE, 0);
  }

  /** The first half of the flush queue's timer. */
  flushDomain(cpuId: number): void {
    this.#translated?.flushQueue?.flush(this.#cpu(cpuId));
  }

  /** The second half, for one CPU's ring. */
  releaseRing(cpuId: number, ring: number): void {
    this.#translated?.flushQueue?.release(this.#cpu(cpuId), ring);
  }

  #cpu(id: number): Cpu {
    const cpu = this.#cpus[id];
    if (cpu === undefined) throw new Error(`the replay has no CPU ${id}`);
    return cpu;
  }
}
