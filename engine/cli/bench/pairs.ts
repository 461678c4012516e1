/**
 * How the bench measures: the bare loop and the emulator over the same addresses, one after the other, many times; a figure
 * is the median of the pairs' ratios. Times are CPU time of this process, so that neighbours on a busy machine count less.
 */
export interface PairFigure {
  /** Median of bare time over emulated time: 1 would be as fast as the bare loop. */
  readonly ratio: number;
  /** Median rates, operations per second of CPU time. */
  readonly rate: number;
  readonly bareRate: number;
}

/** Each function does `operations` operations and returns something that depends on all of them. */
export function measurePairs(
  operations: number,
  rounds: number,
  bare: () => number,
  emulated: () => number,
): PairFigure {
  let kept = 0;
  const timed = (work: () => number): number => {
    const begun = process.cpuUsage();
    kept += work();
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / 1e6;
  };
  // The first two rounds are the compiler's.
  const pairs = Array.from({ length: rounds + 2 }, () => ({ bare: timed(bare), emulated: timed(emulated) })).slice(2);
  if (!Number.isFinite(kept)) throw new Error('the bench computed nothing');
  return {
    ratio: median(pairs.map((pair) => pair.bare / pair.emulated)),
    rate: median(pairs.map((pair) => operations / pair.emulated)),
    bareRate: median(pairs.map((pair) => operations / pair.bare)),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}
