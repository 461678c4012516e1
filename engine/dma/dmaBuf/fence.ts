/**
 * A fence: the promise that some work of a device ends, which others wait for (Linux drivers/dma-buf/dma-fence.c). It lives in
 * virtual time: whoever does the work signals it, usually from an event of the queue, and it remembers when.
 * Leaves out: deadlines, timelines other than context and sequence number, and arrays and chains of fences.
 */
import type { Picoseconds } from '../../time/picoseconds.ts';

export class DmaFence {
  /** The timeline that this fence is a point of; points of one timeline are signalled in order. */
  readonly context: number;
  readonly sequence: number;
  /** What it stands for, for messages. */
  readonly description: string;
  /** When it was signalled; null before. */
  signalledAt: Picoseconds | null = null;
  /** 0, or the negative errno with which the work ended. */
  error = 0;

  constructor(context: number, sequence: number, description: string) {
    this.context = context;
    this.sequence = sequence;
    this.description = description;
  }

  get signalled(): boolean {
    return this.signalledAt !== null;
  }

  /** `dma_fence_signal`: false when it had been signalled before, which changes nothing. */
  signal(at: Picoseconds, error = 0): boolean {
    if (this.signalledAt !== null) return false;
    this.signalledAt = at;
    this.error = error;
    return true;
  }

  /** `dma_fence_is_later_or_same`, for two fences of one timeline. */
  isLaterOrSame(other: DmaFence): boolean {
    return this.context === other.context && this.sequence >= other.sequence;
  }
}
