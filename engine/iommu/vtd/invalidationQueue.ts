/**
 * The queued-invalidation interface (VT-d specification 6.5.2): a ring of 256 descriptors of 16 bytes in memory, or of 32 where scalable mode
 * is used (IQA.DW), whose upper halves are reserved. Software
 * writes descriptors and a wait descriptor behind them and moves the tail; the hardware decodes the bits that it finds in the ring, drops
 * what they name from its caches, sends devices what concerns them, and writes the wait descriptor's status word, on which the CPU spins.
 *
 * Context-cache (type 1): granularity 5:4 (1 global, 2 domain, 3 device), DID 31:16, SID 47:32, function mask 49:48.
 * IOTLB (type 2): granularity 5:4 (1 global, 2 domain, 3 page), DW 6 and DR 7 (drain), DID 31:16; second half AM 5:0 (2^AM
 * pages, naturally aligned), IH 6 (leaf entries only: paging-structure caches stay), ADDR 63:12.
 * Device TLB (type 3): MIP 20:16, SID 47:32; second half S 0, ADDR 63:12, sized as in the request on the link.
 * Interrupt entry cache (type 4): taken, and nothing to drop.
 * PASID-based IOTLB (type 6), for first-stage tables: granularity 5:4 (2 PASID, 3 page), DID 31:16, PASID 51:32; second half as of type 2.
 * PASID cache (type 7): granularity 5:4 (0 domain, 1 one PASID of it, 3 global), DID 31:16, PASID 51:32.
 * PASID-based device TLB (type 8): SID 31:16, PASID 51:32; second half GLOB 0, S 11, ADDR 63:12.
 * Wait (type 5): IF 4 (interrupt), SW 5 (status write), FN 6 (fence), data 63:32; second half the status address.
 *
 * A descriptor of another type, or with another granularity, sets FSTS.IQE, and the queue stands at it. Linux puts a wait descriptor in its
 * place and lets the queue go on (drivers/iommu/intel/dmar.c `qi_check_fault`). A device that does not answer sets FSTS.ITE; the wait behind
 * it is then aborted, and `qi_submit_sync` gives up for a device that is gone.
 * Leaves out: interrupts of the queue, completion errors (ICE); that descriptors may be served out of order but for fences.
 */
import { COUNTER } from '../../metrics/counters.ts';
import { InvalidateRange } from '../../pcie/atsMessages.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { EVERY_SPACE, NO_SPACE } from '../caches/owner.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import { CommandRing, STATUS_DONE } from '../commandRing.ts';

const TYPE_MASK = 0xf;
const TYPE_CONTEXT_CACHE = 1;
const TYPE_IOTLB = 2;
const TYPE_DEVICE_TLB = 3;
const TYPE_WAIT = 5;
const TYPE_PASID_IOTLB = 6;
const TYPE_PASID_CACHE = 7;
const TYPE_PASID_DEVICE_TLB = 8;
const GRANULARITY_GLOBAL = 1;
const GRANULARITY_DOMAIN = 2;
const PASID_GRANULARITY_ONE = 1;
const PASID_GRANULARITY_GLOBAL = 3;
const PASID_MASK = 0xf_ffff;
/** Bit 11: S of a PASID-based descriptor, as in the request on the link. */
const PASID_SIZE = 1 << 11;
const WAIT_STATUS_WRITE = 1 << 5;
const INVALIDATION_HINT = 1 << 6;
const ADDRESS_MASK_BITS = 0x3f;
const LOW_PAGES = 2 ** 20;
/** By type the granularities that there are, as bits; all of them where these bits are something else, none where there is no such type. */
const GRANULARITIES = [0, 0b1110, 0b1110, 0b1111, 0b1111, 0b1111, 0b1100, 0b1011, 0b1111, 0, 0, 0, 0, 0, 0, 0] as const;
/** FSTS: invalidation queue error, invalidation time-out error. */
const FSTS_IQE = 1 << 4;
const FSTS_ITE = 1 << 6;

/** Sees what the hardware takes from the ring. */
export interface InvalidationObserver {
  /** An IOTLB descriptor was served. `mask` as in the descriptor. */
  readonly invalidated: (
    granularity: 'page' | 'domain' | 'global',
    domainId: number,
    address: number,
    mask: number,
  ) => void;
  /** Everything was served, and the CPU has not seen the status word yet: others may run. */
  readonly waiting: () => void;
}

const GRANULARITY_NAMES = ['page', 'global', 'domain', 'page'] as const;

export class InvalidationQueue extends CommandRing {
  /** Null in runs. */
  observer: InvalidationObserver | null = null;
  /** FSTS, as far as it tells of the queue, and how often Linux has cleared each of its bits. */
  faultStatus = 0;
  descriptorErrors = 0;
  timeOuts = 0;
  private readonly range = new InvalidateRange();
  private readonly deviceWords = new Uint32Array(2);

  protected writeWait(page: number, word: number): void {
    const { memory, statusPage } = this;
    memory.writeWord(page, word, TYPE_WAIT | WAIT_STATUS_WRITE);
    memory.writeWord(page, word + 1, STATUS_DONE);
    memory.writeWord(page, word + 2, ((statusPage % LOW_PAGES) << 12) >>> 0);
    memory.writeWord(page, word + 3, Math.floor(statusPage / LOW_PAGES));
  }

  protected waiting(): void {
    if (this.observer !== null) this.observer.waiting();
  }

