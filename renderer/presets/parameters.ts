/** Parameters of presets as rows that can be edited, and what may be written into one. */
import type { HardwareParameter } from '../../engine/lab/hardwarePresets.ts';
import { measuredPreset } from '../../engine/lab/measuredPreset.ts';
import { COST_PRESETS, costParameters } from '../../engine/lab/presets.ts';
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

/** What of the tables is seen. */
export interface ParameterFilter {
  readonly sought: string;
  readonly changedOnly: boolean;
}

const words = strings.presets;
/** What the document takes. */
const LARGEST_COST = 1e12;

/** Whose time it is: the hardware's, the kernel's on the way through the DMA API, or a driver's. */
export const COST_GROUPS = ['hardware', 'kernel', 'driver'] as const;
export type CostGroup = (typeof COST_GROUPS)[number];

export function costGroup({ name }: Pick<ParameterRow, 'name'>): CostGroup {
  if (COST_PRESETS.some(({ parameters }) => Object.hasOwn(parameters, name))) return 'hardware';
  return /^(nvme|rdma|odp|nic)/.test(name) ? 'driver' : 'kernel';
}

/** What measured curves of IOMMUs say of costs: where a lab has their value, it has their source and mark. */
function curveCosts({ topology }: LabDocument): Map<string, HardwareParameter> {
  const curves = topology.parts.flatMap((part) =>
    part.kind === 'iommu' && part.measured !== undefined ? [measuredPreset(part.measured).costs] : [],
  );
  return new Map(curves.flatMap((brought) => Object.entries(brought)));
}

export function costRows(lab: LabDocument): ParameterRow[] {
  const { costs } = lab;
  const brought = curveCosts(lab);
  const own = new Map(
    costParameters({ ...lab, costs: { ...costs, overrides: {} } }).map(({ name, value }) => [name, value]),
  );
  return costParameters(lab).map(({ name, value, unit, source, mark, help, range, overridden }) => {
    const curve = brought.get(name);
    const known = overridden && curve?.value === value ? curve : { source, mark };
    return {
      name,
      label: costName(name),
      value,
      own: own.get(name) ?? value,
      unit,
      range: range ?? null,
      bounded: false,
      mark: known.mark,
      source: known.source,
      help,
      changed: overridden,
      choices: [],
    };
  });
}

/** Figures out of a computation have more digits than anybody reads; what is written is not rounded. */
export function valueText(value: ParameterValue): string {
  return typeof value === 'number' ? String(Number(value.toFixed(value < 1 ? 6 : 3))) : String(value);
}

/** A number as people write it; null: it is none, or negative, or too large. */
export function parseNumber(written: string): number | null {
  const text = written
    .trim()
    .replaceAll(/[\s\u00a0\u202f]/g, '')
    .replace(',', '.');
  const value = /^\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  return Number.isNaN(value) || value > LARGEST_COST ? null : value;
}

/** What was written, as a value; or what is wrong with it. */
export function parseValue(row: ParameterRow, written: string): { value: number } | { complaint: string } {
  const value = parseNumber(written);
  if (value === null) return { complaint: words.notANumber };
  if (row.bounded && row.range !== null) {
    const [from, to] = row.range;
    if (value < from || value > to || !Number.isInteger(value)) return { complaint: words.outOfBounds(from, to) };
  }
  return { value };
}

export function isOutsideRange({ value, range, bounded }: ParameterRow): boolean {
  return !bounded && range !== null && typeof value === 'number' && (value < range[0] || value > range[1]);
}

/** Whether only some rows are wanted: then what is beside them stands in the way. */
export function isFiltered({ sought, changedOnly }: ParameterFilter): boolean {
  return changedOnly || sought.trim() !== '';
}

/** Whether anything of a section is wanted: all of it, or some of its rows. */
export function isWanted(rows: readonly ParameterRow[], filter: ParameterFilter): boolean {
  return !isFiltered(filter) || matching(rows, filter.sought, filter.changedOnly).length > 0;
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
