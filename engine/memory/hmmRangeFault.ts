/**
 * What a process's page table says of a range, with faults where the caller asks for them (Linux mm/hmm.c: `hmm_range_fault`,
 * `hmm_vma_walk_pmd`, `hmm_vma_handle_pte`, `hmm_vma_handle_pmd`, `hmm_vma_walk_hole`, `hmm_vma_fault`). After a fault the walk goes
 * on where it stopped: entries before that place are results already, the rest are still requests.
 * Errors are those of the function's documentation: -EINVAL for an area of a device, -ENOMEM when memory has run out; kernels
 * have been seen to make -EFAULT of both.
 * Leaves out: device-private entries, hugetlb, 1 GiB entries.
 */
import type { AddressSpace } from './addressSpace.ts';
import { PTE_MIGRATION, PTE_PRESENT, PTE_WRITE } from './cpuPageTable.ts';
import { HMM_PFN_ERROR, HMM_PFN_STICKY, HMM_PFN_VALID, HMM_PFN_WRITE, type HmmPfnList } from './hmmPfn.ts';
import type { IntervalNotifier } from './intervalNotifier.ts';
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from './memoryErrors.ts';
import { HUGE_ORDER, HUGE_PAGES } from './userPages.ts';
import type { VmArea } from './vmAreas.ts';

/** Requests stand at the bits of the answers: HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE. */
export const HMM_PFN_REQ_FAULT = HMM_PFN_VALID;
export const HMM_PFN_REQ_WRITE = HMM_PFN_WRITE;

/** `struct hmm_range`, in pages of addresses. */
export interface HmmRange {
  readonly mm: AddressSpace;
  readonly notifier: IntervalNotifier;
  /** Of `notifier.readBegin()`. */
  notifierSequence: number;
  readonly start: number;
  /** One past the last page. */
  readonly end: number;
  /** Requests in, answers out. */
  readonly pfns: HmmPfnList;
  /** Index in `pfns` of `start`. */
  readonly firstEntry?: number;
  /** Requests for every entry, and which of an entry's own requests count. */
  readonly defaultFlags: number;
  readonly pfnFlagsMask: number;
}

const NEED_FAULT = 1;
const NEED_WRITE_FAULT = 2;
const NEED_BOTH = NEED_FAULT | NEED_WRITE_FAULT;

/**
 * 0: all entries are answers. -EBUSY: the range was invalidated, begin again with a new sequence. A fault that was asked for is
 * impossible: -EINVAL in an area of a device, -EPERM where only reading is allowed, -ENOMEM without memory, else -EFAULT.
 */
export function hmmRangeFault(range: HmmRange): number {
  const walk = new Walk(range);
  for (;;) {
    if (range.notifier.checkRetry(range.notifierSequence)) return EBUSY;
    const ret = walk.run();
    if (ret !== EBUSY) return ret;
  }
}

/** `struct hmm_vma_walk`. */
class Walk {
  private readonly range: HmmRange;
  private readonly first: number;
  private last: number;

  constructor(range: HmmRange) {
    this.range = range;
    this.first = (range.firstEntry ?? 0) - range.start;
    this.last = range.start;
  }

  /** `walk_page_range`. */
  run(): number {
    const { mm, end } = this.range;
    let at = this.last;
    while (at < end) {
      const area = mm.areas.findAtOrAbove(at);
      const areaStart = Math.min(area?.start ?? end, end);
      if (at < areaStart) {
        if (this.needFaultOfRange(at, areaStart, 0) !== 0) return EFAULT;
        this.fill(at, areaStart, HMM_PFN_ERROR);
        at = areaStart;
        continue;
      }
      const areaEnd = Math.min(area!.end, end);
      const ret = this.walkArea(area!, at, areaEnd);
      if (ret !== 0) return ret;
      at = areaEnd;
    }
    return 0;
  }

