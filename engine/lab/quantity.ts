/**
 * Numbers as people read them: SI prefixes for counts and rates, binary prefixes for bytes held, units of time for
 * picoseconds. One spelling for the table, the axes, the window and the exports. Pure text: the renderer uses it too.
 */
import type { SummaryUnit } from './runTypes.ts';

/** U+202F, a narrow space that does not break a number from its unit. */
const SPACE = '\u202f';

const SI = [
  { factor: 1e12, prefix: 'T' },
  { factor: 1e9, prefix: 'G' },
  { factor: 1e6, prefix: 'M' },
  { factor: 1e3, prefix: 'k' },
] as const;

const BINARY = [
  { factor: 2 ** 40, prefix: 'Ti' },
  { factor: 2 ** 30, prefix: 'Gi' },
  { factor: 2 ** 20, prefix: 'Mi' },
  { factor: 2 ** 10, prefix: 'Ki' },
] as const;

const TIME = [
  { factor: 1e12, prefix: 's' },
  { factor: 1e9, prefix: 'ms' },
  { factor: 1e6, prefix: 'µs' },
  { factor: 1e3, prefix: 'ns' },
] as const;

/** A value of the summary as text; an en dash where nothing was measured. */
export function formatQuantity(value: number, unit: SummaryUnit): string {
  if (Number.isNaN(value)) return '–';
  switch (unit) {
    case 'count':
      return Number.isInteger(value) ? groupDigits(value) : significant(value);
    case 'bytes':
      return withPrefix(value, BINARY, 'B');
    case 'bytes/s':
      return withPrefix(value, SI, 'B/s');
    case 'ps':
      return formatTime(value);
  }
}

export function formatTime(ps: number): string {
  if (Number.isNaN(ps)) return '–';
  const step = TIME.find(({ factor }) => Math.abs(ps) >= factor);
  if (!step) return ps === 0 ? '0' : `${significant(ps)}${SPACE}ps`;
  return `${significant(ps / step.factor)}${SPACE}${step.prefix}`;
}

/** Decimal places of a unit of time, down to a picosecond. */
const TIME_DIGITS: ReadonlyMap<string, number> = new Map([
  ['ps', 0],
  ['ns', 3],
  ['us', 6],
  ['µs', 6],
  ['μs', 6],
  ['ms', 9],
  ['s', 12],
]);

/** A time that a person wrote, such as `1.25 ms`, in whole picoseconds; null when it is none. A number alone is picoseconds. */
export function parseTime(written: string): number | null {
  const match = /^(\d+)(?:\.(\d+))?\s*([a-zµμ]*)$/.exec(written.trim().toLowerCase());
  const [, whole = '', fraction = '', unit = ''] = match ?? [];
  const digits = TIME_DIGITS.get(unit === '' ? 'ps' : unit);
  if (!match || digits === undefined) return null;
  // By digits, since a fraction of a millisecond need not be a whole number of picoseconds in binary.
  const ps = Number(whole + fraction.slice(0, digits).padEnd(digits, '0'));
  return Number.isSafeInteger(ps) ? ps : null;
}

/** The same moment without loss, for a field that is edited: `1.234567 ms`. */
export function exactTime(ps: number): string {
  const step = TIME.find(({ factor }) => ps >= factor);
  if (step === undefined) return `${ps} ps`;
  const digits = TIME_DIGITS.get(step.prefix) ?? 0;
  const fraction = String(ps % step.factor)
    .padStart(digits, '0')
    .replace(/0+$/, '');
  return `${Math.floor(ps / step.factor)}${fraction === '' ? '' : `.${fraction}`} ${step.prefix}`;
}

/** Short text for an axis: `1.2 M`, `350 k`. */
export function formatShort(value: number, unit: SummaryUnit): string {
  if (unit === 'ps') return formatTime(value);
  return unit === 'bytes' ? withPrefix(value, BINARY, 'B') : withPrefix(value, SI, unit === 'bytes/s' ? 'B/s' : '');
}

function withPrefix(value: number, steps: readonly { factor: number; prefix: string }[], unit: string): string {
  const step = steps.find(({ factor }) => Math.abs(value) >= factor);
  const number = step ? significant(value / step.factor) : significant(value);
  const suffix = `${step?.prefix ?? ''}${unit}`;
  return suffix === '' ? number : `${number}${SPACE}${suffix}`;
}

/** Three significant digits, no exponent, no zeros at the end of a fraction. */
function significant(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const text = value.toFixed(Math.min(digits, 20));
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

function groupDigits(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, SPACE);
}
