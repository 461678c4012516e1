/**
 * Machines of several sockets, switches and drives: what each device and each IOMMU sees of them (VT-d specification 8.3, the scope of
 * a remapping unit; Linux drivers/iommu/iommu.c, default domains of groups), and that a run of them depends on its inputs alone.
 */
import { describe, expect, it } from 'vitest';
import { canonicalJson } from './canonicalJson.ts';
import { prepareRun } from './checkRuns.ts';
import { buildMachine, type Machine } from './machine.ts';
import { LabRun } from './run.ts';
import { RunInspection } from './runInspection.ts';
import type { RunResult } from './runTypes.ts';
import type { LabDocument, Part } from './schema.ts';
import { runEntries } from './storedRun.ts';
import { summaryTable } from './summary.ts';
import { sampleLab } from './testing/sampleLab.ts';
import { twoSocketLab, type PartFields } from './testing/twoSockets.ts';

const NO_RECORDINGS = new Map();
const NODE_PAGES = (4 * 2 ** 30) / 4096;
const WITHOUT_ACS: PartFields = { port0: { acs: [] }, switch0: { acs: [] } };
const VENDORS = ['vtd', 'amd', 'smmuv3', 'riscv'];

function ran(lab: LabDocument, comparisonId = 'strict'): Machine {
  const comparison = lab.comparison.find(({ id }) => id === comparisonId)!;
  const machine = buildMachine(lab, comparison, NO_RECORDINGS);
  for (const workload of machine.workloads) workload.start();
  while (machine.events.step());
  return machine;
}

function runWhole(lab: LabDocument, comparisonId: string, slice = 1_000): RunResult {
  const run = LabRun.prepare(lab, comparisonId, NO_RECORDINGS);
  while (run.advance(slice) === 'running') run.progress();
  return run.result();
}

function row(result: RunResult, key: string): number {
  return result.summary.rows.find((candidate) => candidate.key === key)?.value ?? Number.NaN;
}

describe('a document', () => {
  it('keeps to what it says: fields of larger machines that were left out stay out', () => {
    expect(JSON.stringify(sampleLab())).not.toMatch(/"(acs|memory|virtualFunctions)":/);
    expect(JSON.stringify(twoSocketLab())).not.toMatch(/"(acs|memory|virtualFunctions|latencyNs|storeAndForward)":/);
  });
});

