import { describe, expect, it } from 'vitest';
import { crossCheck } from './crossCheck.ts';
import { hardwarePreset, HARDWARE_PRESETS, partParameters, withPreset } from './hardwarePresets.ts';
import { COST_PRESETS, resolveCosts } from './presets.ts';
import { LabRun } from './run.ts';
import { parseLab } from './check.ts';
import { labSchema, type LabDocument, type PartOf } from './schema.ts';

function labWith(iommu: Record<string, unknown>): LabDocument {
  return labSchema.parse({
    format: 1,
    name: 'presets',
    kernelProfile: '7.3',
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus: 1 },
        { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 4 },
        { ...iommu, id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0' },
        { id: 'nvme0', kind: 'nvme', parent: 'port0' },
      ],
    },
    workloads: [{ id: 'reads', kind: 'bio', device: 'nvme0', ioCount: 200, blockSize: 65_536 }],
    comparison: [{ id: 'run', scheme: 'two_step', domain: 'strict' }],
  });
}

function iommuOf(lab: LabDocument): PartOf<'iommu'> {
  return lab.topology.parts.find((part) => part.kind === 'iommu')!;
}

describe('hardware presets', () => {
  it('begin with what a part has by itself', () => {
    const part = iommuOf(labWith({}));
    expect(hardwarePreset(part.preset)).toBe(HARDWARE_PRESETS[0]);
    expect(partParameters(part).filter(({ changed }) => changed)).toEqual([]);
  });

  it.each(HARDWARE_PRESETS.map((preset) => [preset.id, preset] as const))(
    '%s has sources, and makes a lab that runs',
    (_id, preset) => {
      for (const [name, { source, mark, help, unit, value, range }] of Object.entries(preset.parameters)) {
        expect([
          name,
          source !== '',
          help !== '',
          unit !== '',
          ['measured', 'derived', 'assumed'].includes(mark),
        ]).toEqual([name, true, true, true, true]);
        if (range !== undefined && typeof value === 'number') {
          expect(value).toBeGreaterThanOrEqual(range[0]!);
          expect(value).toBeLessThanOrEqual(range[1]!);
        }
      }
      const lab = labWith({ ...withPreset(iommuOf(labWith({ iotlbUnified: true, preset: 'hypersio' })), preset) });
      const part = iommuOf(lab);
      expect(part.preset).toBe(preset.id);
      expect(partParameters(part).filter(({ changed }) => changed)).toEqual([]);
      const run = LabRun.prepare(parseLab(lab, 'presets'), 'run', new Map());
      while (run.advance(100_000) === 'running');
      const { counters } = run.result();
      expect(counters['faults']).toBe(0);
      expect(counters['iotlbMisses4K']).toBeGreaterThan(0);
    },
  );

  it('come in pairs where published sources contradict each other, and say so: overlapping walks and serial ones', () => {
    const walksPerSecond = (hardware: string, costs: string): number => {
      const { walkers } = withPreset(iommuOf(labWith({})), hardwarePreset(hardware));
      const { tableRead, walkOverhead } = resolveCosts({ preset: costs, overrides: {} }, '7.3').hardware;
      return (walkers * 1e12) / (tableRead + walkOverhead);
    };
    // pcie-bench: 18.5 to 22 M walks/s; F&S: l_w 197 ns a read, one after the other
    expect(walksPerSecond('intel-snb-bdw', 'default') / walksPerSecond('fands-host', 'fands')).toBeGreaterThan(4);
    const texts = [...HARDWARE_PRESETS, ...COST_PRESETS].filter(({ id }) => /^(default|fands|fands-host)$/.test(id));
    expect(texts).toHaveLength(3);
    for (const { description } of texts) expect(description).toMatch(/contradict|do not reconcile/);
  });

  it('show what was changed of one', () => {
    const part = iommuOf(labWith({ preset: 'pcie-bench-paper', iotlbEntries4K: 96, iotlbWays: 64, walkers: 1 }));
    expect(partParameters(part).flatMap(({ name, changed }) => (changed ? [name] : []))).toEqual(['iotlbEntries4K']);
  });

  it('are refused by name where there is none, and where values contradict each other', () => {
    const paths = (iommu: Record<string, unknown>): string[] =>
      crossCheck(labWith(iommu), null).map(({ path }) => path);
    expect(paths({ preset: 'nonsense' })).toEqual(['topology.parts[iommu0].preset']);
    expect(paths({ iotlbReserved: 128 })).toEqual(['topology.parts[iommu0].iotlbReserved']);
    expect(paths({ iotlbReplacement: 'plru', iotlbWays: 3 })).toEqual(['topology.parts[iommu0].iotlbReplacement']);
    expect(paths({ iotlbReplacement: 'plru', iotlbWays: 8, iotlbReserved: 9 })).toEqual([]);
    expect(paths({ vendor: 'smmuv3', cachingMode: true })).toEqual(['topology.parts[iommu0].cachingMode']);
  });
});
