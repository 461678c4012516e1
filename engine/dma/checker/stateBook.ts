/**
 * What is linked in each range of the two-step API, page by page: the kernel's checker knows nothing of it, so the rules are
 * those of Documentation/core-api/dma-api.rst. A range is known by its `struct dma_iova_state`.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { DmaDirection } from '../attributes.ts';
import type { DmaIovaState } from '../twoStep.ts';
import type { CallHistory } from './callHistory.ts';

/** One call of dma_iova_link. */
export interface LinkRecord {
  readonly range: StateRecord;
  readonly offset: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
}

/** One reserved range. */
export class StateRecord {
  readonly address: number;
  readonly size: number;
  readonly history: CallHistory;
  /** By page of the range, from 0. */
  readonly links = new Map<number, LinkRecord>();
  /** Pages that a sync has covered since they were linked. */
  readonly synced = new Set<number>();
  /** Bytes linked, ends of pages not counted. */
  linkedBytes = 0;

  constructor(address: number, size: number, history: CallHistory) {
    this.address = address;
    this.size = size;
    this.history = history;
  }

  get firstPage(): number {
    return Math.floor(this.address / PAGE_SIZE);
  }

  /** The page of the range in which a byte lies. */
  pageOf(offset: number): number {
    return Math.floor((this.address + offset) / PAGE_SIZE) - this.firstPage;
  }

  /** The last page that [offset, offset + size) touches. */
  lastPageOf(offset: number, size: number): number {
    return this.pageOf(offset + Math.max(size, 1) - 1);
  }

  /** The link at the first page of [offset, offset + size) that has one; null: none has. */
  linkedIn(offset: number, size: number): LinkRecord | null {
    for (let page = this.pageOf(offset); page <= this.lastPageOf(offset, size); page += 1) {
      const link = this.links.get(page);
      if (link !== undefined) return link;
    }
    return null;
  }

  /** The first page of [offset, offset + size) that is not linked, as an offset; -1: all are. */
  holeIn(offset: number, size: number): number {
    for (let page = this.pageOf(offset); page <= this.lastPageOf(offset, size); page += 1) {
      if (!this.links.has(page)) return Math.max(offset, (this.firstPage + page) * PAGE_SIZE - this.address);
    }
    return -1;
  }

  link(record: LinkRecord): void {
    const { offset, size } = record;
    for (let page = this.pageOf(offset); page <= this.lastPageOf(offset, size); page += 1) this.links.set(page, record);
    this.linkedBytes += size;
  }

  sync(offset: number, size: number): void {
    for (let page = this.pageOf(offset); page <= this.lastPageOf(offset, size); page += 1) {
      if (this.links.has(page)) this.synced.add(page);
    }
  }

  unlink(offset: number, size: number): void {
    for (let page = this.pageOf(offset); page <= this.lastPageOf(offset, size); page += 1) {
      this.links.delete(page);
      this.synced.delete(page);
    }
    this.linkedBytes = this.links.size === 0 ? 0 : Math.max(0, this.linkedBytes - size);
  }
}

/** Ranges that are gone but may explain an access that comes too late. */
const REMEMBERED = 256;

export class StateBook {
  private readonly records = new Map<DmaIovaState, StateRecord>();
  /** Ranges whose state was used for another before they were given back. */
  private readonly lost: StateRecord[] = [];
  private readonly gone: StateRecord[] = [];
  private nextGone = 0;

  add(state: DmaIovaState, record: StateRecord): void {
    const before = this.records.get(state);
    if (before !== undefined) this.lost.push(before);
    this.records.set(state, record);
  }

  get(state: DmaIovaState): StateRecord | null {
    return this.records.get(state) ?? null;
  }

  remove(state: DmaIovaState): void {
    const record = this.records.get(state);
    if (record === undefined) return;
    this.records.delete(state);
    this.gone[this.nextGone] = record;
    this.nextGone = (this.nextGone + 1) % REMEMBERED;
  }

  /** The range that held this address last. */
  lastAt(address: number): StateRecord | null {
    for (let age = 1; age <= this.gone.length; age += 1) {
      const record = this.gone[(this.nextGone - age + REMEMBERED) % REMEMBERED];
      if (record === undefined) continue;
      if (record.firstPage * PAGE_SIZE <= address && address < record.address + record.size) return record;
    }
    return null;
  }

  *live(): Generator<StateRecord> {
    yield* this.lost;
    yield* this.records.values();
  }
}
