/**
 * A log-linear histogram: every octave of values is cut into 2^n equal sub-buckets, so a percentile is off by at most
 * 2^-n of its value, whatever its size. Histograms of one shape merge by adding their buckets. Values are non-negative;
 * those below `floor` share the first, linear range and those past the top share the last bucket.
 * The layout is that of HdrHistogram without its unit rounding. Leaves out: removal, resizing.
 */
export interface HistogramShape {
  /** log2 of the sub-buckets per octave. */
  readonly subBucketBits: number;
  /** log2 of the width of a bucket in the linear range, that is of the smallest difference that shows. */
  readonly unitBits: number;
  /** log2 of the first value that is out of range. */
  readonly rangeBits: number;
}

export interface SerializedHistogram extends HistogramShape {
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  /** Index and count of every bucket that is not empty, in order. */
  readonly buckets: readonly (readonly [index: number, count: number])[];
}

/** Picoseconds from 1 ps to 2^53 ps within 1 in 128. */
export const LATENCY_SHAPE: HistogramShape = { subBucketBits: 7, unitBits: 0, rangeBits: 53 };

/** Buckets of one histogram of a shape. */
export function bucketCount(shape: HistogramShape): number {
  return (shape.rangeBits - shape.unitBits - shape.subBucketBits + 1) * 2 ** shape.subBucketBits;
}

/** The bucket of a value: the exponent picks the octave, the leading bits after it the sub-bucket. */
export function bucketOf(shape: HistogramShape, value: number): number {
  const subBuckets = 2 ** shape.subBucketBits;
  const units = Math.floor(value / 2 ** shape.unitBits);
  if (units < subBuckets) return units > 0 ? units : 0;
  const last = bucketCount(shape) - 1;
  const exponent = exponentOf(units);
  const octave = exponent - shape.subBucketBits;
  const index = octave * subBuckets + Math.floor(units / 2 ** octave);
  return index > last ? last : index;
}

/** The middle of a bucket, which stands for the values in it. */
export function bucketMiddle(shape: HistogramShape, index: number): number {
  const subBuckets = 2 ** shape.subBucketBits;
  const unit = 2 ** shape.unitBits;
  if (index < subBuckets) return (index + (unit - 1) / (2 * unit)) * unit;
  const octave = Math.floor(index / subBuckets) - 1;
  const width = 2 ** octave;
  return ((index - octave * subBuckets) * width + (width * unit - 1) / (2 * unit)) * unit;
}

/** floor(log2 value) of an integer below 2^53: exact, since clz32 counts bits where Math.log2 rounds. */
function exponentOf(value: number): number {
  return value >= 0x1_0000_0000 ? 63 - Math.clz32(Math.floor(value / 0x1_0000_0000)) : 31 - Math.clz32(value);
}

/**
 * The value below which a fraction of `total` recorded values lies (nearest rank), from buckets at `offset`. NaN when empty.
 */
export function bucketPercentile(
  shape: HistogramShape,
  buckets: Float64Array | Uint32Array,
  offset: number,
  total: number,
  fraction: number,
): number {
  if (total === 0) return Number.NaN;
  const rank = Math.max(1, Math.ceil(fraction * total));
  const length = bucketCount(shape);
  let seen = 0;
  for (let index = 0; index < length; index += 1) {
    seen += buckets[offset + index] ?? 0;
    if (seen >= rank) return bucketMiddle(shape, index);
  }
  return bucketMiddle(shape, length - 1);
}

export class Histogram {
  readonly shape: HistogramShape;
  readonly buckets: Float64Array;
  count = 0;
  sum = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;

  constructor(shape: HistogramShape = LATENCY_SHAPE) {
    this.shape = shape;
    this.buckets = new Float64Array(bucketCount(shape));
  }

  record(value: number, times = 1): void {
    const index = bucketOf(this.shape, value);
    this.buckets[index] = (this.buckets[index] ?? 0) + times;
    this.count += times;
    this.sum += value * times;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }

  get mean(): number {
    return this.count === 0 ? Number.NaN : this.sum / this.count;
  }

  /** The nearest-rank percentile, kept within what was recorded; NaN when empty. */
  percentile(fraction: number): number {
    const value = bucketPercentile(this.shape, this.buckets, 0, this.count, fraction);
    return Math.min(Math.max(value, this.min), this.max);
  }

  /** Adds another histogram of the same shape. */
  merge(other: Histogram): void {
    if (other.buckets.length !== this.buckets.length || other.shape.unitBits !== this.shape.unitBits)
      throw new RangeError('Histograms of different shapes do not merge.');
    for (let index = 0; index < this.buckets.length; index += 1)
      this.buckets[index] = (this.buckets[index] ?? 0) + (other.buckets[index] ?? 0);
    this.count += other.count;
    this.sum += other.sum;
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
  }

  serialize(): SerializedHistogram {
    const buckets: [number, number][] = [];
    this.buckets.forEach((count, index) => {
      if (count > 0) buckets.push([index, count]);
    });
    return {
      ...this.shape,
      count: this.count,
      sum: this.sum,
      min: this.count === 0 ? 0 : this.min,
      max: this.count === 0 ? 0 : this.max,
      buckets,
    };
  }

  static deserialize(data: SerializedHistogram): Histogram {
    const histogram = new Histogram({
      subBucketBits: data.subBucketBits,
      unitBits: data.unitBits,
      rangeBits: data.rangeBits,
    });
    for (const [index, count] of data.buckets) histogram.buckets[index] = count;
    histogram.count = data.count;
    histogram.sum = data.sum;
    if (data.count > 0) {
      histogram.min = data.min;
      histogram.max = data.max;
    }
    return histogram;
  }
}
