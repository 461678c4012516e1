/**
 * A CPU's own clock. Kernel code runs synchronously inside one event and moves this clock forward by what it costs, so the
 * clock may be ahead of the event queue; work for a CPU that is still busy is scheduled at its `now`.
 * Leaves out: caches, frequency, preemption.
 */
import { picoseconds, type Picoseconds } from './picoseconds.ts';

export class Cpu {
  readonly id: number;
  now: Picoseconds = picoseconds(0);

  constructor(id: number) {
    this.id = id;
  }

  /** Starts work at a moment, or as soon as the CPU is free. */
  begin(at: Picoseconds): void {
    if (at > this.now) this.now = at;
  }

  /** Executes for a duration. */
  spend(duration: Picoseconds): void {
    this.now = (this.now + duration) as Picoseconds;
  }

  /** Spins until a moment; no time passes when it has passed already. */
  waitUntil(at: Picoseconds): void {
    if (at > this.now) this.now = at;
  }
}
