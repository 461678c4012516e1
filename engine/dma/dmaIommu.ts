/**
 * The DMA API of a device behind a translating IOMMU: IOVA allocation, single mappings, coherent memory, strict and lazy
 * unmapping (Linux drivers/iommu/dma-iommu.c: `iommu_dma_alloc_iova`, `iommu_dma_free_iova`, `__iommu_dma_unmap`,
 * `iommu_dma_map_phys`, `iommu_dma_unmap_phys`, `iommu_dma_sync_single_for_cpu`, `iommu_dma_sync_single_for_device`).
 * Leaves out: cleaning and invalidating the caches of devices that are not coherent, whose memory here is always up to date.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import { DMA_MAPPING_ERROR, PAGE_SIZE, pageAlign, type DmaAddr } from '../memory/addresses.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { P2pdmaTopology } from '../pcie/p2pdma.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { picoseconds } from '../time/picoseconds.ts';
import {
  DMA_ATTR_CC_SHARED,
  DMA_ATTR_MMIO,
  DMA_ATTR_REQUIRE_COHERENT,
  DMA_BIDIRECTIONAL,
  type DmaDirection,
} from './attributes.ts';
import { BounceBuffers } from './swiotlb/bounceBuffers.ts';
import type { DmaCosts } from './kernels/costs.ts';
import { MSI_WINDOW, type DmaDevice, type ReservedRegion } from './device.ts';
import { FlushQueue, type FlushQueueOwner } from './iova/flushQueue.ts';
import { IommuDomain, type IommuDomainOptions } from './iommuDomain.ts';
import { IovaDepotTrimmer } from './iova/iovaDepotTrimmer.ts';
import { IovaDomain } from './iova/iovaDomain.ts';
import { IOVA_RANGE_CACHE_MAX_PAGES } from './iova/iovaRcache.ts';
import type { KernelProfile } from './kernels/profiles.ts';
import { NO_BOUNCE_BUFFER, type Swiotlb } from './swiotlb/swiotlb.ts';
import type { DmaTrace } from './trace.ts';

const FOUR_GIB = 2 ** 32;
const LIMIT_BELOW_4G = 0xf_ffff;
/** The highest page of a 64-bit address. */
const LIMIT_64_BIT = 2 ** 52 - 1;
const NEVER_BOUNCED = DMA_ATTR_MMIO | DMA_ATTR_REQUIRE_COHERENT;

export interface DmaIommuOptions extends IommuDomainOptions {
  readonly device: DmaDevice;
  readonly lazy: boolean;
  readonly cpus: number;
  readonly timers: EventQueue | null;
  readonly swiotlb?: Swiotlb | null;
  readonly pageKinds?: PageKinds | null;
  readonly p2pdma?: P2pdmaTopology | null;
  /** Another device of its IOMMU group, whose domain, IOVA space and flush queue it shares; null: it is the first of its group. */
  readonly groupMember?: DmaIommu | null;
}

