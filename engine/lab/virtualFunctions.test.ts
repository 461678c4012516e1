/** Drives with virtual functions (PCI Express Base Specification chapter 9): requester ids, groups, what they share and what they do not. */
import { describe, expect, it } from 'vitest';
import { checkLab } from './check.ts';
import { buildMachine, type Machine } from './machine.ts';
import { pciPlaces } from './pciTree.ts';
import type { LabDocument } from './schema.ts';
import { sampleLab } from './testing/sampleLab.ts';
import { twoSocketDocument, twoSocketLab } from './testing/twoSockets.ts';

const workload = { kind: 'bio', ioCount: 400, queueDepth: 32, regionMiB: 64, blockSize: 4_096 };

/** The small sample with a drive of so many virtual functions, and a workload on each function that is named. */
function lab(virtualFunctions: number, devices: readonly string[], drive: Record<string, unknown> = {}): LabDocument {
  const { topology } = sampleLab();
  const parts = topology.parts.map((part) => (part.kind === 'nvme' ? { ...part, virtualFunctions, ...drive } : part));
  return sampleLab({
    topology: { parts },
    workloads: devices.map((device) => ({ ...workload, id: `on-${device}`, device })),
    comparison: [{ id: 'only', scheme: 'map_sg', domain: 'strict' }],
  });
}

function ran(document: LabDocument): Machine {
  const machine = buildMachine(document, document.comparison[0]!, new Map());
  for (const each of machine.workloads) each.start();
  while (machine.events.step());
  return machine;
}

describe('virtual functions of a drive', () => {
  it('follow it on its bus, beyond eight as well', () => {
    const places = pciPlaces(lab(9, ['nvme0']).topology.parts);
    const addresses = ['nvme0', 'nvme0.vf1', 'nvme0.vf7', 'nvme0.vf9'].map((id) => places.get(id)?.address);
    expect(addresses).toEqual(['0000:01:00.0', '0000:01:00.1', '0000:01:00.7', '0000:01:01.1']);
  });

  it('have an IOMMU group and a domain each where the port above isolates, and share one where it does not', () => {
    const groupsOf = (acs?: string[]): number => {
      const fields = { nvme2: { virtualFunctions: 3 }, ...(acs === undefined ? {} : { port1: { acs } }) };
      const { drives } = ran(twoSocketLab(fields));
      return new Set(drives.filter(({ host }) => host.node === 1).map(({ dma }) => dma)).size;
    };
    expect([groupsOf(), groupsOf([])]).toEqual([4, 1]);
  });

  it('carry workloads side by side, each by its own requester id', () => {
    const { drives, workloads, metrics, iommus } = ran(lab(2, ['nvme0', 'nvme0.vf1', 'nvme0.vf2']));
    expect(workloads.every(({ done, failed }) => done && failed === 0)).toBe(true);
    expect(metrics.counters.get('faults')).toBe(0);
    expect(drives.map(({ metrics: own }) => own.completedRequests)).toEqual([400, 400, 400]);
    const [iommu] = iommus.values();
    const known = [0x100, 0x101, 0x102, 0x103].map((sourceId) => iommu!.contextCache.holds(sourceId, -1));
    expect(known).toEqual([true, true, true, false]);
  });

  it('share the medium: three functions have the I/O rate of one drive together', () => {
    const slow = { maxIops: 100_000 };
    const seconds = (devices: readonly string[]): number => ran(lab(2, devices, slow)).metrics.lastCompletionPs / 1e12;
    const [one, three] = [seconds(['nvme0.vf1']), seconds(['nvme0', 'nvme0.vf1', 'nvme0.vf2'])];
    expect(400 / one).toBeLessThan(100_000);
    expect(1200 / three).toBeLessThan(100_000);
    expect(1200 / three).toBeGreaterThan(90_000);
  });

  it('hold the same blocks', () => {
    const { drives } = ran(lab(1, ['nvme0']));
    expect(drives).toHaveLength(2);
    expect(new Set(drives.map(({ driver }) => driver.capacitySectors)).size).toBe(1);
  });

  it('are no part of a lab that does not ask for them', () => {
    expect(JSON.stringify(sampleLab())).not.toContain('virtualFunctions');
  });
});

describe('what virtual functions demand', () => {
  const problems = (change: (document: Record<string, unknown>) => void): string[] => {
    const document = twoSocketDocument({ nvme0: { virtualFunctions: 4 } });
    change(document);
    return checkLab(document, 'x').problems.map(({ path, problem, remedy }) => `${path}: ${problem} ${remedy}`);
  };
  const partsOf = (document: Record<string, unknown>): Record<string, unknown>[] =>
    (document['topology'] as { parts: Record<string, unknown>[] }).parts;

  it('a function that is there', () => {
    const wanted = (device: string): string[] =>
      problems((document) => {
        document['workloads'] = [{ ...workload, id: 'w', device }];
      });
    expect(wanted('nvme0.vf4')).toEqual([]);
    expect(wanted('nvme0.vf5')[0]).toMatch(
      /^workloads\[w\]\.device: no such drive "nvme0\.vf5"\. Did you mean nvme0\.vf/,
    );
  });

  it('a name that no part has', () => {
    const [problem] = problems((document) => {
      partsOf(document).push({ id: 'nvme0.vf2', kind: 'switch', parent: 'switch0' });
    });
    expect(problem).toBe(
      'topology.parts[nvme0.vf2].id: "nvme0.vf2" is the name of a virtual function of "nvme0". Give the part another id.',
    );
  });

  it('no more functions than are emulated', () => {
    const [problem] = problems((document) => {
      for (const part of partsOf(document)) if (part['kind'] === 'nvme') part['virtualFunctions'] = 15;
    });
    expect(problem).toMatch(
      /^topology\.parts\[nvme2\]\.virtualFunctions: the drives have 48 functions together, and at most 32/,
    );
  });
});
