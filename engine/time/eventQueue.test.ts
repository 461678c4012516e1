import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventQueue } from './eventQueue.ts';
import { picoseconds } from './picoseconds.ts';

test('events come in the order of their times, and of their scheduling where times are equal', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50), { maxLength: 600 }), (times) => {
      const queue = new EventQueue();
      const seen: { at: number; argument: number }[] = [];
      const handler = { handleEvent: (_kind: number, argument: number) => seen.push({ at: queue.now, argument }) };
      times.forEach((at, index) => {
        queue.schedule(picoseconds(at), handler, 0, index);
      });
      while (queue.step());
      const expected = times
        .map((at, argument) => ({ at, argument }))
        .sort((a, b) => a.at - b.at || a.argument - b.argument);
      expect(seen).toEqual(expected);
      expect(queue.size).toBe(0);
    }),
  );
});

test('an event may schedule others, also for the same moment', () => {
  const queue = new EventQueue();
  const seen: number[] = [];
  const handler = {
    handleEvent(kind: number): void {
      seen.push(kind);
      if (kind === 1) {
        queue.schedule(queue.now, handler, 2);
        queue.schedule(picoseconds(queue.now + 5), handler, 3);
      }
    },
  };
  queue.schedule(picoseconds(7), handler, 1);
  while (queue.step());
  expect(seen).toEqual([1, 2, 3]);
  expect(queue.now).toBe(12);
});

test('a time that has passed is refused', () => {
  const queue = new EventQueue();
  const handler = { handleEvent: () => undefined };
  queue.schedule(picoseconds(10), handler, 0);
  queue.step();
  expect(() => {
    queue.schedule(picoseconds(9), handler, 0);
  }).toThrow('9 ps');
  expect(() => {
    queue.schedule(picoseconds(Number.NaN), handler, 0);
  }).toThrow('NaN');
});

test('what a handler steps through while it waits is counted, and told to whoever listens, in order', () => {
  const queue = new EventQueue();
  const told: number[] = [];
  queue.onEvent = (at) => told.push(at);
  const nothing = { handleEvent: () => undefined };
  const waits = {
    handleEvent: () => {
      while (queue.now < 30) queue.step();
    },
  };
  queue.schedule(picoseconds(10), waits, 0);
  for (const at of [20, 30, 40]) queue.schedule(picoseconds(at), nothing, 0);
  queue.step();
  expect([queue.now, queue.handled, queue.size]).toEqual([30, 3, 1]);
  queue.step();
  expect(told).toEqual([10, 20, 30, 40]);
});
