/**
 * Interval notifiers: how a device that mirrors a process's page tables learns that they change, and how it finds out that
 * what it read has changed meanwhile (Linux mm/mmu_notifier.c, `mmu_interval_notifier_insert`, `mmu_interval_read_begin`,
 * `mn_itree_*`). One sequence number a process: odd while some registered interval is being invalidated; an interval remembers
 * the number of its last invalidation, so equal to the process's number means "in progress", and different from what a reader
 * saw means "changed".
 * The emulator is one thread, so nothing sleeps here: who would sleep is told so, and asks again when the invalidation is over.
 * Leaves out: notifiers without interval (`mmu_notifier_register`), the wait in removal.
 */
import { EAGAIN, EINVAL, EOVERFLOW } from './memoryErrors.ts';

/** Instead of a sequence: an invalidation of the interval is in progress, and the caller would sleep. */
export const READ_MUST_WAIT = -1;

/** `enum mmu_notifier_event`. */
export type InvalidationEvent = 'unmap' | 'clear' | 'protection_vma' | 'protection_page' | 'release' | 'migrate';

/** `struct mmu_notifier_range`, in pages. */
export interface InvalidationRange {
  readonly start: number;
  /** One past the last page. */
  readonly end: number;
  readonly event: InvalidationEvent;
  /** False: callbacks must not sleep, and may refuse. */
  readonly blockable: boolean;
}

/**
 * `ops->invalidate`: takes the driver's lock, calls `setSequence`, stops the device and takes its mappings away. False, which
 * only a range that is not blockable allows: it would have to sleep. A function (`invalidate_start` of newer kernels) is the
 * second half, called when all callbacks of the range have begun, so that several devices can be flushed side by side.
 */
export type Invalidate = (range: InvalidationRange, sequence: number) => boolean | (() => void);

/** `struct mmu_interval_notifier`. */
export class IntervalNotifier {
  readonly start: number;
  /** One past the last page. */
  readonly end: number;
  readonly invalidate: Invalidate;
  /** `invalidate_seq`: of its last invalidation; odd. */
  private sequence: number;
  /** In the tree, as opposed to waiting to be inserted. */
  inserted = false;
  private readonly owner: IntervalNotifiers;

  constructor(owner: IntervalNotifiers, start: number, end: number, invalidate: Invalidate, sequence: number) {
    this.owner = owner;
    this.start = start;
    this.end = end;
    this.invalidate = invalidate;
    this.sequence = sequence;
  }

  /** `mmu_interval_read_begin`: the sequence for `readRetry`, or READ_MUST_WAIT. */
  readBegin(): number {
    return this.sequence === this.owner.sequence ? READ_MUST_WAIT : this.sequence;
  }

  /** `mmu_interval_read_retry`: under the driver's lock; true: what was read since `readBegin` may be stale. */
  readRetry(sequence: number): boolean {
    return this.sequence !== sequence;
  }

  /** `mmu_interval_check_retry`: the same without the lock, so false means little; for leaving long work early. */
  checkRetry(sequence: number): boolean {
    return this.sequence !== sequence;
  }

  /** `mmu_interval_set_seq`: what every callback does first under its lock. */
  setSequence(sequence: number): void {
    this.sequence = sequence;
  }
}

/** `struct mmu_notifier_subscriptions` of one process. */
export class IntervalNotifiers {
  /** `invalidate_seq`, S. */
  sequence = 2;
  /** `active_invalidate_ranges`, A. */
  active = 0;
  /** Invalidations that reached a callback: what mirroring costs. */
  callbacks = 0;
  /** By start, then by age. */
  private readonly tree: IntervalNotifier[] = [];
  /** Insertions and removals that wait for the end of all invalidations; the newest first. */
  private readonly deferred: IntervalNotifier[] = [];
  private readonly sleepers: (() => void)[] = [];

  /** An invalidation of a registered interval is in progress. */
  get invalidating(): boolean {
    return this.sequence % 2 === 1;
  }

  /** Intervals that callbacks go to. */
  get intervals(): readonly IntervalNotifier[] {
    return this.tree;
  }

  /** `mmu_interval_notifier_insert`, of pages: a notifier, or a negative errno. */
  insert(start: number, pages: number, invalidate: Invalidate): IntervalNotifier | number {
    if (pages <= 0 || !Number.isSafeInteger(start + pages)) return EOVERFLOW;
    if (start < 0) return EINVAL;
    let sequence = this.sequence - 1;
    let wait = false;
    if (this.active > 0) {
      // which pages are being invalidated is not recorded, so the new interval counts as one of them
      wait = this.invalidating;
      if (!wait) this.sequence += 1;
      sequence = this.sequence;
    }
    const notifier = new IntervalNotifier(this, start, start + pages, invalidate, sequence);
    if (wait) this.deferred.unshift(notifier);
    else this.plant(notifier);
    return notifier;
  }

  /** `mmu_interval_notifier_remove`: true: gone; false: it goes when the invalidation ends, and the kernel would sleep till then. */
  remove(notifier: IntervalNotifier): boolean {
    if (!this.invalidating) {
      this.uproot(notifier);
      return true;
    }
    if (!notifier.inserted) {
      this.deferred.splice(this.deferred.indexOf(notifier), 1);
      return true;
    }
    this.deferred.unshift(notifier);
    return false;
  }

  /** `mmu_notifier_invalidate_range_start`: before entries change. 0, or -EAGAIN: then nothing may change, and no end follows. */
  invalidateRangeStart(range: InvalidationRange): number {
    this.active += 1;
    // collected first: a callback may end in insertions, which are deferred, but never in changes of the tree
    const hit = this.tree.filter((notifier) => notifier.start < range.end && notifier.end > range.start);
    if (hit.length > 0 && !this.invalidating) this.sequence += 1;
    const { sequence } = this;
    const finishes: (() => void)[] = [];
    const refused = hit.some((notifier) => {
      this.callbacks += 1;
      const answer = notifier.invalidate(range, sequence);
      if (typeof answer === 'function') finishes.push(answer);
      return answer === false;
    });
    for (const finish of finishes) finish();
    if (!refused) return 0;
    if (range.blockable) throw new Error('a callback refused an invalidation that may block');
    this.invalidateRangeEnd();
    return EAGAIN;
  }

  /** `mmu_notifier_invalidate_range_end`: after entries changed. */
  invalidateRangeEnd(): void {
    if (this.active === 0) throw new Error('an invalidation ends that never started');
    this.active -= 1;
    if (this.active > 0 || !this.invalidating) return;
    this.sequence += 1;
    for (const notifier of this.deferred.splice(0)) {
      if (notifier.inserted) this.uproot(notifier);
      else this.plant(notifier);
    }
    for (const wake of this.sleepers.splice(0)) wake();
  }

  /** Called once when no registered interval is being invalidated any more; at once when none is. */
  whenSettled(wake: () => void): void {
    if (this.invalidating) this.sleepers.push(wake);
    else wake();
  }

  private plant(notifier: IntervalNotifier): void {
    let index = this.tree.length;
    while (index > 0 && this.tree[index - 1]!.start > notifier.start) index -= 1;
    this.tree.splice(index, 0, notifier);
    notifier.inserted = true;
  }

  private uproot(notifier: IntervalNotifier): void {
    const index = this.tree.indexOf(notifier);
    if (index < 0) throw new Error('an interval notifier is removed that is not registered');
    this.tree.splice(index, 1);
    notifier.inserted = false;
  }
}
