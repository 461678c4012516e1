/**
 * The command buffer of AMD's IOMMU: a ring of 16-byte commands in memory, served in order (AMD specification 48882, 2.4). Software puts
 * COMPLETION_WAIT behind its commands and spins on the value that it stores. The bits are listed in amdCommands.ts.
 * A command that the hardware does not know is logged as ILLEGAL_COMMAND_ERROR, and the buffer stands at it until software turns it off and on
 * (2.5.3, CmdBufRun). A device that does not answer is logged as IOTLB_INV_TIMEOUT (2.5.6); what waits behind it is completed.
 * Interrupt tables are not kept, and a prefetch is a hint: both commands are taken, and nothing comes of them.
 * Leaves out: COMPLETE_PPR_REQUEST, which is illegal here; the event log in memory, of which the last event and how many there were are kept.
 */
import { COUNTER } from '../../metrics/counters.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { EVERY_SPACE } from '../caches/owner.ts';
import { CommandRing, STATUS_DONE } from '../commandRing.ts';
import {
  COMPLETION_WAIT,
  INVALIDATE_DEVTAB_ENTRY,
  INVALIDATE_IOMMU_ALL,
  FOR_PROCESS,
  INVALIDATE_IOMMU_PAGES,
  INVALIDATE_IOTLB_PAGES,
  LOW_PAGES,
  OPCODE_SHIFT,
  SIZE_IN_ADDRESS,
  STORE,
  UPPER_LEVELS_TOO,
} from './amdCommands.ts';

const INVALIDATE_INTERRUPT_TABLE = 5;
const PREFETCH_IOMMU_PAGES = 6;
/** Pages of the address space. */
const ALL_PAGES = 2 ** 52;

/** Event codes (2.5). */
export const ILLEGAL_COMMAND_ERROR = 5;
export const IOTLB_INV_TIMEOUT = 7;

export class AmdCommandBuffer extends CommandRing {
  /** Events that the buffer has logged, and the code of the last; 0: none. */
  events = 0;
  lastEvent = 0;
  private firstPage = 0;
  private lastPage = 0;

  protected writeWait(page: number, word: number): void {
    const { memory, statusPage } = this;
    memory.writeWord(page, word, (((statusPage % LOW_PAGES) << 12) | STORE) >>> 0);
    memory.writeWord(page, word + 1, ((COMPLETION_WAIT << OPCODE_SHIFT) | Math.floor(statusPage / LOW_PAGES)) >>> 0);
    memory.writeWord(page, word + 2, STATUS_DONE);
    memory.writeWord(page, word + 3, 0);
  }

  protected waiting(): void {
    // nobody watches
  }

  /** CmdBufEn off and on: the buffer runs again, behind the command at which it stood. */
  restart(): void {
    this.halted = false;
  }

  /** Nothing in the driver makes another command of it. */
  protected refused(): boolean {
    return false;
  }

  protected serve(first: number, second: number, low: number, high: number): boolean {
    const { memory, counters, caches } = this;
    switch (second >>> OPCODE_SHIFT) {
      case COMPLETION_WAIT:
        counters.values[COUNTER.invalidationWaits]! += 1;
        if (caches.deviceTlbs.lost) this.log(IOTLB_INV_TIMEOUT);
        if ((first & STORE) !== 0) {
          const page = (first >>> 12) + (second & 0xf_ffff) * LOW_PAGES;
          const word = (first & 0xff8) >>> 2;
          memory.writeWord(page, word, low);
          memory.writeWord(page, word + 1, high);
        }
        return true;
      case INVALIDATE_DEVTAB_ENTRY:
        counters.values[COUNTER.invalidationsContext]! += 1;
        caches.contextCache.invalidateDevice(first & 0xffff, 0);
        return true;
      case INVALIDATE_IOMMU_PAGES:
        this.invalidatePages(second & 0xffff, (low & FOR_PROCESS) === 0 ? EVERY_SPACE : first & 0xf_ffff, low, high);
        return true;
      case INVALIDATE_IOTLB_PAGES:
        this.invalidateDevice(first, second, low, high);
        return true;
      case INVALIDATE_IOMMU_ALL:
        counters.values[COUNTER.invalidationsGlobal]! += 1;
        caches.iotlb.invalidateAll();
        caches.pagingCache.invalidateAll();
        caches.contextCache.invalidateAll();
        return true;
      case INVALIDATE_INTERRUPT_TABLE:
      case PREFETCH_IOMMU_PAGES:
        return true;
      default:
        this.log(ILLEGAL_COMMAND_ERROR);
        return false;
    }
  }

  private invalidatePages(domainId: number, space: number, low: number, high: number): void {
    const { iotlb, pagingCache } = this.caches;
    this.findRange(low, high);
    const { firstPage, lastPage } = this;
    this.counters.values[lastPage === Infinity ? COUNTER.invalidationsDomain : COUNTER.invalidationsPage]! += 1;
    iotlb.invalidateRange(domainId, space, firstPage, lastPage);
    if ((low & UPPER_LEVELS_TOO) !== 0) pagingCache.invalidateRange(domainId, space, firstPage, lastPage);
  }

  private invalidateDevice(first: number, second: number, low: number, high: number): void {
    this.counters.values[COUNTER.invalidationsDeviceTlb]! += 1;
    this.findRange(low, high);
    const { firstPage, lastPage } = this;
    const pasid = (low & FOR_PROCESS) === 0 ? NO_PASID : ((first >>> 16) & 0xff) | (((second >>> 16) & 0xfff) << 8);
    const pages = lastPage === Infinity ? ALL_PAGES : lastPage - firstPage + 1;
    this.caches.deviceTlbs.invalidate(first & 0xffff, pasid, firstPage, pages, false);
  }

  /** The pages of a command; to Infinity: all. */
  private findRange(low: number, high: number): void {
    const page = (low >>> 12) + high * LOW_PAGES;
    let span = 1;
    if ((low & SIZE_IN_ADDRESS) !== 0) {
      span = 2;
      for (let rest = page; rest % 2 === 1; rest = (rest - 1) / 2) span *= 2;
    }
    const whole = span >= ALL_PAGES;
    this.firstPage = whole ? 0 : page - (page % span);
    this.lastPage = whole ? Infinity : this.firstPage + span - 1;
  }

  private log(event: number): void {
    this.events += 1;
    this.lastEvent = event;
  }
}