  private walkArea(area: VmArea, start: number, end: number): number {
    const { table } = this.range.mm;
    if (area.kind === 'pfnmap' || !area.readable) {
      if (this.needFaultOfRange(start, end, 0) !== 0) return area.kind === 'pfnmap' ? EINVAL : EFAULT;
      this.fill(start, end, HMM_PFN_ERROR);
      return 0;
    }
    for (let at = start; at < end;) {
      const regionEnd = Math.min((Math.floor(at / HUGE_PAGES) + 1) * HUGE_PAGES, end);
      let ret = 0;
      if (table.isEmptyRegion(at)) ret = this.handleHole(area, at, regionEnd);
      else if (table.isHuge(at)) ret = this.handleHuge(area, at, regionEnd);
      else for (let page = at; page < regionEnd && ret === 0; page += 1) ret = this.handleEntry(area, page, regionEnd);
      if (ret !== 0) return ret;
      at = regionEnd;
    }
    return 0;
  }

  private handleHole(area: VmArea, start: number, end: number): number {
    const required = this.needFaultOfRange(start, end, 0);
    if (required !== 0) return this.faultRange(area, start, end, required);
    this.fill(start, end, 0);
    return 0;
  }

  private handleHuge(area: VmArea, start: number, end: number): number {
    const { table } = this.range.mm;
    const cpuFlags = this.cpuFlags(table.flagsOf(start)) | HUGE_ORDER;
    const required = this.needFaultOfRange(start, end, cpuFlags);
    if (required !== 0) return this.faultRange(area, start, end, required);
    for (let page = start; page < end; page += 1) this.answer(page, table.pageOf(page), cpuFlags);
    return 0;
  }

  private handleEntry(area: VmArea, page: number, end: number): number {
    const { mm } = this.range;
    const entry = mm.table.flagsOf(page);
    const migrating = (entry & PTE_MIGRATION) !== 0;
    // a page in the swap area is as absent as one that never was
    const cpuFlags = (entry & PTE_PRESENT) === 0 ? 0 : this.cpuFlags(entry);
    const required = this.needFault(page, cpuFlags);
    if (required === 0) {
      this.answer(page, cpuFlags === 0 ? 0 : mm.table.pageOf(page), cpuFlags);
      return 0;
    }
    if (!migrating) return this.faultRange(area, page, end, required);
    this.last = page;
    mm.migrations.get(page)!.finish();
    return EBUSY;
  }

  /** `hmm_vma_fault`: all pages to the end of the region, since whoever wants one wants the next. */
  private faultRange(area: VmArea, start: number, end: number, required: number): number {
    const { mm } = this.range;
    const write = (required & NEED_WRITE_FAULT) !== 0;
    this.last = start;
    if (write && !area.writable) return EPERM;
    for (let page = start; page < end; page += 1) {
      const ret = mm.fault(page, write);
      if (ret !== 0) return ret === ENOMEM ? ENOMEM : EFAULT;
    }
    return EBUSY;
  }

  /** `hmm_pte_need_fault`. */
  private needFault(page: number, cpuFlags: number): number {
    const { pfns, pfnFlagsMask, defaultFlags } = this.range;
    const request = (pfns.flags[page + this.first]! & pfnFlagsMask) | defaultFlags;
    if ((request & HMM_PFN_REQ_FAULT) === 0) return 0;
    if ((request & HMM_PFN_REQ_WRITE) !== 0 && (cpuFlags & HMM_PFN_WRITE) === 0) return NEED_BOTH;
    return (cpuFlags & HMM_PFN_VALID) === 0 ? NEED_FAULT : 0;
  }

  /** `hmm_range_need_fault`. */
  private needFaultOfRange(start: number, end: number, cpuFlags: number): number {
    const { pfnFlagsMask, defaultFlags } = this.range;
    if (((pfnFlagsMask | defaultFlags) & HMM_PFN_REQ_FAULT) === 0) return 0;
    let required = 0;
    for (let page = start; page < end && required !== NEED_BOTH; page += 1) required |= this.needFault(page, cpuFlags);
    return required;
  }

  private cpuFlags(entry: number): number {
    return HMM_PFN_VALID | ((entry & PTE_WRITE) !== 0 ? HMM_PFN_WRITE : 0);
  }

  private fill(start: number, end: number, flags: number): void {
    for (let page = start; page < end; page += 1) this.answer(page, 0, flags);
  }

  /** What DMA mapping noted in an entry stays. */
  private answer(page: number, frame: number, flags: number): void {
    const { pfns } = this.range;
    const index = page + this.first;
    pfns.set(index, frame, (pfns.flags[index]! & HMM_PFN_STICKY) | flags);
  }
}
