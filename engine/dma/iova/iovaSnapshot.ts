/**
 * The IOVA space of a device at one moment: every range of the tree with what has become of it. A range is live while a
 * mapping has it, queued while it waits for the flush of a lazy domain, cached while the allocator keeps it for the next
 * request of its size, and reserved when it is never handed out (Linux drivers/iommu/iova.c, drivers/iommu/dma-iommu.c).
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { DmaDevice } from '../device.ts';
import type { DmaIommu } from '../dmaIommu.ts';
import type { IovaLedger, LedgerRecord, OwnerCall } from './iovaLedger.ts';

export const IOVA_STATES = ['live', 'queued', 'cached', 'reserved'] as const;
export type IovaState = (typeof IOVA_STATES)[number];

/** How far a live range has come. */
export type IovaProgress = 'allocated' | 'linked' | 'mapped';

export interface IovaRange {
  /** First page and number of pages; the allocator's, rounded up to a size class. */
  readonly firstPage: number;
  readonly pages: number;
  readonly state: IovaState;
  /** Whose it is, or was last; null: nobody's, as of reserved ranges. */
  readonly call: OwnerCall | null;
  readonly progress: IovaProgress | null;
  readonly bytes: number;
  readonly pieces: number;
  readonly direction: 'both' | 'toDevice' | 'fromDevice' | null;
  /** The CPU that took it (live), whose ring it waits in (queued) or whose cache has it (cached); -1: none, or the depot. */
  readonly cpu: number;
  /** When it came into this state, picoseconds; 0 for reserved ranges. */
  readonly since: number;
}

export interface IovaTotals {
  readonly ranges: number;
  readonly pages: number;
}

export interface IovaSnapshot {
  readonly at: number;
  /** Requester, as the kernel prints it. */
  readonly device: string;
  /** False: addresses are physical ones, and there is no such space. */
  readonly translated: boolean;
  /** Pages that the device can be given: its mask, or what the page table reaches. */
  readonly spacePages: number;
  /** In address order. */
  readonly ranges: readonly IovaRange[];
  readonly totals: Readonly<Record<IovaState, IovaTotals>>;
}

const DIRECTIONS = ['both', 'toDevice', 'fromDevice'] as const;

export function iovaSnapshot(at: number, device: DmaDevice, dma: DmaIommu | null, ledger: IovaLedger): IovaSnapshot {
  const totals = {
    live: { ranges: 0, pages: 0 },
    queued: { ranges: 0, pages: 0 },
    cached: { ranges: 0, pages: 0 },
    reserved: { ranges: 0, pages: 0 },
  };
  if (dma === null) return { at, device: device.name, translated: false, spacePages: 0, ranges: [], totals };
  const cachedBy = new Map<number, number>();
  for (const { pfn, cpu } of dma.iova.rcache.ranges()) cachedBy.set(pfn, cpu);
  const queuedBy = new Map<number, number>();
  for (const { pfn, cpu } of dma.flushQueue?.waiting() ?? []) queuedBy.set(pfn, cpu);
  const ranges: IovaRange[] = [];
  for (const { lo, hi } of dma.iova.tree.ranges()) {
    const record = ledger.record(lo);
    const range = describeRange(lo, hi - lo + 1, record, queuedBy.get(lo), cachedBy.get(lo));
    totals[range.state].ranges += 1;
    totals[range.state].pages += range.pages;
    ranges.push(range);
  }
  const limit = Math.min(device.dmaMask + 1, dma.domain.apertureEnd);
  const reach = device.busDmaLimit === 0 ? limit : Math.min(limit, device.busDmaLimit + 1);
  const spacePages = Math.floor(reach / PAGE_SIZE);
  return { at, device: device.name, translated: true, spacePages, ranges, totals };
}

function describeRange(
  firstPage: number,
  pages: number,
  record: LedgerRecord | null,
  queuedBy: number | undefined,
  cachedBy: number | undefined,
): IovaRange {
  const owner = {
    call: record?.call ?? null,
    progress: null,
    bytes: record?.bytes ?? 0,
    pieces: record?.pieces ?? 0,
    direction: directionOf(record),
  };
  if (queuedBy !== undefined) {
    return { firstPage, pages, state: 'queued', ...owner, cpu: queuedBy, since: Math.max(0, record?.unmappedAt ?? 0) };
  }
  if (cachedBy !== undefined) {
    return { firstPage, pages, state: 'cached', ...owner, cpu: cachedBy, since: Math.max(0, record?.freedAt ?? 0) };
  }
  if (record === null || record.freedAt >= 0) {
    return { firstPage, pages, state: 'reserved', ...owner, cpu: -1, since: 0 };
  }
  const { allocatedBy, allocatedAt } = record;
  return {
    firstPage,
    pages,
    state: 'live',
    ...owner,
    progress: progressOf(record),
    cpu: allocatedBy,
    since: allocatedAt,
  };
}

function directionOf(record: LedgerRecord | null): IovaRange['direction'] {
  const direction = record?.direction ?? null;
  return direction === null ? null : DIRECTIONS[direction];
}

function progressOf(record: LedgerRecord): IovaProgress {
  if (record.pieces === 0) return 'allocated';
  return record.call === 'dma_iova_try_alloc' && !record.synced ? 'linked' : 'mapped';
}
