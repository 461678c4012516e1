/**
 * The command buffer of AMD's IOMMU: a ring of 16-byte commands in memory, served in order (AMD specification 48882, 2.4;
 * Linux drivers/iommu/amd/iommu.c, `build_inv_address`). Software puts COMPLETION_WAIT behind its commands and spins on
 * the value that it stores.
 *
 * Opcode in bits 63:60. COMPLETION_WAIT (1): S 0 (store), address 51:3, data 127:64. INVALIDATE_DEVTAB_ENTRY (2): requester
 * id 15:0. INVALIDATE_IOMMU_PAGES (3): domain 47:32, S 64 (the address says the size), PDE 65 (upper levels too), address
 * 127:76; with S the range is the naturally aligned one whose size is twice the value of the lowest address bit that is zero.
 * INVALIDATE_IOMMU_ALL (8).
 * Leaves out: device TLBs, interrupt tables, prefetch, page requests, guest PASIDs.
 */
import { COUNTER } from '../../metrics/counters.ts';
import { EVERY_SPACE } from '../caches/owner.ts';
import { CommandRing, STATUS_DONE } from '../commandRing.ts';

const OPCODE_SHIFT = 28;
const COMPLETION_WAIT = 1;
const INVALIDATE_DEVTAB_ENTRY = 2;
const INVALIDATE_IOMMU_PAGES = 3;
const INVALIDATE_IOMMU_ALL = 8;
const STORE = 1;
const SIZE_IN_ADDRESS = 1;
const UPPER_LEVELS_TOO = 2;
const LOW_PAGES = 2 ** 20;
/** Bits 63:12 all ones but the highest: every page. */
const ALL_PAGES_LOW = 0xffff_f000;
const ALL_PAGES_HIGH = 0x7fff_ffff;
/** Pages of the largest range that the driver names short of everything: 2^52 bytes. */
const LARGEST_SPAN = 2 ** 40;
/** Pages of the address space. */
const ALL_PAGES = 2 ** 52;

/** `build_inv_iommu_pages` of a domain's pages [first, last]. */
export function invalidatePagesCommand(command: Uint32Array, domainId: number, first: number, last: number): void {
  let span = 1;
  while (span <= LARGEST_SPAN && Math.floor(first / span) !== Math.floor(last / span)) span *= 2;
  if (span > LARGEST_SPAN) {
    invalidateDomainCommand(command, domainId);
    return;
  }
  // the lowest zero of the address stands for half the span; a single page has no room to say its size, and needs none
  const address = span === 1 ? first : first - (first % span) + span / 2 - 1;
  const sized = span === 1 ? 0 : SIZE_IN_ADDRESS;
  command[0] = 0;
  command[1] = ((INVALIDATE_IOMMU_PAGES << OPCODE_SHIFT) | domainId) >>> 0;
  command[2] = (((address % LOW_PAGES) << 12) | sized | UPPER_LEVELS_TOO) >>> 0;
  command[3] = Math.floor(address / LOW_PAGES);
}

/** `CMD_INV_IOMMU_ALL_PAGES_ADDRESS`: every page of a domain. */
export function invalidateDomainCommand(command: Uint32Array, domainId: number): void {
  command[0] = 0;
  command[1] = ((INVALIDATE_IOMMU_PAGES << OPCODE_SHIFT) | domainId) >>> 0;
  command[2] = (ALL_PAGES_LOW | SIZE_IN_ADDRESS | UPPER_LEVELS_TOO) >>> 0;
  command[3] = ALL_PAGES_HIGH;
}

export function invalidateDeviceCommand(command: Uint32Array, sourceId: number): void {
  command.fill(0);
  command[0] = sourceId;
  command[1] = (INVALIDATE_DEVTAB_ENTRY << OPCODE_SHIFT) >>> 0;
}

export class AmdCommandBuffer extends CommandRing {
  protected writeWait(slot: number): void {
    const { memory, ringPage, statusPage } = this;
    memory.writeWord(ringPage, slot, (((statusPage % LOW_PAGES) << 12) | STORE) >>> 0);
    memory.writeWord(
      ringPage,
      slot + 1,
      ((COMPLETION_WAIT << OPCODE_SHIFT) | Math.floor(statusPage / LOW_PAGES)) >>> 0,
    );
    memory.writeWord(ringPage, slot + 2, STATUS_DONE);
    memory.writeWord(ringPage, slot + 3, 0);
  }

  protected waiting(): void {
    // nobody watches
  }

  protected serve(first: number, second: number, low: number, high: number): void {
    const { memory, counters, caches } = this;
    switch (second >>> OPCODE_SHIFT) {
      case COMPLETION_WAIT:
        counters.values[COUNTER.invalidationWaits]! += 1;
        if ((first & STORE) !== 0) {
          const page = (first >>> 12) + (second & 0xf_ffff) * LOW_PAGES;
          const word = (first & 0xff8) >>> 2;
          memory.writeWord(page, word, low);
          memory.writeWord(page, word + 1, high);
        }
        break;
      case INVALIDATE_DEVTAB_ENTRY:
        counters.values[COUNTER.invalidationsContext]! += 1;
        caches.contextCache.invalidateDevice(first & 0xffff, 0);
        break;
      case INVALIDATE_IOMMU_PAGES:
        this.invalidatePages(second & 0xffff, low, high);
        break;
      case INVALIDATE_IOMMU_ALL:
        counters.values[COUNTER.invalidationsGlobal]! += 1;
        caches.iotlb.invalidateAll();
        caches.pagingCache.invalidateAll();
        caches.contextCache.invalidateAll();
        break;
      default:
        throw new Error(`command of unknown opcode ${String(second >>> OPCODE_SHIFT)}`);
    }
  }

  private invalidatePages(domainId: number, low: number, high: number): void {
    const { iotlb, pagingCache } = this.caches;
    const { values } = this.counters;
    const page = (low >>> 12) + high * LOW_PAGES;
    let span = 1;
    if ((low & SIZE_IN_ADDRESS) !== 0) {
      span = 2;
      for (let rest = page; rest % 2 === 1; rest = (rest - 1) / 2) span *= 2;
    }
    const whole = span >= ALL_PAGES;
    values[whole ? COUNTER.invalidationsDomain : COUNTER.invalidationsPage]! += 1;
    const first = whole ? 0 : page - (page % span);
    const last = whole ? Infinity : first + span - 1;
    iotlb.invalidateRange(domainId, EVERY_SPACE, first, last);
    if ((low & UPPER_LEVELS_TOO) !== 0) pagingCache.invalidateRange(domainId, EVERY_SPACE, first, last);
  }
}
