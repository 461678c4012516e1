/**
 * The drive's side of a queue pair (NVM Express Base Specification 2.0, 3.3.1): where it lies on the bus and how far the drive
 * has come in it.
 */
import type { DmaAddr } from '../memory/addresses.ts';
import type { EventHandler } from '../time/eventQueue.ts';
import { SUBMISSION_QUEUE_ENTRY_BYTES } from './nvmeSpecification.ts';

/** Entries fetched in one read: 1 KiB, a common choice of controllers. */
export const SQE_FETCH_ENTRIES = 16;

export class NvmeSubmissionQueue {
  readonly id: number;
  readonly address: DmaAddr;
  readonly entries: number;
  readonly completionQueueId: number;
  /** As the doorbell said. */
  tail = 0;
  /** The drive's head: the next entry to fetch. */
  fetched = 0;
  /** Entries of the fetch under way. */
  fetching = 0;
  readonly buffer = new Uint8Array(SQE_FETCH_ENTRIES * SUBMISSION_QUEUE_ENTRY_BYTES);
  readonly dwords = new Uint32Array(this.buffer.buffer);

  constructor(id: number, address: DmaAddr, entries: number, completionQueueId: number) {
    this.id = id;
    this.address = address;
    this.entries = entries;
    this.completionQueueId = completionQueueId;
  }
}

export class NvmeCompletionQueue {
  readonly id: number;
  readonly address: DmaAddr;
  readonly entries: number;
  readonly interrupt: EventHandler;
  readonly kind: number;
  head = 0;
  tail = 0;
  /** Base 4.2.4: starts at 1 and inverts with each pass. */
  phase: 0 | 1 = 1;
  /** Command slots whose entry found the queue full. */
  readonly waiting: number[] = [];

  constructor(id: number, address: DmaAddr, entries: number, interrupt: EventHandler, kind: number) {
    this.id = id;
    this.address = address;
    this.entries = entries;
    this.interrupt = interrupt;
    this.kind = kind;
  }

  get full(): boolean {
    return (this.tail + 1) % this.entries === this.head;
  }

  advanceTail(): void {
    this.tail += 1;
    if (this.tail < this.entries) return;
    this.tail = 0;
    this.phase = this.phase === 1 ? 0 : 1;
  }
}