describe('a machine of two sockets', () => {
  it.each(['strict', 'lazy', 'passthrough'])('completes every workload without a fault, %s', (domain) => {
    const result = runWhole(twoSocketLab(), domain);
    expect(row(result, 'requests')).toBe(300);
    expect(row(result, 'faults')).toBe(0);
    expect(result.counters['staleWindowAccesses']).toBe(0);
  });

  it.each(VENDORS)('does so behind IOMMUs of %s, with and without access control', (vendor) => {
    const iommus = { iommu0: { vendor }, iommu1: { vendor } };
    for (const fields of [iommus, { ...iommus, ...WITHOUT_ACS }]) {
      const { metrics, workloads } = ran(twoSocketLab(fields));
      expect([metrics.counters.get('faults'), workloads.every(({ done }) => done)]).toEqual([0, true]);
      expect(metrics.counters.get('iotlbLookups')).toBeGreaterThan(0);
    }
  });

  it('gives the same bytes for the same lab and seed, whatever the slices', () => {
    const bytesOf = (result: RunResult): string[] =>
      runEntries(result).map(([name, bytes]) => `${name} ${Buffer.from(bytes).toString('base64')}`);
    const whole = runWhole(twoSocketLab(), 'lazy', 1_000_000);
    expect(bytesOf(runWhole(twoSocketLab(), 'lazy', 7))).toEqual(bytesOf(whole));
  });

  it('lets each IOMMU see the devices of its own socket only', () => {
    const { iommus, drives } = ran(twoSocketLab(), 'passthrough');
    const known = [...iommus.values()].map((iommu) =>
      drives.map(({ device }) => iommu.translateFunctional(device.sourceId, 1, false)),
    );
    expect(known).toEqual([
      [true, true, false],
      [false, false, true],
    ]);
  });

  it('keeps tables, queues and buffers on the node of their socket', () => {
    const machine = ran(twoSocketLab());
    const nodeOf = (page: number): number => Math.floor(page / NODE_PAGES);
    expect([...machine.iommus.values()].map(({ inside }) => nodeOf(inside.rootPage))).toEqual([0, 1]);
    for (const { device, dma, host, id } of machine.drives) {
      const { table } = dma.translatedDevice(device)!.domain;
      expect([id, nodeOf(table.rootPage)]).toEqual([id, host.node]);
    }
  });

  it('puts buffers on the memory that a workload names', () => {
    const lab = twoSocketLab();
    const [first] = lab.workloads;
    const remote = { ...lab, workloads: [{ ...first!, memory: 'dram1' }] } as LabDocument;
    const near = { ...lab, workloads: [first!] };
    const free = (document: LabDocument): number[] =>
      buildMachine(document, document.comparison[0]!, NO_RECORDINGS).drives.map(({ host }) => host.frames.freePages);
    const [nearFree, remoteFree] = [free(near), free(remote)];
    expect(remoteFree[0]).toBeGreaterThan(nearFree[0]!);
    expect(remoteFree[2]).toBeLessThan(nearFree[2]!);
  });

  it('submits on the CPUs of the drive first', () => {
    const { workloads, comparison } = twoSocketLab();
    const busy = (submitting: number): boolean[] => {
      const lab = twoSocketLab({}, { workloads: [{ ...workloads[2]!, cpus: submitting }] });
      const before = buildMachine(lab, comparison[0]!, NO_RECORDINGS).cpus.map(({ now }) => now);
      return ran(lab).cpus.map(({ now }, cpu) => now > before[cpu]!);
    };
    expect(busy(1)).toEqual([false, false, true, false]);
    expect(busy(3)).toEqual([true, false, true, true]);
  });

  it('gives the workloads of one socket CPUs of their own', () => {
    const at = 20_000_000;
    const inspection = RunInspection.prepare(twoSocketLab(), 'strict', NO_RECORDINGS, at, null);
    while (inspection.advance(100) === 'running');
    const cpusOf = (device: string): number[] => {
      const { ranges } = inspection.snapshot(null, device).space;
      const mapped = ranges.filter(({ call, state }) => state === 'live' && call === 'dma_iova_try_alloc');
      return [...new Set(mapped.map(({ cpu }) => cpu))];
    };
    expect(['nvme0', 'nvme1', 'nvme2'].map(cpusOf)).toEqual([[0], [1], [2]]);
  });

  it('says which node is out of memory', () => {
    const [, , third] = twoSocketLab().workloads;
    const greedy = { ...third!, blockSize: 16_777_216, queueDepth: 512, ioCount: 5_000, contiguity: 'contiguous' };
    const lab = twoSocketLab({}, { workloads: [greedy] });
    expect(() => prepareRun(lab, 'strict', NO_RECORDINGS, 'x')).toThrow(
      'x: topology.parts[dram1].sizeGiB: the machine is out of memory',
    );
  });

  it('tells the drives apart in its summary, and a machine of one drive does not', () => {
    const result = runWhole(twoSocketLab(), 'strict');
    const rates = ['nvme0', 'nvme1', 'nvme2'].map((id) => row(result, `requestRate.${id}`));
    expect(rates.every((rate) => rate > 0)).toBe(true);
    const bytes = ['nvme0', 'nvme1', 'nvme2'].map((id) => row(result, `throughput.${id}`));
    expect(Math.max(...bytes)).toBeLessThan(row(result, 'throughput'));
    expect(summaryTable([result])).toContain('nvme2: I/O latency p99');
  });

  it('is watched by the API checker on every socket', () => {
    const lab = twoSocketLab(
      {},
      {
        apiChecker: 'report',
        comparison: [
          { id: 'clean', scheme: 'two_step', domain: 'strict' },
          {
            id: 'faulty',
            scheme: 'two_step',
            domain: 'strict',
            driverFaults: [{ kind: 'forgetSync', every: 50 }],
          },
        ],
      },
    );
    expect(runWhole(lab, 'clean').checker?.misuses).toEqual([]);
    const devices = new Set(runWhole(lab, 'faulty').checker?.misuses.map(({ device }) => device));
    expect([...devices].sort()).toEqual(['0000:03:00.0', '0000:04:00.0', '0000:81:00.0']);
  });
});

