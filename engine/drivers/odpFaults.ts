/**
 * On-demand paging, the driver's half: a memory region is a range of a process's addresses of which nothing is pinned. A fault of the
 * adapter is served by `hmm_range_fault`, a DMA mapping of each page and a write of the adapter's table; a change of the process's
 * page tables takes the entries away, from the adapter first and from the IOMMU after it (Linux drivers/infiniband/hw/mlx5/odp.c:
 * `pagefault_real_mr`, `mlx5_ib_invalidate_range`; core/umem_odp.c).
 * Leaves out: implicit regions, prefetch by advice, the limit of a second for retries.
 */
import type { NicPageFault, NicPageFaults } from '../devices/nicPageFaults.ts';
import { MTT_READ, MTT_WRITE } from '../devices/nicPageFaults.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { hmmDmaMapAlloc, hmmDmaMapFree, HmmDmaMap, hmmDmaMapPfn, hmmDmaUnmapPfn } from '../dma/hmmDma.ts';
import { DMA_MAPPING_ERROR, PAGE_SIZE } from '../memory/addresses.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE } from '../memory/hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from '../memory/hmmRangeFault.ts';
import { READ_MUST_WAIT, type IntervalNotifier, type InvalidationRange } from '../memory/intervalNotifier.ts';
import { EBUSY, ENOMEM } from '../memory/memoryErrors.ts';
import { P2pdmaMapState } from '../pcie/p2pdma.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

/** All in picoseconds; what the DMA API takes comes on top. */
export interface OdpCosts {
  /** Interrupt, event queue and work queue, until the region is found. */
  readonly faultEntry: Picoseconds;
  /** `hmm_range_fault`, each page of the range. */
  readonly rangeFaultPerPage: Picoseconds;
  /** Each page that the process did not have yet. */
  readonly minorFault: Picoseconds;
}

export interface OdpOptions {
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly nic: NicPageFaults;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly costs: OdpCosts;
}

interface OdpRegion {
  readonly key: number;
  readonly mm: AddressSpace;
  readonly start: number;
  readonly writable: boolean;
  readonly map: HmmDmaMap;
  readonly notifier: IntervalNotifier;
}

export class OdpDriver {
  private readonly options: OdpOptions;
  private readonly regions = new Map<number, OdpRegion>();
  private readonly p2p = new P2pdmaMapState();
  private nextKey = 1;

  constructor(options: OdpOptions) {
    this.options = options;
    options.nic.onFault = (fault) => {
      this.serve(fault);
    };
  }

  /** A key, or a negative errno. Nothing is mapped yet. */
  register(mm: AddressSpace, start: number, pages: number, writable: boolean): number {
    const { api, device, nic, cpu } = this.options;
    const map = new HmmDmaMap();
    const ret = hmmDmaMapAlloc(cpu, api, device, map, pages, PAGE_SIZE);
    if (ret !== 0) return ret;
    const key = this.nextKey;
    const notifier = mm.notifiers.insert(start, pages, (range, sequence) => this.invalidate(key, range, sequence));
    if (typeof notifier === 'number') {
      hmmDmaMapFree(cpu, api, device, map);
      return notifier;
    }
    this.nextKey += 1;
    this.regions.set(key, { key, mm, start, writable, map, notifier });
    nic.addRegion(key, start, pages);
    return key;
  }

  /** Messages of the region must have ended. */
  deregister(key: number): void {
    const { api, device, nic, cpu } = this.options;
    const region = this.regions.get(key);
    if (region === undefined) throw new Error(`no region has the key ${String(key)}`);
    region.mm.notifiers.remove(region.notifier);
    this.takeAway(region, region.start, region.start + region.map.pfns.length);
    hmmDmaMapFree(cpu, api, device, region.map);
    this.regions.delete(key);
    nic.removeRegion(key);
  }

  private serve(fault: NicPageFault): void {
    const { cpu, events, costs } = this.options;
    cpu.begin(events.now);
    cpu.spend(costs.faultEntry);
    this.attempt(fault);
  }

