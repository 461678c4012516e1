import { describe, expect, it } from 'vitest';
import { CHART_IDS } from '../../engine/lab/chartOptions.ts';
import { comparisonLabel, type Column } from '../stores/lab.ts';
import { withRuns } from '../testing/sampleLab.ts';
import { seriesTable } from './seriesTable.ts';
import { chartRuns, windowChart } from './windowChart.ts';

const { state, frames } = withRuns('done', 40);
const columns: Column[] = state.lab.comparison.map((comparison, slot) => ({
  comparison,
  label: comparisonLabel(comparison),
  slot,
  run: state.runs[slot]!,
  frame: frames.get(comparison.id) ?? null,
}));

describe('a chart of the window', () => {
  it.each(CHART_IDS)('takes %s as flat typed arrays that keep their spikes', (chart) => {
    const { series } = windowChart(chart, chartRuns(columns, 1, new Set()), false);
    expect(series.length).toBeGreaterThanOrEqual(4);
    for (const one of series) {
      expect(one.data).toBeInstanceOf(Float64Array);
      expect(one['sampling']).toBe('minmax');
    }
  });

  it('leaves hidden runs out and keeps the colours of the others', () => {
    const all = windowChart('throughput', chartRuns(columns, 1, new Set()), false).series;
    const some = windowChart('throughput', chartRuns(columns, 1, new Set(['map_sg-strict'])), false).series;
    expect(some.length).toBe(3);
    expect(some[0]?.['color']).toBe(all[1]?.['color']);
  });
});

describe('the table of a chart', () => {
  it('has a row for each moment and a column for each series, with a dash where a run has no value', () => {
    const line = (name: string, ...data: number[]) => ({ id: name, name, data: Float64Array.from(data) });
    const table = seriesTable('throughput', [line('a', 1e6, 2e9, 2e6, 1e9), line('b', 2e6, 3e9)]);
    expect(table.columns).toEqual(['a', 'b']);
    expect(table.rows.map(({ cells }) => cells.map((cell) => cell.replace('\u202f', ' ')))).toEqual([
      ['2 GB/s', '–'],
      ['1 GB/s', '3 GB/s'],
    ]);
  });
});
