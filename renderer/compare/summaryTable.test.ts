import { describe, expect, it } from 'vitest';
import type { RunState } from '../../electron/ipc/api.ts';
import type { SummaryRow } from '../../engine/lab/runTypes.ts';
import { sampleLab, idleRun } from '../testing/sampleLab.ts';
import { summaryLines } from './summaryTable.ts';
import type { Column } from '../stores/lab.ts';

function column(slot: number, status: RunState['status'], values: Partial<Record<string, number>>): Column {
  const comparison = sampleLab.comparison[slot]!;
  const rows = Object.entries(values).map(([key, value]): SummaryRow => ({
    key,
    label: key,
    unit: 'count',
    help: '',
    value: value ?? Number.NaN,
  }));
  return {
    comparison,
    label: comparison.id,
    slot,
    run: { ...idleRun(comparison.id), status, summary: { rows } },
    frame: null,
  };
}

const best = (lines: ReturnType<typeof summaryLines>, key: string): boolean[] =>
  lines.find((line) => line.key === key)!.cells.map((cell) => cell.best);

describe('the summary', () => {
  it('marks the lowest cost and the highest throughput', () => {
    const lines = summaryLines([
      column(0, 'done', { mapLatencyP50: 20, throughput: 5 }),
      column(1, 'done', { mapLatencyP50: 10, throughput: 4 }),
    ]);
    expect(best(lines, 'mapLatencyP50')).toEqual([false, true]);
    expect(best(lines, 'throughput')).toEqual([true, false]);
  });

  it('marks nothing among equals, and nothing that is only the size of the work', () => {
    const lines = summaryLines([
      column(0, 'done', { syncs: 3, requests: 10 }),
      column(1, 'done', { syncs: 3, requests: 12 }),
    ]);
    expect(best(lines, 'syncs')).toEqual([false, false]);
    expect(best(lines, 'requests')).toEqual([false, false]);
  });

  it('marks no run that did nothing', () => {
    const lines = summaryLines([
      column(0, 'done', { requests: 10, syncs: 30 }),
      column(1, 'done', { requests: 10, syncs: 20 }),
      column(2, 'done', { requests: 0, syncs: 3 }),
    ]);
    expect(best(lines, 'syncs')).toEqual([false, true, false]);
  });

  it('compares nothing until every run has come to its end', () => {
    const lines = summaryLines([
      column(0, 'done', { mapLatencyP50: 20 }),
      column(1, 'cancelled', { mapLatencyP50: 10 }),
    ]);
    expect(best(lines, 'mapLatencyP50')).toEqual([false, false]);
    expect(lines[0]?.cells[1]?.difference).toBeNull();
  });

  it('gives differences to the first column, and a dash where a run has no such figure', () => {
    const [line] = summaryLines([
      column(0, 'done', { mapLatencyP50: 20 }),
      column(1, 'done', { mapLatencyP50: 10 }),
      column(2, 'done', {}),
    ]);
    expect(line?.cells.map(({ difference }) => difference?.replace('\u202f', ' ') ?? null)).toEqual([
      null,
      '−50.0 %',
      null,
    ]);
    expect(line?.cells[2]?.text).toBe('–');
  });
});
