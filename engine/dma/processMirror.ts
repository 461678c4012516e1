/**
 * A process's memory in the tables of an IOMMU, page by page as devices ask for it, and taken away when the process's tables change
 * (shared virtual addressing; Linux drivers/iommu/iommu-sva.c, mm/mmu_notifier.c). Addresses are the same on both sides.
 * Hardware of this kind mostly walks the process's own tables; here each page is written into the domain's tables by the handler
 * of its first fault, which comes to the same accesses and the same invalidations.
 * Leaves out: entries larger than a page.
 */
import type { AddressSpace } from '../memory/addressSpace.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { PTE_WRITE } from '../memory/cpuPageTable.ts';
import type { IntervalNotifier, InvalidationRange } from '../memory/intervalNotifier.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { DMA_BIDIRECTIONAL, DMA_TO_DEVICE } from './attributes.ts';
import type { IommuDomain } from './iommuDomain.ts';
import { EBUSY, EFAULT } from '../memory/memoryErrors.ts';

export interface ProcessMirrorOptions {
  readonly mm: AddressSpace;
  readonly domain: IommuDomain;
  readonly cpu: Cpu;
  readonly events: EventQueue;
  /** The pages that devices may ask for. */
  readonly start: number;
  readonly pages: number;
}

export class ProcessMirror {
  private readonly options: ProcessMirrorOptions;
  private readonly notifier: IntervalNotifier;
  /** By page, whether devices may write to it. */
  private readonly mapped = new Map<number, boolean>();

  constructor(options: ProcessMirrorOptions) {
    this.options = options;
    const { mm, start, pages } = options;
    const notifier = mm.notifiers.insert(start, pages, (range, sequence) => this.invalidate(range, sequence));
    if (typeof notifier === 'number') throw new Error(`no notifier for the pages of ${mm.name}: ${String(notifier)}`);
    this.notifier = notifier;
  }

  /** Pages that devices have. */
  get held(): number {
    return this.mapped.size;
  }

  /** `iommu_sva_handle_mm`: 0 or a negative errno; -EBUSY while the process's tables are being changed. */
  fault(page: number, write: boolean): number {
    const { mm, domain, cpu, start, pages } = this.options;
    if (page < start || page >= start + pages) return EFAULT;
    if (mm.notifiers.invalidating) return EBUSY;
    const ret = mm.fault(page, write);
    if (ret !== 0) return ret;
    const writable = (mm.table.flagsOf(page) & PTE_WRITE) !== 0;
    const had = this.mapped.get(page);
    if (had === writable) return 0;
    if (had !== undefined) this.drop(page);
    const iova = page * PAGE_SIZE;
    const direction = writable ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
    const error = domain.map(cpu, iova, mm.table.pageOf(page) * PAGE_SIZE, PAGE_SIZE, direction);
    if (error !== 0) return error;
    domain.syncMap(cpu, iova, PAGE_SIZE);
    this.mapped.set(page, writable);
    return 0;
  }

  /** Devices have stopped: everything is taken from them. */
  release(): void {
    const { mm, start, pages } = this.options;
    this.takeAway(start, start + pages);
    mm.notifiers.remove(this.notifier);
  }

  private invalidate(range: InvalidationRange, sequence: number): boolean {
    if (!range.blockable) return false;
    this.notifier.setSequence(sequence);
    const { start, pages } = this.options;
    this.takeAway(Math.max(start, range.start), Math.min(start + pages, range.end));
    return true;
  }

  private takeAway(start: number, end: number): void {
    const { cpu, events, domain } = this.options;
    cpu.begin(events.now);
    for (let page = start; page < end; page += 1) {
      if (this.mapped.has(page)) this.drop(page);
    }
    domain.sync(cpu);
  }

  private drop(page: number): void {
    const { mm, domain, cpu } = this.options;
    const writable = this.mapped.get(page) === true;
    this.mapped.delete(page);
    domain.unmap(cpu, page * PAGE_SIZE, PAGE_SIZE, false);
    domain.sync(cpu);
    if (writable) mm.pages.markDirty(mm.table.pageOf(page));
  }
}
