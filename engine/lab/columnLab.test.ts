/** Columns that differ in what they set: another machine, other work, another kernel. */
import { expect, test } from 'vitest';
import { checkLab } from './check.ts';
import { columnLab } from './columnLab.ts';
import { LabRun } from './run.ts';
import { runId } from './runIdentity.ts';
import { sampleDocument, sampleLab } from './testing/sampleLab.ts';

interface Setting {
  readonly path: string;
  readonly value: unknown;
}

function withColumns(...columns: readonly (readonly Setting[] | null)[]): Record<string, unknown> {
  return {
    comparison: columns.map((set, index) => ({
      id: `column${index}`,
      scheme: 'map_sg',
      domain: 'strict',
      ...(set === null ? {} : { set }),
    })),
  };
}

function problemsOf(set: readonly Setting[]): string[] {
  return checkLab({ ...sampleDocument(), ...withColumns(null, set) }, 'sample').problems.map(({ path }) => path);
}

test('a column runs the document with what it sets, and is the run of a lab that says so for all', () => {
  const settings = [
    { path: 'workloads[reads].ioCount', value: 30 },
    { path: 'kernelProfile', value: '6.12' },
    { path: 'topology.parts[iommu0].iotlbEntries4K', value: 16 },
  ];
  const lab = sampleLab(withColumns(null, settings));
  const [plain, set] = lab.comparison;
  expect(columnLab(lab, plain!)).toBe(lab);
  const own = columnLab(lab, set!);
  expect([own.kernelProfile, own.workloads[0]]).toMatchObject(['6.12', { ioCount: 30 }]);
  const { set: _set, ...alone } = set!;
  expect(runId(lab, set!, new Map())).toBe(runId(own, alone, new Map()));
  expect(runId(lab, set!, new Map())).not.toBe(runId(lab, { ...plain!, id: set!.id }, new Map()));
  const run = LabRun.prepare(lab, 'column1', new Map());
  while (run.advance(100_000) === 'running');
  expect(run.result().progress.completed).toBe(30);
});

test('conclusions speak of all columns, also where some set something', () => {
  const conclusion = { claim: 'As many.', metric: 'requests', of: 'column0', relation: 'about', to: 'column1' };
  const columns = withColumns(null, [{ path: 'seed', value: 9 }]);
  expect(sampleLab({ ...columns, experiment: { conclusions: [conclusion] } }).comparison).toHaveLength(2);
});

test('a preset that a column chooses carries its values', () => {
  const lab = sampleLab(withColumns(null, [{ path: 'topology.parts[iommu0].preset', value: 'amd-zen' }]));
  const iommu = columnLab(lab, lab.comparison[1]!).topology.parts.find(({ id }) => id === 'iommu0');
  expect(iommu).toMatchObject({ vendor: 'amd', iotlbEntries4K: 1024 });
});

test.each([
  [{ path: 'name', value: 'x' }, 'comparison[column1].set'],
  [{ path: 'comparison[column0].scheme', value: 'two_step' }, 'comparison[column1].set'],
  [{ path: 'topologyx', value: 1 }, 'comparison[column1].set'],
  [{ path: 'topology.__proto__.x', value: 1 }, /^comparison\[column1\]\.set/],
  [{ path: 'workloads[nobody].ioCount', value: 1 }, /^comparison\[column1\]\.set: /],
  [{ path: 'workloads[reads].ioCount', value: 0 }, 'comparison[column1].set: workloads[reads].ioCount'],
  [
    { path: 'topology.parts[iommu0].cachingMode', value: 7 },
    'comparison[column1].set: topology.parts[iommu0].cachingMode',
  ],
  [
    { path: 'topology.parts[iommu0].rangeInvalidation', value: true },
    'comparison[column1].set: topology.parts[iommu0].rangeInvalidation',
  ],
])('%o is refused at %s', (setting, where) => {
  const problems = problemsOf([setting]);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(typeof where === 'string' ? new RegExp(`^${where.replace(/[[\].]/g, '\\$&')}$`) : where);
});
