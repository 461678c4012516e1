/**
 * The memory of an on-demand region (Linux drivers/infiniband/core/umem_odp.c: `ib_umem_odp_get`, `ib_umem_odp_map_dma_and_lock`,
 * `ib_umem_odp_unmap_dma_pages`, `ib_umem_odp_release`): pages of a process of which nothing is pinned, a list of what is known of each, a
 * notifier that says when that is no longer true, and a mutex under which list and adapter agree.
 * The kernel's function reads the process's page tables without the mutex, takes it, and begins again if the tables have changed in between.
 * Here the two halves are two calls, since what overtakes the first is another event.
 * Leaves out: memory of huge pages as one entry where the scheme's addresses do not follow each other.
 */
import { EAGAIN, EBUSY, EFAULT, EINVAL } from '../../memory/memoryErrors.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { AddressSpace } from '../../memory/addressSpace.ts';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_ORDER_MASK,
  HMM_PFN_STICKY,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  HmmPfnList,
} from '../../memory/hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from '../../memory/hmmRangeFault.ts';
import { READ_MUST_WAIT, type IntervalNotifier, type Invalidate } from '../../memory/intervalNotifier.ts';
import type { EntryRange, PageScheme } from '../../schemes/pageScheme.ts';
import type { Cpu } from '../../time/cpu.ts';
import { PICOSECONDS_PER_MICROSECOND } from '../../time/picoseconds.ts';

/** `HMM_RANGE_DEFAULT_TIMEOUT`: so long a fault is tried again while its pages keep changing. */
const TIMEOUT = 1_000_000 * PICOSECONDS_PER_MICROSECOND;
const PAGE_SHIFT = 12;

export interface UmemOdpOptions {
  readonly mm: AddressSpace;
  /** First page of the process. */
  readonly start: number;
  readonly pages: number;
  readonly writable: boolean;
  readonly scheme: PageScheme;
  /** Size of the adapter's entries; default 12. */
  readonly pageShift?: number;
}

/** What is asked of `ib_umem_odp_map_dma_and_lock`. */
export interface OdpMapRequest {
  /** Byte address of the process. */
  readonly address: number;
  readonly bytes: number;
  /** Ask for pages that may be written. */
  readonly write: boolean;
  /** False: only what the process has already. */
  readonly fault: boolean;
}

/** A request between its two halves. */
export interface OdpWalk {
  readonly request: OdpMapRequest;
  readonly firstPage: number;
  readonly pages: number;
  readonly deadline: number;
  sequence: number;
  /** What the first half found, on its way into the region's list. */
  readonly found: HmmPfnList;
}

export class UmemOdp {
  readonly mm: AddressSpace;
  readonly start: number;
  readonly pages: number;
  readonly writable: boolean;
  readonly scheme: PageScheme;
  readonly pageShift: number;
  private readonly notifier: IntervalNotifier;
  private held = false;
  private readonly sleepers: (() => void)[] = [];

  private constructor(options: UmemOdpOptions, notifier: IntervalNotifier) {
    this.mm = options.mm;
    this.start = options.start;
    this.pages = options.pages;
    this.writable = options.writable;
    this.scheme = options.scheme;
    this.pageShift = options.pageShift ?? PAGE_SHIFT;
    this.notifier = notifier;
  }

  /** A region of which nothing is mapped, or a negative errno, after which nothing is held. */
  static get(cpu: Cpu, options: UmemOdpOptions, invalidate: Invalidate): UmemOdp | number {
    const { mm, start, pages, scheme } = options;
    const ret = scheme.reserve(cpu, pages);
    if (ret !== 0) return ret;
    const notifier = mm.notifiers.insert(start, pages, invalidate);
    if (typeof notifier !== 'number') return new UmemOdp(options, notifier);
    scheme.release(cpu);
    return notifier;
  }

  get locked(): boolean {
    return this.held;
  }

  /** `umem_mutex`. Whoever finds it held asks again by `whenUnlocked`. */
  lock(): void {
    if (this.held) throw new Error('the mutex of a region is taken twice');
    this.held = true;
  }

  unlock(): void {
    if (!this.held) throw new Error('the mutex of a region is released, and nobody holds it');
    this.held = false;
    for (const wake of this.sleepers.splice(0)) wake();
  }

  whenUnlocked(wake: () => void): void {
    if (this.held) this.sleepers.push(wake);
    else wake();
  }

  /** Under the mutex, in a callback of the notifier. */
  setSequence(sequence: number): void {
    this.notifier.setSequence(sequence);
  }

