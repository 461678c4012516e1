/** Parameters of presets as rows that can be edited, and what may be written into one. */
import { costParameters } from '../../engine/lab/presets.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';
import { costName } from '../inspect/costGroups.ts';
import { strings } from '../strings.ts';

export type ParameterValue = number | string | boolean;

export interface ParameterRow {
  readonly name: string;
  readonly label: string;
  /** What the lab is computed with, and what the preset says. */
  readonly value: ParameterValue;
  readonly own: ParameterValue;
  readonly unit: string;
  /** From, to; null: none is known. */
  readonly range: readonly [number, number] | null;
  /** A value outside the range is refused; false: it is what somebody has found, and may be left. */
  readonly bounded: boolean;
  readonly mark: 'measured' | 'derived' | 'assumed';
  readonly source: string;
  readonly help: string;
  readonly changed: boolean;
  /** Where the value is a word: those that there are. */
  readonly choices: readonly string[];
}

const words = strings.presets;
/** What the document takes. */
const LARGEST_COST = 1e12;

export function costRows({ costs, kernelProfile }: LabDocument): ParameterRow[] {
  const own = new Map(
    costParameters({ ...costs, overrides: {} }, kernelProfile).map(({ name, value }) => [name, value]),
  );
  return costParameters(costs, kernelProfile).map(({ name, value, unit, source, mark, help, range, overridden }) => ({
    name,
    label: costName(name),
    value,
    own: own.get(name) ?? value,
    unit,
    range: range ?? null,
    bounded: false,
    mark,
    source,
    help,
    changed: overridden,
    choices: [],
  }));
}

/** What was written, as a value; or what is wrong with it. */
export function parseValue(row: ParameterRow, written: string): { value: number } | { complaint: string } {
  const text = written
    .trim()
    .replaceAll(/[\s\u00a0\u202f]/g, '')
    .replace(',', '.');
  const value = /^\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value) || value > LARGEST_COST) return { complaint: words.notANumber };
  if (row.bounded && row.range !== null) {
    const [from, to] = row.range;
    if (value < from || value > to || !Number.isInteger(value)) return { complaint: words.outOfBounds(from, to) };
  }
  return { value };
}

export function isOutsideRange({ value, range, bounded }: ParameterRow): boolean {
  return !bounded && range !== null && typeof value === 'number' && (value < range[0] || value > range[1]);
}

/** Rows whose name, help or source has every word that is sought. */
export function matching(rows: readonly ParameterRow[], sought: string, changedOnly: boolean): ParameterRow[] {
  const asked = sought
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  return rows.filter((row) => {
    if (changedOnly && !row.changed) return false;
    const text = `${row.name} ${row.label} ${row.help} ${row.source} ${row.mark}`.toLowerCase();
    return asked.every((word) => text.includes(word));
  });
}
