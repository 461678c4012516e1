/** Histogram against a sorted list: percentiles within the width of a bucket, merging as recording everything at once. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Histogram, LATENCY_SHAPE, bucketCount, bucketMiddle, bucketOf } from './histogram.ts';

const values = fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.double({ min: 0, max: 2 ** 52, noNaN: true })), {
  minLength: 1,
  maxLength: 300,
});

function naivePercentile(list: readonly number[], fraction: number): number {
  const sorted = [...list].sort((left, right) => left - right);
  return sorted[Math.max(1, Math.ceil(fraction * sorted.length)) - 1] ?? Number.NaN;
}

describe('Histogram', () => {
  it('finds percentiles within one part in 128 of a sorted list', () => {
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, fraction) => {
        const histogram = new Histogram();
        for (const value of list) histogram.record(value);
        const exact = naivePercentile(list, fraction);
        expect(Math.abs(histogram.percentile(fraction) - exact)).toBeLessThanOrEqual(Math.max(1, exact / 128));
      }),
    );
  });

  it('merges to what recording everything in one would give', () => {
    fc.assert(
      fc.property(values, values, (left, right) => {
        const apart = new Histogram();
        const other = new Histogram();
        const together = new Histogram();
        for (const value of left) apart.record(value);
        for (const value of right) other.record(value);
        for (const value of [...left, ...right]) together.record(value);
        apart.merge(other);
        const { sum: _apart, ...merged } = apart.serialize();
        const { sum: _together, ...whole } = together.serialize();
        expect(merged).toEqual(whole);
      }),
    );
  });

  it('comes back from its serialised form', () => {
    fc.assert(
      fc.property(values, (list) => {
        const histogram = new Histogram();
        for (const value of list) histogram.record(value);
        expect(Histogram.deserialize(histogram.serialize()).serialize()).toEqual(histogram.serialize());
      }),
    );
    expect(Histogram.deserialize(new Histogram().serialize())).toEqual(new Histogram());
  });

  it('puts every value into the bucket whose middle is nearest in relative terms', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (value) => {
        const index = bucketOf(LATENCY_SHAPE, value);
        expect(index).toBeLessThan(bucketCount(LATENCY_SHAPE));
        expect(Math.abs(bucketMiddle(LATENCY_SHAPE, index) - value)).toBeLessThanOrEqual(value / 128);
      }),
    );
  });

  it('keeps what is past its range in the last bucket', () => {
    const shape = { subBucketBits: 5, unitBits: 10, rangeBits: 40 };
    expect(bucketOf(shape, 2 ** 52)).toBe(bucketCount(shape) - 1);
    expect(bucketOf(shape, 2 ** 40 - 1)).toBe(bucketCount(shape) - 1);
  });

  it('has no percentile when empty, and refuses another shape', () => {
    expect(new Histogram().percentile(0.5)).toBeNaN();
    expect(() => {
      new Histogram().merge(new Histogram({ subBucketBits: 5, unitBits: 0, rangeBits: 40 }));
    }).toThrow(RangeError);
  });
});
