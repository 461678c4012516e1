/**
 * The event queue of a run: a binary heap over typed arrays, ordered by time and, for equal times, by the order of scheduling,
 * so that two runs of the same inputs see the same order. Scheduling allocates nothing once the arrays have grown.
 * Leaves out: cancelling. A handler that no longer cares ignores the event.
 */
import { picoseconds, type Picoseconds } from './picoseconds.ts';

export interface EventHandler {
  /** `kind` and `argument` are what was given to `schedule`; the time is the queue's `now`. */
  handleEvent(kind: number, argument: number): void;
}

const INITIAL_CAPACITY = 256;

export class EventQueue {
  /** The time of the event that is being handled, or was handled last. */
  now: Picoseconds = picoseconds(0);
  /** Events handled so far, those included that a handler stepped through while it waited. */
  handled = 0;
  /** Hears of the time of each event before it is handled; null: nobody does. */
  onEvent: ((at: Picoseconds) => void) | null = null;
  private heap = new Int32Array(INITIAL_CAPACITY);
  private times = new Float64Array(INITIAL_CAPACITY);
  private sequences = new Float64Array(INITIAL_CAPACITY);
  private kinds = new Int32Array(INITIAL_CAPACITY);
  private arguments = new Float64Array(INITIAL_CAPACITY);
  private freeSlots = new Int32Array(INITIAL_CAPACITY);
  private freeCount = 0;
  private readonly handlers: (EventHandler | null)[] = [];
  private count = 0;
  private nextSequence = 0;

  constructor() {
    this.addFreeSlots(0);
  }

  /** Events that have not been handled yet. */
  get size(): number {
    return this.count;
  }

  /** The time of the next event, or null when there is none. */
  get nextTime(): Picoseconds | null {
    return this.count === 0 ? null : picoseconds(this.times[this.heap[0]!]!);
  }

  /** Calls `handler.handleEvent(kind, argument)` at `at`. A time that has passed is an error of the caller. */
  schedule(at: Picoseconds, handler: EventHandler, kind: number, argument = 0): void {
    if (!(at >= this.now))
      throw new Error(`event scheduled at ${String(at)} ps, but it is ${String(this.now)} ps already`);
    if (this.freeCount === 0) this.grow();
    this.freeCount -= 1;
    const slot = this.freeSlots[this.freeCount]!;
    this.times[slot] = at;
    this.sequences[slot] = this.nextSequence;
    this.nextSequence += 1;
    this.kinds[slot] = kind;
    this.arguments[slot] = argument;
    this.handlers[slot] = handler;
    this.siftUp(this.count, slot);
    this.count += 1;
  }

  /**
   * Handles the next event; false when there is none. A handler may step itself, to wait for what a device does: the events that it
   * steps through are handled inside it.
   */
  step(): boolean {
    if (this.count === 0) return false;
    const slot = this.heap[0]!;
    this.count -= 1;
    if (this.count > 0) this.siftDown(this.heap[this.count]!);
    const handler = this.handlers[slot]!;
    this.handlers[slot] = null;
    this.freeSlots[this.freeCount] = slot;
    this.freeCount += 1;
    const now = this.times[slot]! as Picoseconds;
    this.now = now;
    this.handled += 1;
    if (this.onEvent !== null) this.onEvent(now);
    handler.handleEvent(this.kinds[slot]!, this.arguments[slot]!);
    return true;
  }

  private before(left: number, right: number): boolean {
    const difference = this.times[left]! - this.times[right]!;
    return difference < 0 || (difference === 0 && this.sequences[left]! < this.sequences[right]!);
  }

  private siftUp(from: number, slot: number): void {
    const { heap } = this;
    let position = from;
    while (position > 0) {
      const parent = (position - 1) >> 1;
      const above = heap[parent]!;
      if (!this.before(slot, above)) break;
      heap[position] = above;
      position = parent;
    }
    heap[position] = slot;
  }

  private siftDown(slot: number): void {
    const { heap, count } = this;
    let position = 0;
    for (;;) {
      let child = 2 * position + 1;
      if (child >= count) break;
      if (child + 1 < count && this.before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!this.before(heap[child]!, slot)) break;
      heap[position] = heap[child]!;
      position = child;
    }
    heap[position] = slot;
  }

  private grow(): void {
    const used = this.heap.length;
    const capacity = used * 2;
    this.heap = copyInto(new Int32Array(capacity), this.heap);
    this.times = copyInto(new Float64Array(capacity), this.times);
    this.sequences = copyInto(new Float64Array(capacity), this.sequences);
    this.kinds = copyInto(new Int32Array(capacity), this.kinds);
    this.arguments = copyInto(new Float64Array(capacity), this.arguments);
    this.freeSlots = new Int32Array(capacity);
    this.addFreeSlots(used);
  }

  private addFreeSlots(first: number): void {
    for (let slot = this.heap.length - 1; slot >= first; slot -= 1) {
      this.freeSlots[this.freeCount] = slot;
      this.freeCount += 1;
      this.handlers[slot] = null;
    }
  }
}

function copyInto<T extends Int32Array | Float64Array>(target: T, source: T): T {
  target.set(source);
  return target;
}
