/**
 * The order of a lab's columns by one metric of the summary, and what is different between two such orders. Figures that differ by
 * less than a thousandth are level: nobody would choose by them. Leaves out: columns without a figure, which have no place.
 */
import { LabError } from '../../time/labError.ts';
import { suggestNames } from '../nearestNames.ts';
import type { RunSummary, SummaryRow } from '../runTypes.ts';

/** One column's place. */
export interface Ranked {
  readonly id: string;
  readonly value: number;
}

/** Two columns of which the better one has become the worse. */
export interface ChangedPlaces {
  /** The one that was better. */
  readonly before: string;
  readonly after: string;
}

const DEFAULT_METRICS = ['throughput', 'requestRate', 'ioLatencyP50', 'mapLatencyP50', 'unmapLatencyP50'];
/** Of these more is better, and of all others less. A drive's own rows end in its id. */
const MORE_IS_BETTER = /^(requests|bytes|\w*([tT]hroughput|Rate|PerSecond|Hits))(\.|$)/;
const LEVEL = 1e-3;

export function moreIsBetter(metric: string): boolean {
  return MORE_IS_BETTER.test(metric);
}

/** The row that columns are ranked by. */
export interface ChosenMetric {
  readonly metric: SummaryRow;
  /** Rows that come before it and do not tell the columns apart. */
  readonly passedOver: readonly SummaryRow[];
}

/** `wanted` null: the first of the usual rows that tells the columns apart, or the first of them all where none does. */
export function chosenMetric(summaries: readonly RunSummary[], wanted: string | null): ChosenMetric {
  const rows = new Map(summaries.flatMap(({ rows: all }) => all.map((row) => [row.key, row] as const)));
  if (wanted !== null) {
    const metric = rows.get(wanted);
    if (metric !== undefined) return { metric, passedOver: [] };
    throw new LabError(`--metric ${wanted}`, 'the summary has no such metric.', suggestNames(wanted, [...rows.keys()]));
  }
  const usual = DEFAULT_METRICS.flatMap((key) => rows.get(key) ?? []);
  const byColumn = new Map(summaries.map((summary, index) => [String(index), summary]));
  const telling = usual.findIndex(({ key }) => !allLevel(ranking(byColumn, key)));
  const metric = usual[Math.max(0, telling)] ?? [...rows.values()][0];
  if (metric === undefined) throw new LabError('summary', 'it has no rows to rank columns by.', 'Run the lab again.');
  return { metric, passedOver: usual.slice(0, Math.max(0, telling)) };
}

/** Best first; columns with equal figures in the order of the lab. */
export function ranking(summaries: ReadonlyMap<string, RunSummary>, metric: string): Ranked[] {
  const direction = moreIsBetter(metric) ? -1 : 1;
  return [...summaries]
    .map(([id, { rows }]) => ({ id, value: rows.find(({ key }) => key === metric)?.value ?? Number.NaN }))
    .filter(({ value }) => Number.isFinite(value))
    .sort((left, right) => direction * (left.value - right.value));
}

export function areLevel(one: number, other: number): boolean {
  return Math.abs(one - other) <= LEVEL * Math.max(Math.abs(one), Math.abs(other));
}

/** There is no order to speak of. */
export function allLevel(order: readonly Ranked[]): boolean {
  const [first, last] = [order[0], order.at(-1)];
  return first === undefined || last === undefined || areLevel(first.value, last.value);
}

/** Pairs that were apart in `base` and are apart the other way round in `other`. */
export function changedPlaces(base: readonly Ranked[], other: readonly Ranked[]): ChangedPlaces[] {
  const place = new Map(other.map(({ id, value }, index) => [id, { index, value }]));
  const changed: ChangedPlaces[] = [];
  for (const [index, better] of base.entries()) {
    for (const worse of base.slice(index + 1)) {
      const [first, second] = [place.get(better.id), place.get(worse.id)];
      if (first === undefined || second === undefined) continue;
      if (areLevel(better.value, worse.value) || areLevel(first.value, second.value)) continue;
      if (first.index > second.index) changed.push({ before: better.id, after: worse.id });
    }
  }
  return changed;
}

/** Columns that have a figure in `base` and none in `other`, where they could not run. */
export function lostColumns(base: readonly Ranked[], other: readonly Ranked[]): string[] {
  const there = new Set(other.map(({ id }) => id));
  return base.filter(({ id }) => !there.has(id)).map(({ id }) => id);
}
