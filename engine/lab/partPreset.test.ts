import { describe, expect, it } from 'vitest';
import { hardwarePreset, withPreset } from './hardwarePresets.ts';
import { presetName, presetParameters, withMeasuredCurve, withoutCurveCosts } from './partPreset.ts';
import { presetLabel } from './presetLabel.ts';
import { runId } from './runIdentity.ts';
import type { LabDocument, PartOf } from './schema.ts';
import { sampleLab } from './testing/sampleLab.ts';
import { parseLab } from './check.ts';

const curve = { entries: 64, missNs: 330, baseNs: 550 };
const lab = sampleLab();
const made = withMeasuredCurve(lab, 'iommu0', 'Our server', curve);
const iommuOf = ({ topology }: LabDocument): PartOf<'iommu'> =>
  topology.parts.find((part): part is PartOf<'iommu'> => part.kind === 'iommu')!;

describe('the preset of an IOMMU', () => {
  it('is a hardware preset by its id, of which the lab says what was changed', () => {
    expect(presetName(iommuOf(lab))).toBe('intel-snb-bdw');
    expect(presetLabel(lab)).toBe('costs: default · hardware: intel-snb-bdw');
    const parts = lab.topology.parts.map((part) => (part.kind === 'iommu' ? { ...part, walkers: 2 } : part));
    expect(presetLabel({ ...lab, topology: { parts } })).toBe('costs: default · hardware: intel-snb-bdw, 1 changed');
  });

  it('is named once where several IOMMUs have the same', () => {
    const second = { ...iommuOf(lab), id: 'iommu1' };
    expect(presetLabel({ ...lab, topology: { parts: [...lab.topology.parts, second] } })).toBe(presetLabel(lab));
  });

  it('is a measured curve by its name and figures, and nothing of it counts as changed', () => {
    expect(presetName(iommuOf(made))).toBe('Our server (K 64, m 330 ns, b 550 ns)');
    expect(presetParameters(iommuOf(made)).filter(({ changed }) => changed)).toEqual([]);
    expect(presetParameters({ ...iommuOf(made), walkers: 1 }).filter(({ changed }) => changed)).toMatchObject([
      { name: 'walkers', chosen: 1 },
    ]);
    expect(presetLabel(made)).toContain('hardware: Our server (K 64, m 330 ns, b 550 ns)');
    expect(parseLab(JSON.parse(JSON.stringify(made)), '')).toEqual(made);
  });

  it('takes its costs away with it, but for those that were changed since', () => {
    const brought = made.costs.overrides;
    expect(Object.keys(brought)).toContain('memoryRead');
    expect(withoutCurveCosts({ ...brought, tableRead: 131, mmioWrite: 3 }, curve)).toEqual({
      tableRead: 131,
      mmioWrite: 3,
    });
    expect(withoutCurveCosts(brought, { ...curve, baseNs: 700 })).toEqual({ memoryRead: brought['memoryRead'] });
  });

  it('is forgotten when another is chosen', () => {
    const chosen = withPreset(iommuOf(made), hardwarePreset('amd-zen'));
    expect(chosen.measured).toBeUndefined();
    expect(presetName(chosen)).toBe('amd-zen');
  });

  it('does not tell runs apart by the name of a curve', () => {
    const renamed = withMeasuredCurve(lab, 'iommu0', 'Another name', curve);
    const id = (document: LabDocument): string => runId(document, document.comparison[0]!, new Map());
    expect(id(renamed)).toBe(id(made));
    expect(id(made)).not.toBe(id(lab));
  });

  it('is refused where a curve cannot be', () => {
    const parts = made.topology.parts.map((part) =>
      part.kind === 'iommu' ? { ...part, measured: { name: 'Too fast', ...curve, baseNs: 20 } } : part,
    );
    expect(() => parseLab({ ...made, topology: { parts } }, '')).toThrow(/measured\.baseNs/);
  });
});
