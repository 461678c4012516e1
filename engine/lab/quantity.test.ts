/** Times as people write them go in and come out exactly. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { exactTime, parseTime } from './quantity.ts';

it.each([
  ['1.25 ms', 1_250_000_000],
  ['800us', 800_000_000],
  ['3 µs', 3_000_000],
  ['2s', 2e12],
  ['17', 17],
  ['0', 0],
  ['0.5 ns', 500],
])('reads %s', (text, ps) => {
  expect(parseTime(text)).toBe(ps);
});

it.each(['', 'now', '-1 ms', '1 h', '1.5.2 ms', '1e3 ms', '99999999999 s'])('refuses "%s"', (text) => {
  expect(parseTime(text)).toBeNull();
});

it('writes every moment so that it can be read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9_000_000_000_000_000 }), (ps) => {
      expect(parseTime(exactTime(ps))).toBe(ps);
    }),
    { seed: 3 },
  );
});
