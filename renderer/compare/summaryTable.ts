/**
 * The summary of all runs as one table: a row for each measure, a column for each run, the best value marked and every
 * other column's difference to the first. Which way is better is known for costs and for throughput; of counts that only
 * describe the work (requests, bytes), none is best.
 */
import { formatQuantity } from '../../engine/lab/quantity.ts';
import type { SummaryRow } from '../../engine/lab/runTypes.ts';
import type { Column } from '../stores/lab.ts';
import { formatDifference } from '../shell/format.ts';

export interface SummaryCell {
  readonly comparisonId: string;
  readonly text: string;
  readonly value: number;
  readonly best: boolean;
  readonly difference: string | null;
}

export interface SummaryLine {
  readonly key: string;
  readonly label: string;
  readonly help: string;
  readonly cells: readonly SummaryCell[];
}

const HIGHER_IS_BETTER = /throughput|iops|perSecond/i;
const LOWER_IS_BETTER =
  /iovaAllocSlow|^maps$|^unmaps$|syncs|flushes|misses|tableReads|bookkeeping|latency|faults|stale|bounced/i;

function direction(key: string): 1 | -1 | 0 {
  if (HIGHER_IS_BETTER.test(key)) return 1;
  return LOWER_IS_BETTER.test(key) ? -1 : 0;
}

/** The places of the best values; none where most are alike, where something is missing, or where no way is better. */
function bestOf(key: string, values: readonly number[]): ReadonlySet<number> {
  const way = direction(key);
  const measured = values.filter(Number.isFinite);
  if (way === 0 || measured.length < 2) return new Set();
  const best = way > 0 ? Math.max(...measured) : Math.min(...measured);
  const places = values.flatMap((value, index) => (value === best ? [index] : []));
  // What most columns reach is no distinction; the difference tells the others apart.
  return new Set(2 * places.length > values.length ? [] : places);
}

/** The rows of the latest figures of a run: those of its frame while it runs, else those that it ended with. */
function rowsOf({ run, frame }: Column): readonly SummaryRow[] {
  return (run.status === 'running' ? (frame?.summary ?? run.summary) : (run.summary ?? frame?.summary))?.rows ?? [];
}

export function summaryLines(columns: readonly Column[]): SummaryLine[] {
  const rowsByColumn = columns.map((column) => new Map(rowsOf(column).map((row) => [row.key, row])));
  const order = new Map<string, SummaryRow>();
  for (const rows of rowsByColumn) for (const [key, row] of rows) if (!order.has(key)) order.set(key, row);
  // Columns that were stopped half way are no match for whole ones: nothing is best until all are whole.
  const whole = columns.every(({ run }) => run.status === 'done');
  // Who did nothing spent nothing, and that is no merit.
  const worked = rowsByColumn.map((rows) => rows.get('requests')?.value !== 0);
  return [...order.values()].map(({ key, label, unit, help }) => {
    const values = rowsByColumn.map((rows) => rows.get(key)?.value ?? Number.NaN);
    const judged = values.map((value, index) => (worked[index] ? value : Number.NaN));
    const best = whole ? bestOf(key, judged) : new Set<number>();
    return {
      key,
      label,
      help,
      cells: values.map((value, index) => ({
        comparisonId: columns[index]?.comparison.id ?? '',
        text: formatQuantity(value, unit),
        value,
        best: best.has(index),
        difference: index === 0 || !whole ? null : formatDifference(value, values[0] ?? Number.NaN),
      })),
    };
  });
}
