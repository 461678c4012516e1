/**
 * Flow-control credits for posted requests (PCI Express Base Specification 2.6.1): a function may send a write only while the
 * root port has room for its TLPs, and room comes back when a write has gone on to memory. A function that lacks credits keeps its
 * requests in order: what comes behind a waiting write waits too.
 * Leaves out: data credits apart from header credits (one TLP of at most MPS bytes is one), and the DLLPs that carry them.
 */
import { Fifo } from './fifo.ts';

export class PostedCredits {
  readonly total: number;
  private available: number;
  private readonly waiting = new Fifo();

  constructor(total: number) {
    this.total = total;
    this.available = total;
  }

  /** Credits nobody holds. */
  get free(): number {
    return this.available;
  }

  /** Takes the credits of a request; false: it waits, and `next` gives it when its turn has come. A read needs none. */
  send(operation: number, tlps: number): boolean {
    if (this.waiting.length === 0 && this.take(tlps)) return true;
    this.waiting.push(operation);
    return false;
  }

  /** Room has come back. */
  giveBack(tlps: number): void {
    this.available += Math.min(tlps, this.total);
  }

  /** The first that waits, if its `tlps` fit now; -1: none does. */
  next(tlpsOf: (operation: number) => number): number {
    if (this.waiting.length === 0) return -1;
    const first = this.waiting.first();
    if (!this.take(tlpsOf(first))) return -1;
    return this.waiting.shift();
  }

  /** A request of more TLPs than there are credits takes all of them: its TLPs follow one another as room allows. */
  private take(tlps: number): boolean {
    const wanted = Math.min(tlps, this.total);
    if (wanted > this.available) return false;
    this.available -= wanted;
    return true;
  }
}
