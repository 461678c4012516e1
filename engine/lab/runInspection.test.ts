/** The IOVA space at a moment: what the allocator holds, whose each range is, and the same whenever it is asked. */
import { describe, expect, it } from 'vitest';
import type { IovaRange, IovaSnapshot } from '../dma/iova/iovaSnapshot.ts';
import { LabError } from '../time/labError.ts';
import { RunInspection } from './runInspection.ts';
import { LabRun } from './run.ts';
import type { LabDocument } from './schema.ts';
import { sampleLab } from './testing/sampleLab.ts';

const NO_RECORDINGS = new Map();

function lab(scheme: string, domain: string, kernelProfile = '7.3'): LabDocument {
  const workload = { id: 'mixed', kind: 'bio', device: 'nvme0', rw: 'randrw', ioCount: 400, queueDepth: 8, cpus: 2 };
  const workloads = [
    { ...workload, regionMiB: 64, blockSizeMix: [4_096, 65_536].map((bytes) => ({ bytes, weight: 1 })) },
  ];
  return sampleLab({ kernelProfile, workloads, comparison: [{ id: 'only', scheme, domain }] });
}

function inspect(document: LabDocument, at: number, slice = 1_000): IovaSnapshot {
  const inspection = RunInspection.prepare(document, 'only', NO_RECORDINGS, at, null);
  while (inspection.advance(slice) === 'running') expect(inspection.reached).toBeLessThanOrEqual(at);
  return inspection.snapshot().space;
}

function endOf(document: LabDocument): { id: string; engineVersion: string; virtualTimePs: number } {
  const run = LabRun.prepare(document, 'only', NO_RECORDINGS);
  while (run.advance(10_000) === 'running') run.progress();
  const { id, engineVersion, progress } = run.result();
  return { id, engineVersion, virtualTimePs: progress.virtualTimePs };
}

function byState(snapshot: IovaSnapshot, state: IovaRange['state']): IovaRange[] {
  return snapshot.ranges.filter((range) => range.state === state);
}

describe('the space in the midst of a run', () => {
  const document = lab('two_step', 'lazy', '6.17');
  const middle = Math.floor(endOf(document).virtualTimePs / 2);
  const snapshot = inspect(document, middle);

  it('is in order, without overlaps, and adds up', () => {
    let end = 0;
    for (const { firstPage, pages } of snapshot.ranges) {
      expect(firstPage).toBeGreaterThanOrEqual(end);
      end = firstPage + pages;
    }
    // four levels of tables
    expect(snapshot.spacePages).toBe(2 ** 36);
    expect(end).toBeLessThanOrEqual(snapshot.spacePages);
    for (const state of ['live', 'queued', 'cached', 'reserved'] as const) {
      const ranges = byState(snapshot, state);
      expect(snapshot.totals[state]).toEqual({
        ranges: ranges.length,
        pages: ranges.reduce((sum, { pages }) => sum + pages, 0),
      });
    }
  });

  it('has the window of message-signalled interrupts, and nothing else, reserved', () => {
    expect(byState(snapshot, 'reserved')).toMatchObject([{ firstPage: 0xfee00, pages: 256, call: null, cpu: -1 }]);
  });

  it('has a live range for each request in flight, with its call, its direction and its age', () => {
    const live = byState(snapshot, 'live');
    const requests = live.filter(({ call }) => call !== 'dma_alloc');
    expect(requests.length).toBeGreaterThan(0);
    expect(requests.length).toBeLessThanOrEqual(8);
    for (const { call, since, direction, progress, bytes, pages } of requests) {
      expect(['dma_iova_try_alloc', 'dma_map_page', 'dma_map_phys']).toContain(call);
      expect(direction).toMatch(/^(toDevice|fromDevice)$/);
      expect(progress).toBe('mapped');
      expect(since).toBeGreaterThan(0);
      expect(bytes).toBeLessThanOrEqual(pages * 4096);
    }
    // queues and lists of the driver are there from the start
    expect(live.some(({ call, since }) => call === 'dma_alloc' && since === 0)).toBe(true);
  });

  it('has what the lazy domain has not flushed yet in the queues of the CPUs', () => {
    const queued = byState(snapshot, 'queued');
    expect(queued.length).toBeGreaterThan(0);
    for (const { cpu, since, call } of queued) {
      expect([0, 1]).toContain(cpu);
      expect(since).toBeGreaterThan(0);
      expect(call).not.toBeNull();
    }
  });

  it('is the same whatever the slices', () => {
    expect(inspect(document, middle, 7)).toEqual(snapshot);
  });
});

it('goes on to a later moment, and not back to an earlier one', () => {
  const document = lab('two_step', 'strict');
  const end = endOf(document).virtualTimePs;
  const inspection = RunInspection.prepare(document, 'only', NO_RECORDINGS, Math.floor(end / 3), null);
  while (inspection.advance(500) === 'running') expect(inspection.reached).toBeLessThanOrEqual(end);
  expect(inspection.moveTo(Math.floor(end / 4))).toBe(false);
  const later = Math.floor(end / 2);
  expect(inspection.moveTo(later)).toBe(true);
  while (inspection.advance(500) === 'running') expect(inspection.reached).toBeLessThanOrEqual(later);
  expect(inspection.snapshot().space).toEqual(inspect(document, later));
});

it('shows ranges of strict domains in the caches of the CPUs, and whose they were', () => {
  const document = lab('map_sg', 'strict');
  const snapshot = inspect(document, endOf(document).virtualTimePs);
  expect(byState(snapshot, 'queued')).toEqual([]);
  const cached = byState(snapshot, 'cached');
  expect(cached.length).toBeGreaterThan(0);
  expect(new Set(cached.map(({ cpu }) => cpu))).toEqual(new Set([0, 1]));
  expect(cached.some(({ call }) => call === 'dma_map_sg')).toBe(true);
});

it('is all free but what the driver set up at the very start', () => {
  const snapshot = inspect(lab('map_sg', 'strict'), 0);
  expect(byState(snapshot, 'live').every(({ call }) => call === 'dma_alloc')).toBe(true);
  expect(snapshot.totals.cached.ranges).toBe(0);
});

it('says that there is no such space without translation', () => {
  expect(inspect(lab('map_sg', 'passthrough'), 1_000_000)).toMatchObject({ translated: false, ranges: [] });
});

describe('a kept run', () => {
  const document = lab('map_sg', 'strict');

  it('is looked into when lab and engine are those that made it', () => {
    const kept = endOf(document);
    expect(() => RunInspection.prepare(document, 'only', NO_RECORDINGS, 0, kept)).not.toThrow();
  });

  it('is refused when the lab has changed, another engine made it, or the moment is none', () => {
    const kept = endOf(document);
    const changed = { ...document, seed: document.seed + 1 };
    const prepare = (of: typeof document, at: number, run: { id: string; engineVersion: string }) => () =>
      RunInspection.prepare(of, 'only', NO_RECORDINGS, at, run);
    expect(prepare(changed, 0, kept)).toThrow(/changed since this run/);
    expect(prepare(document, 0, { ...kept, engineVersion: '0.0.0' })).toThrow(/version 0\.0\.0 of the emulator/);
    expect(prepare(document, -1, kept)).toThrow(LabError);
  });
});
