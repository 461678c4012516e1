/**
 * The conclusions of an experiment, held against its runs: each is a figure of one run, compared with that of another or with a number.
 * Leaves out: figures over time.
 */
import { COUNTER_NAMES } from '../metrics/counters.ts';
import type { LabProblem } from './check.ts';
import { suggestNames } from './nearestNames.ts';
import { formatQuantity } from './quantity.ts';
import type { RunResult, SummaryUnit } from './runTypes.ts';
import type { Conclusion, LabDocument } from './schema.ts';
import { isSummaryKey, SUMMARY_KEYS } from './summary.ts';

const DEFAULT_WITHIN = 0.05;

const SIGNS = { lessThan: '<', atMost: '\u2264', about: '\u2248', atLeast: '\u2265', moreThan: '>' } as const;

export interface HeldConclusion {
  readonly claim: string;
  /** The comparison in words and figures: `map latency p50 of "two-step": 1.2 us < 0.8 x 2.3 us of "map-sg"`. */
  readonly figures: string;
  readonly left: number;
  /** What it is compared with, already multiplied. */
  readonly right: number;
  readonly holds: boolean;
}

export type Held = Pick<RunResult, 'comparisonId' | 'summary' | 'counters' | 'partial'>;

interface Figure {
  readonly value: number;
  readonly unit: SummaryUnit;
  readonly label: string;
}

/** A conclusion about a run that is not there, or has not ended, does not hold. */
export function holdConclusions(lab: LabDocument, results: readonly Held[]): HeldConclusion[] {
  return (lab.experiment?.conclusions ?? []).map((conclusion) => hold(conclusion, results));
}

function hold(conclusion: Conclusion, results: readonly Held[]): HeldConclusion {
  const { claim, metric, of, relation, to, times = 1, within = DEFAULT_WITHIN } = conclusion;
  const left = figureOf(results, of, metric);
  const other = typeof to === 'number' ? { ...left, value: to } : figureOf(results, to, metric);
  const right = other.value * times;
  const factor = times === 1 ? '' : `${times} \u00d7 `;
  const whose = typeof to === 'number' ? '' : ` of "${to}"`;
  const said = `${factor}${formatQuantity(other.value, left.unit)}${whose}`;
  return {
    claim,
    figures: `${left.label} of "${of}": ${formatQuantity(left.value, left.unit)} ${SIGNS[relation]} ${said}`,
    left: left.value,
    right,
    holds: isSo(left.value, relation, right, within),
  };
}

function isSo(left: number, relation: Conclusion['relation'], right: number, within: number): boolean {
  switch (relation) {
    case 'lessThan':
      return left < right;
    case 'atMost':
      return left <= right;
    case 'about':
      return Math.abs(left - right) <= within * Math.abs(right);
    case 'atLeast':
      return left >= right;
    case 'moreThan':
      return left > right;
  }
}

function figureOf(results: readonly Held[], comparisonId: string, metric: string): Figure {
  const missing: Figure = { value: Number.NaN, unit: 'count', label: metric };
  const result = results.find((each) => each.comparisonId === comparisonId && !each.partial);
  if (result === undefined) return missing;
  const row = result.summary.rows.find(({ key }) => key === metric);
  if (row !== undefined) return row;
  const value = result.counters[metric];
  return value === undefined ? missing : { value, unit: 'count', label: metric };
}

/** What is wrong with the conclusions of a document: runs and metrics that there are not. */
export function conclusionProblems({ experiment, comparison }: LabDocument): LabProblem[] {
  const ids = comparison.map(({ id }) => id);
  const counters: readonly string[] = COUNTER_NAMES;
  return (experiment?.conclusions ?? []).flatMap(({ metric, of, to }, index): LabProblem[] => {
    const path = `experiment.conclusions[${index}]`;
    const problems: LabProblem[] = [];
    const known = (field: string, id: string): void => {
      if (ids.includes(id)) return;
      problems.push({ path: `${path}.${field}`, problem: `there is no run "${id}".`, remedy: suggestNames(id, ids) });
    };
    known('of', of);
    if (typeof to === 'string') known('to', to);
    if (!isSummaryKey(metric) && !counters.includes(metric)) {
      const remedy = suggestNames(metric, [...SUMMARY_KEYS, ...counters]);
      problems.push({ path: `${path}.metric`, problem: `there is no metric "${metric}".`, remedy });
    }
    return problems;
  });
}