describe('IOMMU groups', () => {
  it('are one a drive where every port isolates', () => {
    const { drives } = ran(twoSocketLab());
    expect(new Set(drives.map(({ group }) => group)).size).toBe(3);
    expect(new Set(drives.map(({ dma }) => dma)).size).toBe(3);
  });

  it('stay apart below a switch without access control whose root port has it, as Linux decides', () => {
    const { drives } = ran(twoSocketLab({ switch0: { acs: [] } }));
    expect(new Set(drives.map(({ group }) => group)).size).toBe(3);
  });

  it('join the drives below ports without access control, which then share one IOVA space', () => {
    const { drives } = ran(twoSocketLab(WITHOUT_ACS));
    const [first, second, alone] = drives.map(({ group }) => group);
    expect([second === first, alone === first]).toEqual([true, false]);
    const domains = drives.map(({ dma, device }) => dma.translatedDevice(device)!.domain);
    expect([domains[1] === domains[0], domains[2] === domains[0]]).toEqual([true, false]);
  });

  it('leave what the drives do as it was', () => {
    const [apart, joined] = [twoSocketLab(), twoSocketLab(WITHOUT_ACS)].map((lab) => runWhole(lab, 'strict'));
    for (const name of ['iommuMaps', 'iommuUnmaps', 'iotlbLookups']) {
      expect([name, joined!.counters[name]]).toEqual([name, apart!.counters[name]]);
    }
    expect(joined!.id).not.toBe(apart!.id);
  });
});

describe('an inspection', () => {
  const at = 200_000_000;
  const inspect = (fields: PartFields = {}): RunInspection => {
    const inspection = RunInspection.prepare(twoSocketLab(fields), 'strict', NO_RECORDINGS, at, null);
    while (inspection.advance(1_000) === 'running');
    return inspection;
  };

  it('looks at the drive that is asked for, by its part or its address', () => {
    const inspection = inspect();
    expect(inspection.snapshot().space.device).toBe('0000:03:00.0');
    const byId = inspection.snapshot(null, 'nvme2');
    expect(byId.space.device).toBe('0000:81:00.0');
    expect(inspection.snapshot(null, '0000:81:00.0')).toEqual(byId);
    expect(() => inspection.snapshot(null, 'nvme7')).toThrow('there is no device "nvme7". Did you mean');
  });

  it('begins with the drive that stands first in the document, whatever its address', () => {
    const document = twoSocketLab();
    const last = (part: Part): boolean => part.id === 'nvme2';
    const parts = [...document.topology.parts.filter(last), ...document.topology.parts.filter((part) => !last(part))];
    const lab = { ...document, topology: { parts } };
    const inspection = RunInspection.prepare(lab, 'strict', NO_RECORDINGS, 0, null);
    expect(inspection.snapshot().space.device).toBe('0000:81:00.0');
  });

  it('shows ranges of one drive, or of all that share its space', () => {
    const live = (inspection: RunInspection, device: string): string =>
      canonicalJson(inspection.snapshot(null, device).space.ranges);
    const apart = inspect();
    expect(live(apart, 'nvme1')).not.toBe(live(apart, 'nvme0'));
    const joined = inspect(WITHOUT_ACS);
    expect(live(joined, 'nvme1')).toBe(live(joined, 'nvme0'));
    expect(live(joined, 'nvme2')).not.toBe(live(joined, 'nvme0'));
  });

  it('walks the tables of the drive with the IOMMU of its socket', () => {
    const inspection = inspect();
    for (const device of ['nvme0', 'nvme2']) {
      const range = inspection.snapshot(null, device).space.ranges.find(({ state }) => state === 'live')!;
      const iova = `0x${(range.firstPage * 4096).toString(16)}`;
      const outcome = (of: string): string => inspection.snapshot({ iova, write: true }, of).walk!.outcome.kind;
      expect([device, outcome(device)]).toEqual([device, 'translated']);
    }
  });
});
