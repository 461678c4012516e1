/** A run: the same inputs give the same result to the bit, however it is sliced, and partial results say so. */
import { describe, expect, it } from 'vitest';
import { canonicalJson } from './canonicalJson.ts';
import { LabRun, frameOfResult } from './run.ts';
import type { RunResult } from './runTypes.ts';
import type { LabDocument } from './schema.ts';
import { runEntries } from './storedRun.ts';
import { summaryTable } from './summary.ts';
import { sampleLab } from './testing/sampleLab.ts';

const NO_RECORDINGS = new Map();

function runWhole(lab: LabDocument, comparisonId: string, slice = 1_000): RunResult {
  const run = LabRun.prepare(lab, comparisonId, NO_RECORDINGS);
  while (run.advance(slice) === 'running') run.progress();
  return run.result();
}

function bytesOf(result: RunResult): string[] {
  return runEntries(result).map(([name, bytes]) => `${name} ${Buffer.from(bytes).toString('base64')}`);
}

function row(result: RunResult, key: string): number {
  return result.summary.rows.find((candidate) => candidate.key === key)?.value ?? Number.NaN;
}

describe('a run', () => {
  it('gives the same bytes for the same lab and seed, whatever the slices', () => {
    const whole = runWhole(sampleLab(), 'sg-strict', 1_000_000);
    const sliced = runWhole(sampleLab(), 'sg-strict', 7);
    expect(bytesOf(sliced)).toEqual(bytesOf(whole));
  });

  it('is not disturbed by being watched', () => {
    const run = LabRun.prepare(sampleLab(), 'two-strict', NO_RECORDINGS);
    while (run.advance(50) === 'running') run.snapshot();
    expect(bytesOf(run.result())).toEqual(bytesOf(runWhole(sampleLab(), 'two-strict')));
  });

  it('has another id and other numbers with another seed, and the same id when only words change', () => {
    const workload = { id: 'mixed', kind: 'bio', device: 'nvme0', rw: 'randrw', ioCount: 200, regionMiB: 64 };
    const blockSizeMix = [4_096, 65_536].map((bytes) => ({ bytes, weight: 1 }));
    const mixed = { workloads: [{ ...workload, blockSizeMix }] };
    const first = runWhole(sampleLab(mixed), 'sg-strict');
    const reseeded = runWhole(sampleLab({ ...mixed, seed: 8 }), 'sg-strict');
    expect(reseeded.id).not.toBe(first.id);
    expect(canonicalJson(reseeded.counters)).not.toBe(canonicalJson(first.counters));
    expect(runWhole(sampleLab({ ...mixed, name: 'Other', notes: 'words' }), 'sg-strict').id).toBe(first.id);
  });

  it('completes every request, and its series add up to its counters', () => {
    const result = runWhole(sampleLab(), 'sg-strict');
    expect(row(result, 'requests')).toBe(200);
    expect(row(result, 'bytes')).toBe(200 * 65_536);
    expect(row(result, 'faults')).toBe(0);
    const { columns } = result.series;
    const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
    expect(sum(columns.requests)).toBe(200);
    expect(sum(columns.bytes)).toBe(200 * 65_536);
    expect(sum(columns.iotlbLookups)).toBe(result.counters['iotlbLookups']);
    expect(sum(columns.iotlbMisses4K)).toBe(result.counters['iotlbMisses4K']);
    expect(Math.max(...columns.bookkeepingBytes)).toBe(row(result, 'bookkeepingPeak'));
  });

  it('labels what it has as partial until it is done', () => {
    const run = LabRun.prepare(sampleLab(), 'sg-strict', NO_RECORDINGS);
    run.advance(200);
    const partial = run.result();
    expect(partial.partial).toBe(true);
    expect(partial.progress.completed).toBeLessThan(200);
    expect(summaryTable([partial])).toContain('(partial)');
  });

  it('shows the same in a live frame and in the frame of its result', () => {
    const run = LabRun.prepare(sampleLab(), 'sg-strict', NO_RECORDINGS);
    while (run.advance(10_000) === 'running');
    expect(frameOfResult(run.result())).toEqual(run.snapshot());
  });

  it('reports strict costs that passthrough does not have', () => {
    const lab = sampleLab({
      comparison: [
        { id: 'strict', scheme: 'map_sg', domain: 'strict' },
        { id: 'through', scheme: 'map_sg', domain: 'passthrough' },
      ],
    });
    const [strict, through] = [runWhole(lab, 'strict'), runWhole(lab, 'through')];
    expect(row(strict, 'syncs')).toBeGreaterThanOrEqual(200);
    expect(row(through, 'syncs')).toBe(0);
    expect(row(through, 'iotlbLookups')).toBe(0);
    expect(row(strict, 'unmapLatencyP50')).toBeGreaterThan(row(through, 'unmapLatencyP50') + 690_000);
  });
});
