import { describe, expect, test } from 'vitest';
import {
  IntervalNotifiers,
  READ_MUST_WAIT,
  type IntervalNotifier,
  type InvalidationRange,
} from './intervalNotifier.ts';
import { EAGAIN, EINVAL, EOVERFLOW } from './memoryErrors.ts';

function range(start: number, end: number, blockable = true): InvalidationRange {
  return { start, end, event: 'unmap', blockable };
}

/** An interval whose callback does what every driver's does first. */
function follow(notifiers: IntervalNotifiers, start: number, pages: number, answer = true) {
  const heard: number[] = [];
  const notifier = notifiers.insert(start, pages, (_, sequence) => {
    heard.push(sequence);
    if (answer) (notifier as IntervalNotifier).setSequence(sequence);
    return answer;
  });
  if (typeof notifier === 'number') throw new Error('refused');
  return { notifier, heard };
}

describe('interval notifiers (mm/mmu_notifier.c)', () => {
  test('a fresh interval reads an odd sequence and is up to date', () => {
    const notifiers = new IntervalNotifiers();
    const { notifier } = follow(notifiers, 10, 5);
    const sequence = notifier.readBegin();
    expect(sequence % 2).toBe(1);
    expect(notifier.readRetry(sequence)).toBe(false);
  });

  test('an invalidation that touches it makes readers wait, then begin again', () => {
    const notifiers = new IntervalNotifiers();
    const { notifier, heard } = follow(notifiers, 10, 5);
    const before = notifier.readBegin();
    expect(notifiers.invalidateRangeStart(range(14, 20))).toBe(0);
    expect(heard).toEqual([3]);
    expect(notifier.readRetry(before)).toBe(true);
    expect(notifier.readBegin()).toBe(READ_MUST_WAIT);
    notifiers.invalidateRangeEnd();
    const after = notifier.readBegin();
    expect(after).toBe(3);
    expect(notifier.checkRetry(after)).toBe(false);
    expect(notifiers.sequence).toBe(4);
  });

  test('neighbours of the range hear nothing and read on', () => {
    const notifiers = new IntervalNotifiers();
    const { notifier, heard } = follow(notifiers, 10, 5);
    const sequence = notifier.readBegin();
    notifiers.invalidateRangeStart(range(15, 20));
    notifiers.invalidateRangeStart(range(0, 10));
    expect(heard).toEqual([]);
    expect(notifier.readBegin()).toBe(sequence);
    expect(notifiers.sequence).toBe(2);
    notifiers.invalidateRangeEnd();
    notifiers.invalidateRangeEnd();
    expect(notifier.readRetry(sequence)).toBe(false);
  });

  test('overlapping invalidations end together: only the last makes the sequence even', () => {
    const notifiers = new IntervalNotifiers();
    const { notifier, heard } = follow(notifiers, 10, 5);
    notifiers.invalidateRangeStart(range(10, 11));
    notifiers.invalidateRangeStart(range(12, 13));
    expect(heard).toEqual([3, 3]);
    notifiers.invalidateRangeEnd();
    expect(notifier.readBegin()).toBe(READ_MUST_WAIT);
    notifiers.invalidateRangeEnd();
    expect(notifier.readBegin()).toBe(3);
  });

  test('an interval that is not hit reads on although another one is being invalidated', () => {
    const notifiers = new IntervalNotifiers();
    const hit = follow(notifiers, 10, 5);
    const other = follow(notifiers, 30, 5);
    notifiers.invalidateRangeStart(range(10, 11));
    expect(other.notifier.readBegin()).toBe(1);
    expect(hit.notifier.readBegin()).toBe(READ_MUST_WAIT);
    notifiers.invalidateRangeEnd();
  });

  test('inserted during an invalidation it counts as hit, since nobody knows which pages are', () => {
    const notifiers = new IntervalNotifiers();
    notifiers.invalidateRangeStart(range(50, 60));
    expect(notifiers.invalidating).toBe(false);
    const { notifier, heard } = follow(notifiers, 10, 5);
    expect(notifiers.invalidating).toBe(true);
    expect(notifier.readBegin()).toBe(READ_MUST_WAIT);
    const late = follow(notifiers, 20, 5);
    expect(notifiers.intervals).toEqual([notifier]);
    notifiers.invalidateRangeStart(range(10, 30));
    expect(heard).toEqual([3]);
    expect(late.heard).toEqual([]);
    notifiers.invalidateRangeEnd();
    notifiers.invalidateRangeEnd();
    expect(notifiers.intervals).toEqual([notifier, late.notifier]);
    expect(late.notifier.readBegin()).toBe(3);
  });

  test('removal during an invalidation waits for its end; callbacks may come until then', () => {
    const notifiers = new IntervalNotifiers();
    const first = follow(notifiers, 10, 5);
    notifiers.invalidateRangeStart(range(10, 11));
    const second = follow(notifiers, 12, 5);
    expect(notifiers.remove(second.notifier)).toBe(true);
    expect(notifiers.remove(first.notifier)).toBe(false);
    notifiers.invalidateRangeStart(range(12, 13));
    expect(first.heard).toHaveLength(2);
    let settled = false;
    notifiers.whenSettled(() => {
      settled = true;
    });
    notifiers.invalidateRangeEnd();
    expect(settled).toBe(false);
    notifiers.invalidateRangeEnd();
    expect(settled).toBe(true);
    expect(notifiers.intervals).toEqual([]);
    notifiers.invalidateRangeStart(range(10, 11));
    expect(first.heard).toHaveLength(2);
  });

  test('who may not block may be refused: then the invalidation has not begun', () => {
    const notifiers = new IntervalNotifiers();
    const willing = follow(notifiers, 10, 5);
    const busy = follow(notifiers, 12, 5, false);
    expect(notifiers.invalidateRangeStart(range(10, 20, false))).toBe(EAGAIN);
    expect([willing.heard.length, busy.heard.length]).toEqual([1, 1]);
    expect(notifiers.active).toBe(0);
    expect(notifiers.invalidating).toBe(false);
    expect(() => notifiers.invalidateRangeStart(range(10, 20))).toThrow('may block');
  });

  test('callbacks in two passes all begin before the first one ends, also when a later one refuses', () => {
    for (const refuse of [false, true]) {
      const notifiers = new IntervalNotifiers();
      const order: string[] = [];
      for (const name of ['first', 'second']) {
        notifiers.insert(10, 5, () => {
          order.push(`${name} starts`);
          return () => order.push(`${name} finishes`);
        });
      }
      if (refuse) follow(notifiers, 12, 1, false);
      expect(notifiers.invalidateRangeStart(range(10, 20, !refuse))).toBe(refuse ? EAGAIN : 0);
      expect(order).toEqual(['first starts', 'second starts', 'first finishes', 'second finishes']);
      expect(notifiers.active).toBe(refuse ? 0 : 1);
    }
  });

  test('intervals without length or beyond all addresses are refused', () => {
    const notifiers = new IntervalNotifiers();
    expect(notifiers.insert(10, 0, () => true)).toBe(EOVERFLOW);
    expect(notifiers.insert(2 ** 53 - 1, 1, () => true)).toBe(EOVERFLOW);
    expect(notifiers.insert(-1, 1, () => true)).toBe(EINVAL);
  });
});
