/**
 * Completions in the order of their requests. The specification lets completions of different requests pass each other (PCI
 * Express Base Specification 2.4.1), and some root complexes do not: there a read that waits for its page walk holds up the data
 * of all reads behind it.
 */
import { Fifo } from './fifo.ts';

export class CompletionOrder {
  /** Operations in the order in which their parts reached the root complex. */
  private readonly expected = new Fifo();
  /** Parts of each operation whose data has come and that wait for others. */
  private readonly ready: number[] = [];

  arrived(operation: number): void {
    this.expected.push(operation);
  }

  answered(operation: number): void {
    this.ready[operation] = (this.ready[operation] ?? 0) + 1;
  }

  /** The operation whose part goes on to the link next; -1: the next one's data has not come. */
  next(): number {
    if (this.expected.length === 0) return -1;
    const first = this.expected.first();
    if ((this.ready[first] ?? 0) === 0) return -1;
    this.ready[first]! -= 1;
    return this.expected.shift();
  }
}
