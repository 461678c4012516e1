/**
 * What the window needs beside engine/lab/quantity.ts: real durations and differences between columns. Quantities themselves
 * are written by the engine's formatter, so that window, table, axes and exports spell a number alike.
 */
const SPACE = '\u202f';

/** Real time that is left or has passed: `8 s`, `2:05`, `1:02:09`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}${SPACE}s`;
  const pad = (value: number): string => String(value).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${pad(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(whole % 60)}`;
}

/** A signed difference in percent against a base, a multiple where percents would not be read; null: nothing to compare. */
export function formatDifference(value: number, base: number): string | null {
  if (!Number.isFinite(value) || !Number.isFinite(base)) return null;
  if (value === base) return '=';
  if (base === 0) return null;
  const ratio = value / base;
  if (ratio >= 10) return `${ratio.toFixed(ratio < 100 ? 1 : 0)}×`;
  const percent = 100 * (ratio - 1);
  const size = Math.abs(percent);
  const figure = size < 0.05 ? '<0.1' : size.toFixed(size < 100 ? 1 : 0);
  return `${percent > 0 ? '+' : '−'}${figure}${SPACE}%`;
}
