/**
 * How much the order of a lab's columns hangs on what nobody has measured. Each parameter is first doubled alone: one that changes no
 * figure of any column is not in use. Each assumed parameter in use is then halved and doubled, and the columns are ranked again. All of
 * it on the beginning of the runs (smallForm.ts).
 * Leaves out: two parameters wrong at once; parameters that are no numbers.
 */
import { LabError } from '../../time/labError.ts';
import { checkLab } from '../check.ts';
import type { RunSummary } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';
import { isAssumed, type ReportParameter } from './parameters.ts';
import { changedPlaces, lostColumns, ranking, type ChangedPlaces, type Ranked } from './ranking.ts';
import type { SmallForm } from './smallForm.ts';

export interface UsedParameters {
  readonly used: readonly ReportParameter[];
  readonly unused: readonly ReportParameter[];
  /** No number: whether it is in use cannot be found out by doubling it. */
  readonly unknown: readonly ReportParameter[];
}

/** The columns with one other value. */
export interface Variation {
  readonly value: number;
  readonly order: readonly Ranked[];
  readonly changed: readonly ChangedPlaces[];
  /** Columns that could not run with it. */
  readonly lost: readonly string[];
  /** The largest change of any column's figure, as a share of it. */
  readonly largestChange: number;
}

export interface ParameterSensitivity {
  readonly parameter: ReportParameter;
  readonly variations: readonly Variation[];
  /** Why a value that should have been tried was not. */
  readonly notTried: readonly string[];
}

export interface Sensitivity {
  readonly metric: string;
  readonly requests: number;
  /** The order with nothing changed. */
  readonly base: readonly Ranked[];
  readonly parameters: readonly ParameterSensitivity[];
}

/** Said before each parameter, since a report takes a while. */
export type OnParameter = (name: string, index: number, total: number) => void;

/** In place of a zero that has no range, when the question is whether anything reads it. */
const INSTEAD_OF_ZERO = 100;

export function findUsed(
  lab: LabDocument,
  small: SmallForm,
  parameters: readonly ReportParameter[],
  onParameter: OnParameter = () => undefined,
): UsedParameters {
  const base = small.summaries(lab);
  const used: ReportParameter[] = [];
  const unused: ReportParameter[] = [];
  const unknown: ReportParameter[] = [];
  for (const [index, parameter] of parameters.entries()) {
    onParameter(parameter.name, index, parameters.length);
    const { value } = parameter;
    if (typeof value !== 'number') {
      unknown.push(parameter);
      continue;
    }
    const doubled = value > 0 ? 2 * value : (parameter.range?.[1] ?? INSTEAD_OF_ZERO);
    // What cannot be doubled may be halved: a cache at the most that the schema takes.
    const tried = [doubled, value / 2].flatMap((other) => labWith(parameter, other) ?? []);
    const other = tried[0];
    if (other === undefined) unknown.push(parameter);
    else (differs(lab, other, small, base) ? used : unused).push(parameter);
  }
  return { used, unused, unknown };
}

export function sensitivity(
  lab: LabDocument,
  small: SmallForm,
  used: readonly ReportParameter[],
  metric: string,
  onParameter: OnParameter = () => undefined,
): Sensitivity {
  const base = ranking(small.summaries(lab), metric);
  const assumed = used.filter(isAssumed);
  const parameters = assumed.map((parameter, index) => {
    onParameter(parameter.name, index, assumed.length);
    return vary(parameter, small, metric, base);
  });
  return { metric, requests: small.requests, base, parameters };
}

function vary(
  parameter: ReportParameter,
  small: SmallForm,
  metric: string,
  base: readonly Ranked[],
): ParameterSensitivity {
  const variations: Variation[] = [];
  const notTried: string[] = [];
  for (const value of valuesToTry(parameter)) {
    const lab = labWith(parameter, value);
    if (lab === null) {
      notTried.push(`${String(value)} is no value that a lab may have`);
      continue;
    }
    const order = ranking(small.summaries(lab), metric);
    variations.push({
      value,
      order,
      changed: changedPlaces(base, order),
      lost: lostColumns(base, order),
      largestChange: largestChange(base, order),
    });
  }
  if (variations.length === 0 && notTried.length === 0)
    notTried.push('0 cannot be halved or doubled, and has no range');
  return { parameter, variations, notTried };
}

/** Half and double; of a zero, which has neither, the other end of its range. */
function valuesToTry({ value, range, whole }: ReportParameter): number[] {
  if (typeof value !== 'number') return [];
  if (value === 0) return range?.[1] === undefined || range[1] === 0 ? [] : [range[1]];
  return [whole ? Math.max(1, Math.round(value / 2)) : value / 2, 2 * value].filter((other) => other !== value);
}

function labWith(parameter: ReportParameter, value: number): LabDocument | null {
  try {
    return checkLab(parameter.changed(value), parameter.name).lab;
  } catch (error) {
    if (error instanceof LabError) return null;
    throw error;
  }
}

/** Whether any figure of any column is another; the first that differs ends the search. */
function differs(
  lab: LabDocument,
  other: LabDocument,
  small: SmallForm,
  base: ReadonlyMap<string, RunSummary>,
): boolean {
  return lab.comparison.some(({ id }) => {
    const [before, after] = [base.get(id) ?? null, small.summary(other, id)];
    if (before === null || after === null) return before !== after;
    return before.rows.some((row, index) => !Object.is(row.value, after.rows[index]?.value));
  });
}

function largestChange(base: readonly Ranked[], order: readonly Ranked[]): number {
  const values = new Map(order.map(({ id, value }) => [id, value]));
  return base.reduce((largest, { id, value }) => {
    const other = values.get(id);
    return other === undefined || value === 0 ? largest : Math.max(largest, Math.abs(other - value) / Math.abs(value));
  }, 0);
}
