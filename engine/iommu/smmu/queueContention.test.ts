/** One cache line for many CPUs, against a list of who has it when. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_CONTENTION, SharedLine } from './queueContention.ts';

test('the line is handed on in order, and each turn lasts longer by those that wait when it is asked for', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 900 }), { minLength: 1, maxLength: 120 }),
      fc.integer({ min: 1, max: 300 }),
      fc.nat({ max: 20 }),
      (gaps, sharedLine, perWaitingCpu) => {
        const line = new SharedLine({ sharedLine, perWaitingCpu });
        const turns: { readonly asked: number; readonly end: number }[] = [];
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          const waiting = turns.filter(({ end }) => end > now).length;
          const free = turns.at(-1)?.end ?? 0;
          const end = Math.max(now, free) + sharedLine + perWaitingCpu * waiting;
          expect(line.take(now)).toBe(end);
          turns.push({ asked: now, end });
        }
      },
    ),
  );
});

test('where nothing is contended nobody waits', () => {
  const line = new SharedLine(NO_CONTENTION);
  for (const at of [5, 5, 5, 7]) expect(line.take(at)).toBe(at);
});
