import { expect, test } from 'vitest';
import { RandomStream } from './random.ts';

test('the same seed gives the same numbers, another seed others', () => {
  const draw = (seed: number): number[] => {
    const stream = new RandomStream(seed);
    return Array.from({ length: 8 }, () => stream.nextUint32());
  };
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
});

test('a fork depends on its label and the seed, not on what was drawn before', () => {
  const fresh = new RandomStream(9).fork('buffers').nextUint32();
  const used = new RandomStream(9);
  used.nextUint32();
  expect(used.fork('buffers').nextUint32()).toBe(fresh);
  expect(used.fork('pattern').nextUint32()).not.toBe(fresh);
});

test('numbers below a limit are spread evenly (chi-square, 9 degrees of freedom, 99.9 %)', () => {
  const stream = new RandomStream(3);
  const counts = new Array<number>(10).fill(0);
  for (let draw = 0; draw < 20_000; draw += 1) counts[stream.below(10)]! += 1;
  const chiSquare = counts.reduce((sum, count) => sum + (count - 2_000) ** 2 / 2_000, 0);
  expect(chiSquare).toBeLessThan(27.9);
});

test('fractions lie in [0, 1) and average to a half', () => {
  const stream = new RandomStream(4);
  let sum = 0;
  for (let draw = 0; draw < 10_000; draw += 1) {
    const value = stream.fraction();
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThan(1);
    sum += value;
  }
  expect(sum / 10_000).toBeCloseTo(0.5, 1);
});
