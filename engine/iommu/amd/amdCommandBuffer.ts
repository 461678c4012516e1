/**
 * The command buffer of AMD's IOMMU: a ring of 16-byte commands in memory, served in order (AMD specification 48882, 2.4). Software puts
 * COMPLETION_WAIT behind its commands and spins on the value that it stores. The bits are listed in amdCommands.ts.
 * Leaves out: device TLBs, interrupt tables, prefetch, page requests, guest PASIDs.
 */
import { COUNTER } from '../../metrics/counters.ts';
import { EVERY_SPACE } from '../caches/owner.ts';
import { CommandRing, STATUS_DONE } from '../commandRing.ts';
import {
  COMPLETION_WAIT,
  INVALIDATE_DEVTAB_ENTRY,
  INVALIDATE_IOMMU_ALL,
  INVALIDATE_IOMMU_PAGES,
  LOW_PAGES,
  OPCODE_SHIFT,
  SIZE_IN_ADDRESS,
  STORE,
  UPPER_LEVELS_TOO,
} from './amdCommands.ts';

/** Pages of the address space. */
const ALL_PAGES = 2 ** 52;

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