export class DmaIommu implements FlushQueueOwner {
  readonly device: DmaDevice;
  readonly domain: IommuDomain;
  readonly iova: IovaDomain;
  readonly flushQueue: FlushQueue | null;
  readonly bounceBuffers: BounceBuffers;
  readonly pageKinds: PageKinds | null;
  readonly p2pdma: P2pdmaTopology | null;
  readonly profile: KernelProfile;
  readonly costs: DmaCosts;
  readonly trace: DmaTrace | null;
  readonly log: EventLog | null;
  readonly counters: Counters;
  private readonly depotTrimmer: IovaDepotTrimmer | null;
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
    this.prefer32Bit = !options.device.forceDac;
    this.pageKinds = options.pageKinds ?? null;
    this.p2pdma = options.p2pdma ?? null;
    this.bounceBuffers = new BounceBuffers({
      device: options.device,
      memory: options.memory,
      swiotlb: options.swiotlb ?? null,
      pageKinds: this.pageKinds,
      log: options.log,
    });
    const { timers, groupMember = null } = options;
    this.domain = groupMember?.domain ?? new IommuDomain(options);
    this.apertureEnd = this.domain.apertureEnd - 1;
    this.iova = groupMember?.iova ?? new IovaDomain(options.cpus);
    if (groupMember === null) {
      this.depotTrimmer = timers === null ? null : new IovaDepotTrimmer(this.iova, timers, options.cpus);
      this.flushQueue = options.lazy ? new FlushQueue(options.cpus, this, timers) : null;
      this.reserve(MSI_WINDOW);
    } else {
      this.depotTrimmer = groupMember.depotTrimmer;
      this.flushQueue = groupMember.flushQueue;
    }
    for (const region of options.device.reservedRegions) this.reserve(region);
  }

  /** `iommu_dma_alloc_iova`: byte address of the range, 0 when there is none. `bytes` is a whole number of pages. */
  allocIova(cpu: Cpu, bytes: number, mask: number): number {
    const { busDmaLimit } = this.device;
    const limit = Math.min(mask, busDmaLimit === 0 ? mask : busDmaLimit, this.apertureEnd);
    if (this.prefer32Bit && limit >= FOUR_GIB) {
      const pfn = this.allocFast(cpu, bytes, LIMIT_BELOW_4G, false);
      if (pfn !== 0) return pfn * PAGE_SIZE;
      this.prefer32Bit = false;
      const bits = Math.round(Math.log2(limit + 1));
      this.log?.add(cpu.now, 'info', this.device.name, `Using ${bits}-bit DMA addresses`);
    }
    // a mask of more than 53 bits is a power of two here, one byte beyond what it stands for
    const pages = Number.isSafeInteger(limit) ? Math.floor(limit / PAGE_SIZE) : limit / PAGE_SIZE - 1;
    const limitPfn = Math.min(pages, LIMIT_64_BIT);
    return this.allocFast(cpu, bytes, limitPfn, true) * PAGE_SIZE;
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

  mapPhys(cpu: Cpu, phys: number, size: number, direction: DmaDirection, attributes: number): DmaAddr {
    const { device, bounceBuffers } = this;
    cpu.spend(this.costs.mapPhysCall);
    if ((attributes & DMA_ATTR_CC_SHARED) !== 0) return DMA_MAPPING_ERROR;
    // for a coherent and trusted device, the common case, nothing is ever bounced
    if ((device.coherent && !device.untrusted) || !bounceBuffers.needed(phys, size, direction)) {
      return this.mapRange(cpu, phys, size, direction, device.dmaMask);
    }
    if ((attributes & NEVER_BOUNCED) !== 0) {
      // before dma_map_phys there was dma_map_resource, which never asked
      const asResource = this.profile.singleMapCall === 'dma_map_page' && (attributes & DMA_ATTR_MMIO) !== 0;
      return asResource ? this.mapRange(cpu, phys, size, direction, device.dmaMask) : DMA_MAPPING_ERROR;
    }
    const bounce = bounceBuffers.map(cpu, phys, size, direction, attributes);
    if (bounce === NO_BOUNCE_BUFFER) return DMA_MAPPING_ERROR;
    const address = this.mapRange(cpu, bounce, size, direction, device.dmaMask);
    if (address === DMA_MAPPING_ERROR) bounceBuffers.unmap(cpu, bounce, size, direction, attributes);
    return address;
  }

  unmapPhys(cpu: Cpu, address: number, size: number, direction: DmaDirection, attributes: number): void {
    cpu.spend(this.costs.unmapPhysCall);
    if ((attributes & NEVER_BOUNCED) !== 0) {
      this.unmapRange(cpu, address, size);
      return;
    }
    const page = this.domain.table.lookup(Math.floor(address / PAGE_SIZE));
    if (page === -1) {
      this.warn(cpu, `unmap of ${address.toString(16)}, where nothing is mapped`);
      return;
    }
    this.unmapRange(cpu, address, size);
    this.bounceBuffers.unmap(cpu, page * PAGE_SIZE + (address & PAGE_OFFSET), size, direction, attributes);
  }

  /** `iommu_dma_sync_single_for_cpu`: what the device has written into a bounce buffer comes back. */
  syncSingleForCpu(cpu: Cpu, address: number, size: number, direction: DmaDirection): void {
    const phys = this.domain.iovaToPhys(address);
    if (phys !== -1) this.bounceBuffers.syncForCpu(cpu, phys, size, direction);
  }

  /** `iommu_dma_sync_single_for_device`: what the CPU has written goes into the bounce buffer. */
  syncSingleForDevice(cpu: Cpu, address: number, size: number, direction: DmaDirection): void {
    const phys = this.domain.iovaToPhys(address);
    if (phys !== -1) this.bounceBuffers.syncForDevice(cpu, phys, size, direction);
  }

  /**
   * `__iommu_dma_alloc_noncontiguous`: maps coherent memory, one run, both directions, below the coherent mask. It is made of
   * whole pages, so no constraint on alignment matters.
   */
  mapCoherent(cpu: Cpu, phys: number, size: number): DmaAddr {
    const { domain } = this;
    const bytes = pageAlign(size);
    const iova = this.allocIova(cpu, bytes, this.device.coherentDmaMask);
    if (iova === 0) return DMA_MAPPING_ERROR;
    if (domain.map(cpu, iova, phys, bytes, DMA_BIDIRECTIONAL) !== 0) {
      // mapped as a list of runs, of which none came before
      domain.unmap(cpu, iova, 0, false);
      this.freeIova(cpu, iova, bytes);
      return DMA_MAPPING_ERROR;
    }
    domain.syncMap(cpu, iova, bytes);
    return iova as DmaAddr;
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
    if (this.device.minAlignMask > PAGE_OFFSET) {
      this.warn(cpu, 'Unsupported alignment constraint');
      return DMA_MAPPING_ERROR;
    }
    const offset = phys & PAGE_OFFSET;
    const bytes = pageAlign(size + offset);
    const iova = this.allocIova(cpu, bytes, mask);
    if (iova === 0) return DMA_MAPPING_ERROR;
    if (this.domain.map(cpu, iova, phys - offset, bytes, direction) !== 0) {
      this.freeIova(cpu, iova, bytes);
      return DMA_MAPPING_ERROR;
    }
    this.domain.syncMap(cpu, iova, bytes);
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
    if (this.depotTrimmer !== null) this.depotTrimmer.watch(cpu.now);
  }

  private reserve(region: ReservedRegion): void {
    this.iova.tree.reserve(Math.floor(region.start / PAGE_SIZE), Math.floor(region.end / PAGE_SIZE));
  }
}
