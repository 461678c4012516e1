/** The example lab of two sockets answers its question: what its notes say holds for what it computes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseLab } from './check.ts';
import { withValueAt } from './documentPath.ts';
import { LabRun } from './run.ts';
import type { RunResult } from './runTypes.ts';

const file = join(import.meta.dirname, '../../fixtures/labs/two-sockets.json');
const document: unknown = JSON.parse(readFileSync(file, 'utf8'));

function runOf(lab: unknown, comparisonId: string): RunResult {
  const run = LabRun.prepare(parseLab(lab, 'two-sockets'), comparisonId, new Map());
  while (run.advance(100_000) === 'running');
  return run.result();
}

const gigabytes = (result: RunResult, drive: string): number =>
  (result.summary.rows.find(({ key }) => key === `throughput.${drive}`)?.value ?? Number.NaN) / 1e9;

describe('drives behind one switch, and one by itself', () => {
  let strict: RunResult;
  let lazy: RunResult;
  let untranslated: RunResult;
  beforeAll(() => {
    strict = runOf(document, 'two-step-strict');
    lazy = runOf(document, 'two-step-lazy');
    untranslated = runOf(document, 'two-step-passthrough');
  });

  it('halve the upstream link, which is no wider than that of one of them', () => {
    const [first, second, alone] = ['nvme0', 'nvme1', 'nvme2'].map((id) => gigabytes(untranslated, id));
    expect(first! / second!).toBeCloseTo(1, 1);
    // PCIe 4.0 x4: 7.88 GB/s less the headers of completions
    expect(first! + second!).toBeGreaterThan(6.3);
    expect(first! + second!).toBeLessThan(7.5);
    expect(alone).toBeGreaterThan(1.1 * first!);
  });

  it('lose to strict invalidation where two CPUs pay for two drives, and not where they pay for one', () => {
    for (const id of ['nvme0', 'nvme1']) expect(gigabytes(strict, id)).toBeLessThan(0.67 * gigabytes(untranslated, id));
    expect(gigabytes(strict, 'nvme2')).toBeGreaterThan(0.97 * gigabytes(untranslated, 'nvme2'));
    for (const id of ['nvme0', 'nvme1', 'nvme2']) {
      expect(gigabytes(lazy, id)).toBeGreaterThan(0.97 * gigabytes(untranslated, id));
    }
  });

  it('get most of it back from two more CPUs', () => {
    const more = runOf(withValueAt(document, 'topology.parts[cpu0].cpus', 4), 'two-step-strict');
    for (const id of ['nvme0', 'nvme1']) expect(gigabytes(more, id)).toBeGreaterThan(0.9 * gigabytes(untranslated, id));
  });

  it('fault nowhere', () => {
    for (const { counters } of [strict, lazy, untranslated]) expect(counters['faults']).toBe(0);
  });
});
