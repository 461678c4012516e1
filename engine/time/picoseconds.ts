/**
 * Virtual time: integer picoseconds in a JS number. 2^53 ps is about 2.5 hours, exact.
 * Leaves out: wall-clock time, which never enters engine/.
 */
declare const picosecondsBrand: unique symbol;

/** A moment or a duration of virtual time, an integer number of picoseconds. */
export type Picoseconds = number & { readonly [picosecondsBrand]: true };

export const PICOSECONDS_PER_NANOSECOND = 1_000;
export const PICOSECONDS_PER_MICROSECOND = 1_000_000;
export const PICOSECONDS_PER_MILLISECOND = 1_000_000_000;
export const PICOSECONDS_PER_SECOND = 1_000_000_000_000;

/** Marks an integer as picoseconds. The caller vouches that it is one. */
export function picoseconds(value: number): Picoseconds {
  return value as Picoseconds;
}

/** Converts nanoseconds, which may be fractional, to the nearest picosecond. */
export function nanoseconds(value: number): Picoseconds {
  return Math.round(value * PICOSECONDS_PER_NANOSECOND) as Picoseconds;
}
