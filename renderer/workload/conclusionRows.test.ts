/** When a conclusion is held against runs, and when it has to wait for them. */
import { expect, test } from 'vitest';
import { sampleLab } from '../../engine/lab/testing/sampleLab.ts';
import type { Column } from '../stores/lab.ts';
import { idleRun } from '../testing/sampleLab.ts';
import { conclusionRows } from './conclusionRows.ts';

const CLAIM = { claim: 'As many requests.', metric: 'requests', of: 'sg-strict', relation: 'about', to: 'two-strict' };
const lab = sampleLab({
  experiment: { conclusions: [CLAIM, { ...CLAIM, claim: 'Twice.', metric: 'syncs', times: 2 }] },
});

function column(index: number, change: Partial<Column['run']> = {}): Column {
  const comparison = lab.comparison[index]!;
  const row = { key: 'requests', label: 'requests', unit: 'count', value: 200, help: '' } as const;
  const run = {
    ...idleRun(comparison.id),
    status: 'done',
    summary: { rows: [row] },
    counters: { syncs: 7 },
    ...change,
  } as const;
  return { comparison, label: comparison.id, slot: index, run, frame: null };
}

test('a conclusion is open until the runs that it speaks of have ended, and holds or not from then on', () => {
  const states = (columns: readonly Column[]) => conclusionRows(lab, columns).map(({ state }) => state);
  expect(states([column(0)])).toEqual(['open', 'open']);
  expect(states([column(0), column(1, { status: 'running' })])).toEqual(['open', 'open']);
  expect(states([column(0), column(1, { outdated: true })])).toEqual(['open', 'open']);
  expect(states([column(0), column(1)])).toEqual(['holds', 'fails']);
});

test('open conclusions say no figures', () => {
  expect(conclusionRows(lab, []).map(({ figures }) => figures)).toEqual(['', '']);
  expect(conclusionRows(lab, [column(0), column(1)])[0]!.figures).toContain('200');
});
