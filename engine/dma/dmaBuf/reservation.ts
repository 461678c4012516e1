/**
 * A reservation object: the lock of a buffer and the fences of all work on it, each with the usage that decides who must wait
 * for it (Linux drivers/dma-buf/dma-resv.c, include/linux/dma-resv.h). The emulator is one thread, so a lock that is taken
 * twice is a deadlock and an error, and a wait lets the event queue run until the fences are signalled.
 * Leaves out: wound/wait tickets for locking several objects; `dma_resv_reserve_fences`, which only makes room.
 */
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { DmaFence } from './fence.ts';

/** `enum dma_resv_usage`: whoever asks for one of them gets all fences of that usage and of those above it here. */
export const RESERVATION_USAGE = {
  /** Memory management, such as a copy to another place: everybody waits. */
  kernel: 0,
  write: 1,
  read: 2,
  /** No implicit waiting: only who takes the memory away waits. */
  bookkeep: 3,
} as const;

export type ReservationUsage = (typeof RESERVATION_USAGE)[keyof typeof RESERVATION_USAGE];

/**
 * How a wait ended. `would_wait`: no event is left that could signal the fences, so a kernel would sleep on.
 */
export type FenceWait = 'signalled' | 'timed_out' | 'would_wait';

/** `dma_resv_usage_rw`: what a reader or a writer must wait for under implicit synchronisation. */
export function usageToWaitFor(write: boolean): ReservationUsage {
  return write ? RESERVATION_USAGE.read : RESERVATION_USAGE.write;
}

interface Entry {
  fence: DmaFence;
  usage: ReservationUsage;
}

export class ReservationObject {
  private readonly owner: string;
  private readonly entries: Entry[] = [];
  private held = false;

  /** `owner`: the buffer, for messages. */
  constructor(owner: string) {
    this.owner = owner;
  }

  lock(): void {
    if (this.held) throw new Error(`the reservation lock of ${this.owner} is taken twice: a deadlock`);
    this.held = true;
  }

  unlock(): void {
    this.assertHeld('dma_resv_unlock');
    this.held = false;
  }

  get locked(): boolean {
    return this.held;
  }

  /** `dma_resv_assert_held`. */
  assertHeld(call: string): void {
    if (!this.held) throw new Error(`${call} of ${this.owner} without the reservation lock`);
  }

  /** Runs with the lock held. */
  withLock<Result>(work: () => Result): Result {
    this.lock();
    try {
      return work();
    } finally {
      this.unlock();
    }
  }

  /** `dma_resv_add_fence`: an older point of the same timeline, or one that is signalled, makes room for it. */
  addFence(fence: DmaFence, usage: ReservationUsage): void {
    this.assertHeld('dma_resv_add_fence');
    for (const entry of this.entries) {
      const older = entry.usage >= usage && fence.isLaterOrSame(entry.fence);
      if (older || entry.fence.signalled) {
        entry.fence = fence;
        entry.usage = usage;
        return;
      }
    }
    this.entries.push({ fence, usage });
  }

  /** Fences of this usage and of those that weigh more, signalled ones left out. */
  pending(usage: ReservationUsage): readonly DmaFence[] {
    return this.entries.filter((entry) => entry.usage <= usage && !entry.fence.signalled).map((entry) => entry.fence);
  }

  /** `dma_resv_test_signaled`. */
  testSignalled(usage: ReservationUsage): boolean {
    return !this.entries.some((entry) => entry.usage <= usage && !entry.fence.signalled);
  }

  /**
   * `dma_resv_wait_timeout`: lets events run until the fences are signalled or the time is over, and brings the CPU's
   * clock there. Without a queue nothing can happen meanwhile.
   */
  wait(
    cpu: Cpu,
    usage: ReservationUsage,
    events: EventQueue | null,
    timeout: Picoseconds = Infinity as Picoseconds,
  ): FenceWait {
    const deadline = (cpu.now + timeout) as Picoseconds;
    const waitedFor = this.entries.filter((entry) => entry.usage <= usage).map((entry) => entry.fence);
    const outcome = runEventsUntil(() => waitedFor.every((fence) => fence.signalled), events, deadline);
    if (outcome === 'timed_out') cpu.waitUntil(deadline);
    if (outcome === 'signalled') for (const { signalledAt } of waitedFor) cpu.waitUntil(signalledAt!);
    return outcome;
  }
}

/** Handles events until a condition holds: how a sleeping task passes time. */
export function runEventsUntil(done: () => boolean, events: EventQueue | null, deadline: Picoseconds): FenceWait {
  while (!done()) {
    const next = events?.nextTime ?? null;
    if (next === null || events === null) return 'would_wait';
    if (next > deadline) return 'timed_out';
    events.step();
  }
  return 'signalled';
}
