/**
 * The DMA API of a device behind a translating IOMMU: IOVA allocation, single mappings, coherent memory, strict and lazy
 * unmapping (Linux drivers/iommu/dma-iommu.c: `iommu_dma_alloc_iova`, `iommu_dma_free_iova`, `__iommu_dma_unmap`,
 * `iommu_dma_map_phys`, `iommu_dma_unmap_phys`).
 * Leaves out: bounce buffers of untrusted devices, and caches of devices that are not coherent.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import { DMA_MAPPING_ERROR, PAGE_SIZE, pageAlign, type DmaAddr } from '../memory/addresses.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { DMA_ATTR_MMIO, DMA_BIDIRECTIONAL, type DmaDirection } from './attributes.ts';
import type { DmaCosts } from './costs.ts';
import { MSI_WINDOW, type DmaDevice, type ReservedRegion } from './device.ts';
import { FlushQueue, type FlushQueueOwner } from './flushQueue.ts';
import { IommuDomain, type IommuDomainOptions } from './iommuDomain.ts';
import { IovaDomain } from './iovaDomain.ts';
import { IOVA_RANGE_CACHE_MAX_PAGES } from './iovaRcache.ts';
import type { KernelProfile } from './profiles.ts';
import type { DmaTrace } from './trace.ts';

const FOUR_GIB = 2 ** 32;
const LIMIT_BELOW_4G = 0xf_ffff;

export interface DmaIommuOptions extends IommuDomainOptions {
  readonly device: DmaDevice;
  readonly lazy: boolean;
  readonly cpus: number;
  readonly timers: EventQueue | null;
}

export class DmaIommu implements FlushQueueOwner {
  readonly device: DmaDevice;
  readonly domain: IommuDomain;
  readonly iova: IovaDomain;
  readonly flushQueue: FlushQueue | null;
  readonly profile: KernelProfile;
  readonly costs: DmaCosts;
  readonly trace: DmaTrace | null;
  readonly log: EventLog | null;
  private readonly counters: Counters;
  private readonly apertureEnd: number;
  /** `pci_32bit_workaround`: cleared for good by the first failure below 4 GiB. */
  private prefer32Bit: boolean;

  constructor(options: DmaIommuOptions) {
    this.device = options.device;
    this.profile = options.profile;
    this.costs = options.costs;
    this.trace = options.trace;
    this.log = options.log;
    this.counters = options.counters;
    this.apertureEnd = 2 ** (options.levels === 4 ? 48 : 39) - 1;
    this.prefer32Bit = !options.device.forceDac;
    this.domain = new IommuDomain(options);
    this.iova = new IovaDomain(options.cpus);
    this.flushQueue = options.lazy ? new FlushQueue(options.cpus, this, options.timers) : null;
    this.reserve(MSI_WINDOW);
    for (const region of options.device.reservedRegions) this.reserve(region);
  }

  /** `iommu_dma_alloc_iova`: byte address of the range, 0 when there is none. `bytes` is a whole number of pages. */
  allocIova(cpu: Cpu, bytes: number, mask: number): number {
    const limit = Math.min(mask, this.apertureEnd);
    if (this.prefer32Bit && limit >= FOUR_GIB) {
      const pfn = this.allocFast(cpu, bytes, LIMIT_BELOW_4G, false);
      if (pfn !== 0) return pfn * PAGE_SIZE;
      this.prefer32Bit = false;
      const bits = Math.round(Math.log2(limit + 1));
      this.log?.add(cpu.now, 'info', this.device.name, `Using ${bits}-bit DMA addresses`);
    }
    return this.allocFast(cpu, bytes, Math.floor(limit / PAGE_SIZE), true) * PAGE_SIZE;
  }

  /** `free_iova_fast`: back to the allocator at once. */
  freeIova(cpu: Cpu, iova: number, bytes: number): void {
    this.freePages(cpu, iova / PAGE_SIZE, bytes / PAGE_SIZE);
  }

  /** `iommu_dma_free_iova` after an unmap that skipped the flush: the range waits for the flush queue. */
  queueIova(cpu: Cpu, queue: FlushQueue, iova: number, bytes: number): void {
    const tables = this.domain.takeDetachedTables();
    cpu.spend(this.costs.flushQueueEnqueue);
    this.counters.values[COUNTER.flushQueueEntries]! += 1;
    queue.queue(cpu, iova / PAGE_SIZE, bytes / PAGE_SIZE, tables.length === 0 ? null : tables);
  }

  mapPhys(cpu: Cpu, phys: number, size: number, direction: DmaDirection): DmaAddr {
    cpu.spend(this.costs.mapPhysCall);
    if (this.device.minAlignMask > PAGE_SIZE - 1) return DMA_MAPPING_ERROR;
    return this.mapRange(cpu, phys, size, direction, this.device.dmaMask);
  }

  unmapPhys(cpu: Cpu, address: number, size: number, attributes: number): void {
    cpu.spend(this.costs.unmapPhysCall);
    const isMemory = (attributes & DMA_ATTR_MMIO) === 0;
    if (isMemory && this.domain.table.lookup(Math.floor(address / PAGE_SIZE)) === -1) {
      this.warn(cpu, `unmap of ${address.toString(16)}, where nothing is mapped`);
      return;
    }
    this.unmapRange(cpu, address, size);
  }

  /** Maps coherent memory: one run, both directions, below the coherent mask. */
  mapCoherent(cpu: Cpu, phys: number, size: number): DmaAddr {
    return this.mapRange(cpu, phys, pageAlign(size), DMA_BIDIRECTIONAL, this.device.coherentDmaMask);
  }

  /** `__iommu_dma_unmap`: unmap, flush now or later, free. */
  unmapRange(cpu: Cpu, address: number, size: number): void {
    const offset = address & PAGE_OFFSET;
    const iova = address - offset;
    const bytes = pageAlign(size + offset);
    const queue = this.flushQueue;
    const unmapped = this.domain.unmap(cpu, iova, bytes, queue !== null);
    if (unmapped !== bytes) this.warn(cpu, `unmapped ${unmapped} of ${bytes} bytes at ${iova.toString(16)}`);
    if (queue === null) {
      this.domain.sync(cpu);
      this.freeIova(cpu, iova, bytes);
    } else {
      this.queueIova(cpu, queue, iova, bytes);
    }
  }

  flushDomain(cpu: Cpu): void {
    this.counters.values[COUNTER.flushQueueFlushes]! += 1;
    this.domain.flushAll(cpu);
  }

  releaseQueued(cpu: Cpu, pfn: number, pages: number, tables: readonly number[] | null): void {
    cpu.spend(this.costs.flushQueueRelease);
    if (tables !== null) this.domain.table.releaseTables(tables);
    this.freePages(cpu, pfn, pages);
  }

  warn(cpu: Cpu, message: string): void {
    this.log?.add(cpu.now, 'warning', this.device.name, message);
  }

  private mapRange(cpu: Cpu, phys: number, size: number, direction: DmaDirection, mask: number): DmaAddr {
    const offset = phys & PAGE_OFFSET;
    const bytes = pageAlign(size + offset);
    const iova = this.allocIova(cpu, bytes, mask);
    if (iova === 0) return DMA_MAPPING_ERROR;
    if (this.domain.map(cpu, iova, phys - offset, bytes, direction) !== 0) {
      this.freeIova(cpu, iova, bytes);
      return DMA_MAPPING_ERROR;
    }
    return (iova + offset) as DmaAddr;
  }

  private allocFast(cpu: Cpu, bytes: number, limitPfn: number, flushRcache: boolean): number {
    const { costs, iova } = this;
    const values = this.counters.values;
    const pages = bytes / PAGE_SIZE;
    const pfn = iova.allocateFast(cpu.id, pages, limitPfn, flushRcache);
    let charge = costs.iovaAllocCached as number;
    if (pages > 1 && pages < IOVA_RANGE_CACHE_MAX_PAGES) charge += costs.iovaAllocRounding;
    if (iova.lastSlow === 0) {
      values[COUNTER.iovaAllocFast]! += 1;
    } else {
      values[COUNTER.iovaAllocSlow]! += 1;
      charge += iova.lastSlow * costs.iovaAllocTree + iova.lastSteps * costs.iovaTreeStep;
    }
    cpu.spend(picoseconds(charge));
    if (this.trace !== null) {
      const slow = iova.lastSlow;
      const { lastRoundedPages: roundedPages } = iova;
      this.trace.emit({ event: 'alloc_fast', pages, limitPfn, flushRcache, pfn, slow, roundedPages });
    }
    return pfn;
  }

  private freePages(cpu: Cpu, pfn: number, pages: number): void {
    const { costs } = this;
    if (this.trace !== null) this.trace.emit({ event: 'free_fast', pfn, pages });
    const cached = this.iova.freeFast(cpu.id, pfn, pages);
    cpu.spend(picoseconds(costs.iovaFreeCached + (cached ? 0 : costs.iovaFreeTree)));
    this.counters.values[COUNTER.iovaFree]! += 1;
  }

  private reserve(region: ReservedRegion): void {
    this.iova.tree.reserve(Math.floor(region.start / PAGE_SIZE), Math.floor(region.end / PAGE_SIZE));
  }
}