  protected serve(first: number, second: number, low: number, high: number, more: boolean): boolean {
    const { memory, counters, caches } = this;
    const type = first & TYPE_MASK;
    const granularity = (first >>> 4) & 3;
    if (more || (GRANULARITIES[type]! & (1 << granularity)) === 0) {
      this.faultStatus |= FSTS_IQE;
      return false;
    }
    switch (type) {
      case TYPE_CONTEXT_CACHE:
        counters.values[COUNTER.invalidationsContext]! += 1;
        this.invalidateContext(granularity, first >>> 16, second & 0xffff, (second >>> 16) & 3);
        return true;
      case TYPE_IOTLB:
        this.invalidateIotlb(granularity, first >>> 16, NO_SPACE, low, high);
        return true;
      case TYPE_PASID_IOTLB:
        this.invalidateIotlb(granularity, first >>> 16, second & PASID_MASK, low, high);
        return true;
      case TYPE_PASID_CACHE:
        counters.values[COUNTER.invalidationsContext]! += 1;
        this.invalidatePasids(granularity, first >>> 16, second & PASID_MASK);
        return true;
      case TYPE_DEVICE_TLB:
        // the size bit has another place than in the request on the link
        this.invalidateDevice(second & 0xffff, NO_PASID, (low & 1) !== 0, false, low, high);
        return true;
      case TYPE_PASID_DEVICE_TLB:
        this.invalidateDevice(first >>> 16, second & PASID_MASK, (low & PASID_SIZE) !== 0, (low & 1) !== 0, low, high);
        return true;
      case TYPE_WAIT:
        counters.values[COUNTER.invalidationWaits]! += 1;
        if (caches.deviceTlbs.lost) this.faultStatus |= FSTS_ITE;
        else if ((first & WAIT_STATUS_WRITE) !== 0) {
          memory.writeWord((low >>> 12) + high * LOW_PAGES, (low & 0xfff) >>> 2, second);
        }
        return true;
      default:
        // of the types that there are, the interrupt entry cache: nothing is kept
        return true;
    }
  }

  /** `qi_check_fault`: the descriptor at fault becomes a wait for nothing, and the error is acknowledged. */
  protected refused(page: number, word: number): boolean {
    const { memory } = this;
    memory.writeWord(page, word, TYPE_WAIT);
    const { commandWords } = this;
    for (let rest = 1; rest < commandWords; rest += 1) memory.writeWord(page, word + rest, 0);
    this.faultStatus &= ~FSTS_IQE;
    this.descriptorErrors += 1;
    return true;
  }

  /** A wait that was aborted: `qi_submit_sync` acknowledges the error and gives up, since the device is gone. */
  protected override unanswered(since: Picoseconds): Picoseconds {
    if ((this.faultStatus & FSTS_ITE) === 0) return super.unanswered(since);
    this.faultStatus &= ~FSTS_ITE;
    this.timeOuts += 1;
    return since;
  }

  private invalidateDevice(
    sourceId: number,
    pasid: number,
    sized: boolean,
    global: boolean,
    low: number,
    high: number,
  ): void {
    const { range, deviceWords } = this;
    this.counters.values[COUNTER.invalidationsDeviceTlb]! += 1;
    deviceWords[0] = ((low & ~0xfff) | (sized ? PASID_SIZE : 0)) >>> 0;
    deviceWords[1] = high;
    range.decode(deviceWords, 0);
    this.caches.deviceTlbs.invalidate(sourceId, pasid, range.firstPage, range.pages, global);
  }

  private invalidatePasids(granularity: number, domainId: number, pasid: number): void {
    const { contextCache } = this.caches;
    if (granularity === PASID_GRANULARITY_GLOBAL) contextCache.invalidateAll();
    else contextCache.invalidateDomain(domainId, granularity === PASID_GRANULARITY_ONE ? pasid : EVERY_SPACE);
  }

  private invalidateContext(granularity: number, domainId: number, sourceId: number, functionMask: number): void {
    const { contextCache } = this.caches;
    if (granularity === GRANULARITY_GLOBAL) contextCache.invalidateAll();
    else if (granularity === GRANULARITY_DOMAIN) contextCache.invalidateDomain(domainId);
    else contextCache.invalidateDevice(sourceId, functionMask);
  }

  private invalidateIotlb(granularity: number, domainId: number, space: number, low: number, high: number): void {
    const { iotlb, pagingCache } = this.caches;
    const { values } = this.counters;
    if (this.observer !== null) {
      const address = (low >>> 12) * 4096 + high * 2 ** 32;
      this.observer.invalidated(GRANULARITY_NAMES[granularity]!, domainId, address, low & ADDRESS_MASK_BITS);
    }
    if (granularity === GRANULARITY_GLOBAL) {
      values[COUNTER.invalidationsGlobal]! += 1;
      iotlb.invalidateAll();
      pagingCache.invalidateAll();
    } else if (granularity === GRANULARITY_DOMAIN) {
      values[COUNTER.invalidationsDomain]! += 1;
      const spaces = space === NO_SPACE ? EVERY_SPACE : space;
      iotlb.invalidateRange(domainId, spaces, 0, Infinity);
      pagingCache.invalidateRange(domainId, spaces, 0, Infinity);
    } else {
      values[COUNTER.invalidationsPage]! += 1;
      const pages = 2 ** (low & ADDRESS_MASK_BITS);
      const page = (low >>> 12) + high * LOW_PAGES;
      const firstPage = page - (page % pages);
      iotlb.invalidateRange(domainId, space, firstPage, firstPage + pages - 1);
      // translations of both stages are kept by an address that this descriptor does not name
      if (space === NO_SPACE) iotlb.invalidateSpaces(domainId);
      if ((low & INVALIDATION_HINT) !== 0) return;
      pagingCache.invalidateRange(domainId, space, firstPage, firstPage + pages - 1);
      if (this.caches.emptiesSets) {
        iotlb.emptySets(firstPage, firstPage + pages - 1);
        pagingCache.emptySets(firstPage, firstPage + pages - 1);
      }
    }
  }
}
