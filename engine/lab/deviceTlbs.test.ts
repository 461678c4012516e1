/** Drives with device TLBs (PCI Express Base Specification chapter 10): translated requests pass the IOTLB by, and nothing stale is used. */
import { describe, expect, it } from 'vitest';
import { checkLab } from './check.ts';
import { buildMachine, type Machine } from './machine.ts';
import { LabRun } from './run.ts';
import { sampleDocument, sampleLab } from './testing/sampleLab.ts';

const VENDORS = ['vtd', 'amd', 'smmuv3'];

function ran(vendor: string, domain: string, ats: Record<string, unknown> | null, scheme = 'map_sg'): Machine {
  const { topology } = sampleLab();
  const parts = topology.parts.map((part) => {
    if (part.kind === 'iommu') return { ...part, vendor };
    return part.kind === 'nvme' && ats !== null ? { ...part, ats } : part;
  });
  const lab = sampleLab({ topology: { parts }, comparison: [{ id: 'only', scheme, domain }] });
  const machine = buildMachine(lab, lab.comparison[0]!, new Map());
  for (const workload of machine.workloads) workload.start();
  while (machine.events.step());
  expect(machine.workloads.every(({ done, failed }) => done && failed === 0)).toBe(true);
  expect(machine.metrics.counters.get('faults')).toBe(0);
  return machine;
}

describe('a device TLB', () => {
  it.each(VENDORS)('answers for the IOTLB of %s, strict and lazy', (vendor) => {
    for (const domain of ['strict', 'lazy']) {
      const [without, having] = [ran(vendor, domain, null), ran(vendor, domain, {})];
      const lookups = (machine: Machine): number => machine.metrics.counters.get('iotlbLookups');
      expect(lookups(having)).toBeLessThan(0.5 * lookups(without));
      const tlb = having.drives[0]!.deviceTlb!;
      expect(tlb.hits).toBeGreaterThan(tlb.misses);
      expect(tlb.invalidations).toBeGreaterThan(0);
    }
  });

  it('keeps mappings that stay, so that a premapped drive hardly asks', () => {
    const { deviceTlb } = ran('vtd', 'strict', { entries4K: 4096, ways: 4096 }, 'premapped').drives[0]!;
    expect(deviceTlb!.misses).toBeLessThan(600);
    expect(deviceTlb!.hits).toBeGreaterThan(20_000);
  });

  it('makes a strict unmap wait for the device as well', () => {
    const slow = ran('vtd', 'strict', { invalidationNs: 20_000 }).metrics.unmapLatency.percentile(0.5);
    const usual = ran('vtd', 'strict', null).metrics.unmapLatency.percentile(0.5);
    expect(slow).toBeGreaterThan(usual + 15_000_000);
  });

  it('is out of use where addresses are physical ones', () => {
    expect(ran('vtd', 'passthrough', {}).drives[0]!.deviceTlb).toBe(null);
  });

  it('shows in the summary of its drive', () => {
    const { parts } = sampleLab().topology;
    const lab = sampleLab({
      topology: { parts: parts.map((part) => (part.kind === 'nvme' ? { ...part, ats: {} } : part)) },
    });
    const run = LabRun.prepare(lab, 'sg-strict', new Map());
    while (run.advance(10_000) === 'running');
    const rows = new Map(run.result().summary.rows.map(({ key, value }) => [key, value]));
    expect(rows.get('deviceTlbMisses.nvme0')).toBeGreaterThan(0);
    expect(rows.get('deviceTlbInvalidations.nvme0')).toBeGreaterThanOrEqual(200);
  });
});

describe('what a device TLB demands', () => {
  const problems = (
    parts: (kind: string) => boolean,
    change: Record<string, unknown> = {},
    ofKind: Readonly<Record<string, Record<string, unknown>>> = {},
  ): string[] => {
    const document = sampleDocument();
    const { parts: all } = document['topology'] as { parts: { kind: string }[] };
    const kept = all
      .filter(({ kind }) => parts(kind))
      .map((part) => ({ ...part, ...(part.kind === 'nvme' ? { ats: {} } : {}), ...ofKind[part.kind] }));
    const comparison = [{ id: 'only', scheme: 'map_sg', domain: 'passthrough' }];
    return checkLab({ ...document, topology: { parts: kept }, comparison, ...change }, 'x').problems.map(
      ({ path, problem }) => `${path}: ${problem}`,
    );
  };

  it('an IOMMU above the drive, and no checker that it would pass by', () => {
    expect(problems(() => true)).toEqual([]);
    expect(problems((kind) => kind !== 'iommu')[0]).toMatch(/^topology\.parts\[nvme0\]\.ats: there is no IOMMU above/);
    expect(problems(() => true, { apiChecker: 'report' })[0]).toMatch(
      /^topology\.parts\[nvme0\]\.ats: the API checker/,
    );
  });

  it('a driver that turns it on, and a device that is trusted', () => {
    const all = (): boolean => true;
    expect(problems(all, {}, { iommu: { vendor: 'riscv' } })[0]).toMatch(/for RISC-V IOMMUs does not turn ATS on/);
    const untrusted = { nvme: { untrusted: true }, memory: { swiotlb: {} } };
    expect(problems(all, {}, untrusted)[0]).toMatch(/for no untrusted device/);
  });
});
