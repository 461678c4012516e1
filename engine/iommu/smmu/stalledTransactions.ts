/**
 * The stall model of the SMMUv3 (Arm SMMUv3 specification IHI 0070, 3.12.2 and 4.6): a faulting transaction of a context that stalls
 * waits inside the SMMU under a name, its STAG, until CMD_RESUME says to try again or to end it. Only so many can wait; a further one
 * waits for one of their places and is reported when it has one.
 * Leaves out: the time of software's answer, which is the driver's.
 */
import { NO_STALL, type SmmuEventQueue } from './smmuEvents.ts';

/** How a stalled transaction ended. */
export type StallEnd = 'retry' | 'abort' | 'readAsZero';

export interface StalledTransaction {
  readonly streamId: number;
  readonly substreamId: number;
  readonly iovaPage: number;
  readonly write: boolean;
  readonly stage2: boolean;
  /** The event that reports it. */
  readonly event: number;
  /** Told once, when it ends. A retried transaction is translated anew, and may stall again. */
  readonly ended: (end: StallEnd) => void;
}

export class StalledTransactions {
  private readonly places: (StalledTransaction | null)[];
  private readonly queued: StalledTransaction[] = [];
  private readonly events: SmmuEventQueue;

  constructor(capacity: number, events: SmmuEventQueue) {
    this.places = new Array<StalledTransaction | null>(capacity).fill(null);
    this.events = events;
  }

  /** Transactions with a STAG, and those that wait for one. */
  get held(): number {
    return this.places.filter((place) => place !== null).length;
  }

  get waiting(): number {
    return this.queued.length;
  }

  /** The STAG, or NO_STALL while every place is taken. */
  hold(transaction: StalledTransaction): number {
    const stag = this.places.indexOf(null);
    if (stag === -1) {
      this.queued.push(transaction);
      return NO_STALL;
    }
    this.place(stag, transaction);
    return stag;
  }

  /** CMD_RESUME; of a STAG that nobody has, or another stream has, nothing comes. */
  resume(streamId: number, stag: number, end: StallEnd): void {
    const transaction = this.places[stag] ?? null;
    if (transaction?.streamId !== streamId) return;
    this.places[stag] = null;
    transaction.ended(end);
    this.admit();
  }

  /** CMD_STALL_TERM: every stalled transaction of a stream ends. */
  terminate(streamId: number): void {
    const later = this.queued.filter((transaction) => transaction.streamId === streamId);
    for (const transaction of later) {
      this.queued.splice(this.queued.indexOf(transaction), 1);
      transaction.ended('abort');
    }
    for (const [stag, transaction] of this.places.entries()) {
      if (transaction?.streamId !== streamId) continue;
      this.places[stag] = null;
      transaction.ended('abort');
    }
    this.admit();
  }

  private admit(): void {
    for (let stag = this.places.indexOf(null); stag !== -1; stag = this.places.indexOf(null)) {
      const next = this.queued.shift();
      if (next === undefined) return;
      this.place(stag, next);
    }
  }

  private place(stag: number, transaction: StalledTransaction): void {
    this.places[stag] = transaction;
    const { event: id, streamId, substreamId, write, stage2, iovaPage } = transaction;
    this.events.add({ id, streamId, substreamId, stag, write, stage2, iovaPage });
  }
}
