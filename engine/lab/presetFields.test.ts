import { describe, expect, test } from 'vitest';
import { checkLab, parseLab, withAssignment } from './check.ts';
import { HARDWARE_PRESETS, hardwarePreset, withPreset } from './hardwarePresets.ts';
import { runId } from './runIdentity.ts';
import type { LabDocument, PartOf } from './schema.ts';

function documentWith(iommu: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return {
    format: 1,
    name: 'a lab',
    kernelProfile: '7.3',
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket' },
        { id: 'dram0', kind: 'memory', parent: 'cpu0' },
        { id: 'iommu0', kind: 'iommu', parent: 'cpu0', ...iommu },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0' },
        { id: 'nvme0', kind: 'nvme', parent: 'port0' },
      ],
    },
    workloads: [{ id: 'bio0', kind: 'bio', device: 'nvme0' }],
    comparison: [{ id: 'a', scheme: 'map_sg', domain: 'strict' }],
  };
}

function iommuOf(lab: LabDocument): PartOf<'iommu'> {
  return lab.topology.parts.find((part) => part.kind === 'iommu')!;
}

function parsed(iommu: Readonly<Record<string, unknown>>): LabDocument {
  return parseLab(documentWith(iommu), 'test');
}

describe('a hardware preset that a document names', () => {
  test.each(HARDWARE_PRESETS.map(({ id }) => id))(
    '%s makes the machine that choosing it in the window makes',
    (preset) => {
      const byHand = parsed({ preset });
      const chosen = withPreset(iommuOf(parsed({})), hardwarePreset(preset));
      const lab = parsed({ ...chosen });
      expect(iommuOf(byHand)).toEqual(iommuOf(lab));
      const [run] = lab.comparison;
      expect(runId(byHand, run!, new Map())).toBe(runId(lab, run!, new Map()));
    },
  );

  test('what the part says itself stays', () => {
    const { iotlbEntries4K, iotlbWays } = iommuOf(parsed({ preset: 'riscv-ref', iotlbEntries4K: 77 }));
    expect([iotlbEntries4K, iotlbWays]).toEqual([77, hardwarePreset('riscv-ref').parameters['iotlbWays']?.value]);
  });

  test('two presets are two machines', () => {
    const sizes = HARDWARE_PRESETS.map(({ id }) => iommuOf(parsed({ preset: id })).iotlbEntries4K);
    expect(new Set(sizes).size).toBeGreaterThan(3);
  });

  test('put in by an assignment it takes the place of the values that stood there, and a later one is on top of it', () => {
    const before = parsed({ iotlbEntries4K: 500, walkers: 3 });
    const after = parseLab(withAssignment(before, 'topology.parts[iommu0].preset=riscv-ref'), 'test');
    expect(iommuOf(after)).toEqual(iommuOf(parsed({ preset: 'riscv-ref' })));
    const later = parseLab(withAssignment(after, 'topology.parts[iommu0].walkers=5'), 'test');
    expect(iommuOf(later).walkers).toBe(5);
  });

  test('the fields of a measured curve are filled in alike', () => {
    const measured = { name: 'mine', entries: 42, missNs: 300, baseNs: 500 };
    expect(iommuOf(parsed({ measured })).iotlbEntries4K).toBe(42);
  });

  test('one that nobody knows is refused with the names that there are', () => {
    const { problems } = checkLab(documentWith({ preset: 'riscv-reff' }), 'test');
    expect(problems).toHaveLength(1);
    expect(problems[0]?.path).toBe('topology.parts[iommu0].preset');
    expect(problems[0]?.remedy).toContain('riscv-ref');
  });
});
