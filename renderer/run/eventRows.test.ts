import { describe, expect, it } from 'vitest';
import { withRuns } from '../testing/sampleLab.ts';
import { eventRows } from './eventRows.ts';
import { comparisonLabel, type Column } from '../stores/lab.ts';

function columnsOf(status: 'done' | 'failed'): Column[] {
  const { state, frames } = withRuns(status, 10);
  return state.lab.comparison.map((comparison, slot) => ({
    comparison,
    label: comparisonLabel(comparison),
    slot,
    run: state.runs[slot]!,
    frame: frames.get(comparison.id) ?? null,
  }));
}

describe('the event pane', () => {
  it('lists what all runs logged in the order of virtual time, each with its run and part', () => {
    const rows = eventRows(columnsOf('done'), []);
    expect(rows.map(({ severity }) => severity)).toEqual([
      ...Array<string>(4).fill('info'),
      ...Array<string>(4).fill('warning'),
    ]);
    expect(rows.at(-1)).toMatchObject({ run: 'two_step lazy', source: 'iommu0' });
  });

  it('says why a run failed, and what the app has to say', () => {
    const rows = eventRows(columnsOf('failed'), [{ severity: 'warning', text: 'The file changed.', at: 0 }]);
    expect(rows[0]).toMatchObject({ slot: null, message: 'The file changed.' });
    expect(rows[1]).toMatchObject({ severity: 'error', run: 'map_sg strict' });
  });
});