  private attempt(fault: NicPageFault): void {
    const { nic, cpu, events } = this.options;
    const region = this.regions.get(fault.key);
    if (region === undefined) {
      nic.resume(fault, false, cpu.now);
      return;
    }
    const ret = this.populate(region, fault.firstPage, fault.pages);
    if (ret === EBUSY) {
      region.mm.notifiers.whenSettled(() => {
        cpu.begin(events.now);
        this.attempt(fault);
      });
      return;
    }
    nic.resume(fault, ret === 0, cpu.now);
  }

  /** 0 or a negative errno; -EBUSY only while the range is being invalidated. */
  private populate(region: OdpRegion, firstPage: number, pages: number): number {
    const { mm, notifier, map, writable } = region;
    const { cpu, costs } = this.options;
    const firstEntry = firstPage - region.start;
    for (;;) {
      const sequence = notifier.readBegin();
      if (sequence === READ_MUST_WAIT) return EBUSY;
      const faultsBefore = mm.faults;
      const ret = hmmRangeFault({
        mm,
        notifier,
        notifierSequence: sequence,
        start: firstPage,
        end: firstPage + pages,
        pfns: map.pfns,
        firstEntry,
        defaultFlags: HMM_PFN_REQ_FAULT | (writable ? HMM_PFN_REQ_WRITE : 0),
        pfnFlagsMask: 0,
      });
      cpu.spend(picoseconds(pages * costs.rangeFaultPerPage + (mm.faults - faultsBefore) * costs.minorFault));
      if (ret === 0 && !notifier.readRetry(sequence)) return this.fillTable(region, firstEntry, pages);
      if (ret !== 0 && ret !== EBUSY) return ret;
    }
  }

  /** `populate_mtt`, and the work request that writes the entries. */
  private fillTable(region: OdpRegion, firstEntry: number, pages: number): number {
    const { api, device, nic, cpu } = this.options;
    const { map, key, start } = region;
    for (let entry = firstEntry; entry < firstEntry + pages; entry += 1) {
      const address = hmmDmaMapPfn(cpu, api, device, map, entry, this.p2p);
      if (address === DMA_MAPPING_ERROR) return ENOMEM;
      const writable = (map.pfns.flags[entry]! & HMM_PFN_WRITE) !== 0;
      nic.setEntry(key, start + entry, address, writable ? MTT_READ | MTT_WRITE : MTT_READ);
    }
    cpu.spend(nic.updateTime(pages));
    return 0;
  }

  private invalidate(key: number, range: InvalidationRange, sequence: number): boolean {
    if (!range.blockable) return false;
    const region = this.regions.get(key)!;
    region.notifier.setSequence(sequence);
    this.takeAway(region, range.start, range.end);
    return true;
  }

  private takeAway(region: OdpRegion, start: number, end: number): void {
    const { api, device, nic, cpu, events } = this.options;
    const { map, mm, key } = region;
    const first = Math.max(0, start - region.start);
    const last = Math.min(map.pfns.length, end - region.start);
    let entries = 0;
    for (let entry = first; entry < last; entry += 1) {
      if (nic.accessOf(key, region.start + entry) === 0) continue;
      nic.setEntry(key, region.start + entry, 0, 0);
      entries += 1;
    }
    if (entries > 0) {
      cpu.begin(events.now);
      cpu.spend(nic.updateTime(entries));
    }
    // the adapter has let go: now the IOMMU, and then the pages
    for (let entry = first; entry < last; entry += 1) {
      const flags = map.pfns.flags[entry]!;
      if ((flags & HMM_PFN_VALID) === 0) continue;
      hmmDmaUnmapPfn(cpu, api, device, map, entry);
      if ((flags & HMM_PFN_WRITE) !== 0) mm.pages.markDirty(map.pfns.pages[entry]!);
      map.pfns.set(entry, 0, 0);
    }
  }
}