  /** What a request means, or -EFAULT outside the region, or -EINVAL when the process has ended. */
  begin(cpu: Cpu, request: OdpMapRequest): OdpWalk | number {
    const { start, pages, mm, pageShift } = this;
    const { address, bytes } = request;
    if (address < start * PAGE_SIZE || address + bytes > (start + pages) * PAGE_SIZE) return EFAULT;
    if (!mm.alive) return EINVAL;
    const entry = 2 ** pageShift;
    const first = Math.max(start, (Math.floor(address / entry) * entry) / PAGE_SIZE);
    const end = Math.min(start + pages, (Math.ceil((address + bytes) / entry) * entry) / PAGE_SIZE);
    const found = new HmmPfnList(end - first);
    return { request, firstPage: first, pages: end - first, deadline: cpu.now + TIMEOUT, sequence: 0, found };
  }

  /**
   * The first half: reads the process's page tables. 0; -EAGAIN: an invalidation is under way, and the caller comes again
   * when it has settled; -EBUSY: so for a second already; else what hmm_range_fault says.
   */
  read(cpu: Cpu, walk: OdpWalk): number {
    const { mm, notifier } = this;
    const { request, firstPage, pages, found } = walk;
    if (!mm.alive) return EINVAL;
    for (;;) {
      walk.sequence = notifier.readBegin();
      let ret = EAGAIN;
      if (walk.sequence !== READ_MUST_WAIT) {
        ret = hmmRangeFault({
          mm,
          notifier,
          notifierSequence: walk.sequence,
          start: firstPage,
          end: firstPage + pages,
          pfns: found,
          defaultFlags: request.fault ? HMM_PFN_REQ_FAULT | (request.write ? HMM_PFN_REQ_WRITE : 0) : 0,
          pfnFlagsMask: 0,
        });
      }
      if (ret !== EBUSY && ret !== EAGAIN) return ret;
      if (cpu.now > walk.deadline) return EBUSY;
      if (ret === EAGAIN) return EAGAIN;
    }
  }

  /**
   * The second half: takes the mutex, and writes what was found into the region's list if it still holds. Pages, with the mutex held;
   * -EAGAIN: it is stale, the mutex is free, and the caller begins again with the first half; -EINVAL: the process maps less than an
   * entry's worth at once, and the mutex is free. (The kernel's walk writes the list as it goes, without the mutex.)
   */
  lockIfCurrent(walk: OdpWalk): number {
    this.lock();
    if (this.notifier.readRetry(walk.sequence)) {
      this.unlock();
      return EAGAIN;
    }
    if (!this.entriesAreWhole(walk)) {
      this.unlock();
      return EINVAL;
    }
    this.list(walk);
    return walk.pages;
  }

  /**
   * `ib_umem_odp_unmap_dma_pages`, mutex held: after the adapter has let go. Pages that the device may have written to are dirty. Pages that
   * go only because the scheme cannot keep them alone stay in the list.
   */
  unmapPages(cpu: Cpu, range: EntryRange, first: number, end: number): void {
    const { scheme, mm } = this;
    if (!this.held) throw new Error('pages of a region are unmapped without its mutex');
    const { flags, pages } = scheme.pfns;
    const written = HMM_PFN_DMA_MAPPED | HMM_PFN_WRITE;
    for (let index = range.first; index < range.end; index += 1) {
      if ((flags[index]! & written) === written) mm.pages.markDirty(pages[index]!);
    }
    scheme.unmapPages(cpu, range.first, range.end);
    for (let index = first; index < end; index += 1) scheme.pfns.set(index, 0, 0);
  }

  /** `ib_umem_odp_release`; every page must be unmapped. */
  release(cpu: Cpu): void {
    this.mm.notifiers.remove(this.notifier);
    this.scheme.release(cpu);
  }

  /** What DMA mapping noted of a page stays. */
  private list({ found, firstPage }: OdpWalk): void {
    const { pfns } = this.scheme;
    const first = firstPage - this.start;
    for (let index = 0; index < found.length; index += 1) {
      const sticky = pfns.flags[first + index]! & HMM_PFN_STICKY;
      pfns.set(first + index, found.pages[index]!, found.flags[index]! | sticky);
    }
  }

  /** Whether each entry of the adapter is covered by one of the process that is at least as large. */
  private entriesAreWhole(walk: OdpWalk): boolean {
    if (this.pageShift === PAGE_SHIFT) return true;
    for (const had of walk.found.flags) {
      if ((had & HMM_PFN_VALID) !== 0 && (had & HMM_PFN_ORDER_MASK) + PAGE_SHIFT < this.pageShift) return false;
    }
    return true;
  }
}
