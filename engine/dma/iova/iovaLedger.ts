/**
 * Who took each range of IOVA, and when: listens to the trace of the DMA API and keeps one record for each first page that was
 * ever handed out. Where a range lies now (live, queued, cached) is the allocator's to say; the record says whose it is or
 * was, and since when (Linux drivers/iommu/iova.c `alloc_iova_fast`, `free_iova_fast`; include/trace/events/dma.h).
 * Only an inspection attaches it: a run keeps no such records.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { DmaDirection } from '../attributes.ts';
import type { DmaCallEvent, DmaTrace, DmaTraceEvent } from '../trace.ts';

/** What time it is, and who is executing. */
export interface LedgerClock {
  readonly now: number;
  readonly current: { readonly id: number; readonly now: number } | null;
}

export type OwnerCall = 'dma_map_page' | 'dma_map_phys' | 'dma_map_sg' | 'dma_iova_try_alloc' | 'dma_alloc';

export interface LedgerRecord {
  readonly firstPage: number;
  /** Pages as asked, before the allocator rounded them up. */
  readonly pages: number;
  readonly allocatedAt: number;
  /** -1: no CPU's work, as while the machine is set up. */
  readonly allocatedBy: number;
  /** Null: the call has not said so yet, or failed. */
  call: OwnerCall | null;
  bytes: number;
  /** Physically contiguous pieces mapped into the range. */
  pieces: number;
  direction: DmaDirection | null;
  /** A range of the two-step API: all that is linked has been synchronised. */
  synced: boolean;
  unmappedAt: number;
  freedAt: number;
}

export class IovaLedger implements DmaTrace {
  private clock: LedgerClock = { now: 0, current: null };
  private readonly records = new Map<number, LedgerRecord>();
  /** A dma_iova_try_alloc under way: its range comes after it. */
  private pending: DmaCallEvent | null = null;
  /** The range that is being mapped into: taken a moment ago, or named by a dma_iova_link. */
  private mapping: LedgerRecord | null = null;

  /** The machine whose trace this is exists only after the ledger. */
  follow(clock: LedgerClock): this {
    this.clock = clock;
    return this;
  }

  /** The last record of the range that starts at this page. */
  record(firstPage: number): LedgerRecord | null {
    return this.records.get(firstPage) ?? null;
  }

  emit(event: DmaTraceEvent): void {
    switch (event.event) {
      case 'alloc_fast':
        if (event.pfn !== 0) this.allocated(event.pfn, event.pages);
        return;
      case 'free_fast': {
        const record = this.records.get(event.pfn);
        if (record !== undefined) record.freedAt = this.now;
        return;
      }
      case 'map':
        if (this.mapping !== null) this.mapping.pieces += 1;
        return;
      case 'unmap': {
        const record = this.at(event.iova);
        if (record !== undefined) record.unmappedAt = this.now;
        return;
      }
      case 'call':
        this.called(event);
        return;
      default:
    }
  }

  private get now(): number {
    return this.clock.current?.now ?? this.clock.now;
  }

  private allocated(firstPage: number, pages: number): void {
    const record: LedgerRecord = {
      firstPage,
      pages,
      allocatedAt: this.now,
      allocatedBy: this.clock.current?.id ?? -1,
      call: null,
      bytes: 0,
      pieces: 0,
      direction: null,
      synced: false,
      unmappedAt: -1,
      freedAt: -1,
    };
    this.records.set(firstPage, record);
    this.mapping = record;
    if (this.pending?.name !== 'dma_iova_try_alloc') return;
    record.call = 'dma_iova_try_alloc';
    record.bytes = this.pending.size;
    this.pending = null;
  }

  private called(event: DmaCallEvent): void {
    this.pending = null;
    switch (event.name) {
      case 'dma_map_page':
      case 'dma_map_phys':
        this.own(event.result, event.name, event.size, event.direction);
        return;
      case 'dma_map_sg':
        if (event.result <= 0) return;
        this.own(event.dmaAddress[0] ?? -1, event.name, sum(event.length), event.direction);
        return;
      case 'dma_alloc':
        this.own(event.result, event.name, event.size, null);
        return;
      case 'dma_iova_try_alloc':
        this.pending = event;
        return;
      case 'dma_iova_link': {
        const record = this.at(event.address);
        if (record === undefined) return;
        record.direction = event.direction;
        record.synced = false;
        this.mapping = record;
        return;
      }
      case 'dma_iova_sync': {
        const record = this.at(event.address);
        if (record !== undefined) record.synced = true;
        return;
      }
      default:
    }
  }

  private own(address: number, call: OwnerCall, bytes: number, direction: DmaDirection | null): void {
    const record = this.at(address);
    if (record === undefined) return;
    record.call = call;
    record.bytes = bytes;
    record.direction = direction;
  }

  private at(address: number): LedgerRecord | undefined {
    return this.records.get(Math.floor(address / PAGE_SIZE));
  }
}

function sum(lengths: readonly number[]): number {
  return lengths.reduce((total, length) => total + length, 0);
}
