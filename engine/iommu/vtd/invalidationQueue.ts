/**
 * The queued-invalidation interface (VT-d specification 6.5.2): a ring of 256 descriptors of 16 bytes in memory. Software
 * writes descriptors and a wait descriptor behind them and moves the tail; the hardware decodes the bits that it finds in the ring, drops
 * what they name from its caches, and writes the wait descriptor's status word, on which the CPU spins.
 *
 * Context-cache (type 1): granularity 5:4 (1 global, 2 domain, 3 device), DID 31:16, SID 47:32, function mask 49:48.
 * IOTLB (type 2): granularity 5:4 (1 global, 2 domain, 3 page), DW 6 and DR 7 (drain), DID 31:16; second half AM 5:0 (2^AM
 * pages, naturally aligned), IH 6 (leaf entries only: paging-structure caches stay), ADDR 63:12.
 * PASID-based IOTLB (type 6), for first-stage tables: granularity 5:4 (2 PASID, 3 page), DID 31:16, PASID 51:32; second half as above.
 * PASID cache (type 7): granularity 5:4 (0 domain, 1 one PASID of it, 3 global), DID 31:16, PASID 51:32. What is kept of a device is kept with
 * its PASID entry, so all of a domain's devices are read again whichever PASID is named.
 * Wait (type 5): status write 5, data 63:32; second half the status address.
 * Leaves out: device-TLB and interrupt-entry descriptors; errors of the queue.
 */
import { COUNTER } from '../../metrics/counters.ts';
import { EVERY_SPACE, NO_SPACE } from '../caches/owner.ts';
import { CommandRing, STATUS_DONE } from '../commandRing.ts';

const TYPE_MASK = 0xf;
const TYPE_CONTEXT_CACHE = 1;
const TYPE_IOTLB = 2;
const TYPE_WAIT = 5;
const TYPE_PASID_IOTLB = 6;
const TYPE_PASID_CACHE = 7;
const GRANULARITY_GLOBAL = 1;
const GRANULARITY_DOMAIN = 2;
const PASID_GRANULARITY_GLOBAL = 3;
const PASID_MASK = 0xf_ffff;
const WAIT_STATUS_WRITE = 1 << 5;
const INVALIDATION_HINT = 1 << 6;
const ADDRESS_MASK_BITS = 0x3f;
const LOW_PAGES = 2 ** 20;

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

  protected writeWait(slot: number): void {
    const { memory, ringPage, statusPage } = this;
    memory.writeWord(ringPage, slot, TYPE_WAIT | WAIT_STATUS_WRITE);
    memory.writeWord(ringPage, slot + 1, STATUS_DONE);
    memory.writeWord(ringPage, slot + 2, ((statusPage % LOW_PAGES) << 12) >>> 0);
    memory.writeWord(ringPage, slot + 3, Math.floor(statusPage / LOW_PAGES));
  }

  protected waiting(): void {
    if (this.observer !== null) this.observer.waiting();
  }

  protected serve(first: number, second: number, low: number, high: number): void {
    const { memory, counters } = this;
    switch (first & TYPE_MASK) {
      case TYPE_CONTEXT_CACHE:
        counters.values[COUNTER.invalidationsContext]! += 1;
        this.invalidateContext((first >>> 4) & 3, first >>> 16, second & 0xffff, (second >>> 16) & 3);
        break;
      case TYPE_IOTLB:
        this.invalidateIotlb((first >>> 4) & 3, first >>> 16, NO_SPACE, low, high);
        break;
      case TYPE_PASID_IOTLB:
        this.invalidateIotlb((first >>> 4) & 3, first >>> 16, second & PASID_MASK, low, high);
        break;
      case TYPE_PASID_CACHE:
        counters.values[COUNTER.invalidationsContext]! += 1;
        if (((first >>> 4) & 3) === PASID_GRANULARITY_GLOBAL) this.caches.contextCache.invalidateAll();
        else this.caches.contextCache.invalidateDomain(first >>> 16);
        break;
      case TYPE_WAIT:
        counters.values[COUNTER.invalidationWaits]! += 1;
        memory.writeWord((low >>> 12) + high * LOW_PAGES, (low & 0xfff) >>> 2, second);
        break;
      default:
        throw new Error(`invalidation descriptor of unknown type ${String(first & TYPE_MASK)}`);
    }
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
