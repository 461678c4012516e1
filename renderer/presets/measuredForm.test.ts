import { describe, expect, it } from 'vitest';
import { withValueAt } from '../../engine/lab/documentPath.ts';
import { parseLab } from '../../engine/lab/check.ts';
import { withMeasuredCurve } from '../../engine/lab/partPreset.ts';
import type { LabDocument, PartOf } from '../../engine/lab/schema.ts';
import { sampleParts, sampleLab } from '../testing/sampleLab.ts';
import { curveEdit, curvePreview, firstWritten, readCurve } from './measuredForm.ts';
import { costRows } from './parameters.ts';

const iommu = sampleParts.find((part): part is PartOf<'iommu'> => part.kind === 'iommu')!;
const written = { name: ' Our server ', entries: '64', missNs: '330', baseNs: '550,5' };
const curve = { entries: 64, missNs: 330, baseNs: 550.5 };

describe('a measured curve as it is written', () => {
  it('is three figures and a name', () => {
    expect(readCurve(written)).toEqual({ complaints: {}, curve: { name: 'Our server', ...curve } });
  });

  it.each([
    ['entries', ''],
    ['entries', '1.5'],
    ['entries', '70000'],
    ['missNs', 'many'],
    ['missNs', '-1'],
    ['missNs', '1e7'],
    ['baseNs', '20'],
    ['baseNs', ''],
    ['name', '  '],
    ['name', 'x'.repeat(300)],
  ] as const)('is refused at the field %s for %j, in a sentence, and nowhere else', (field, text) => {
    const { complaints, curve: none } = readCurve({ ...written, [field]: text });
    expect(none).toBeNull();
    expect(Object.keys(complaints)).toEqual([field]);
    expect(complaints[field]).toMatch(/^\S.*\.$/);
  });

  it('is complained about at every field that is wrong', () => {
    const { complaints } = readCurve({ name: '', entries: 'x', missNs: '', baseNs: '3' });
    expect(Object.keys(complaints).toSorted()).toEqual(['baseNs', 'entries', 'missNs', 'name']);
    expect(complaints.baseNs).toContain('less than link, root complex and adapter take');
  });
});

describe('what a curve gives', () => {
  const preview = curvePreview(sampleLab, iommu, curve);

  it('stands beside what the lab has, each value with source and mark', () => {
    expect(preview.hardware.find(({ name }) => name === 'iotlbEntries4K')).toMatchObject({ before: 128, after: 64 });
    expect(preview.costs.find(({ name }) => name === 'walkOverhead')).toMatchObject({ before: 150, mark: 'derived' });
    for (const { label, unit, source } of [...preview.hardware, ...preview.costs]) {
      for (const text of [label, unit, source]) expect(text).not.toBe('');
      expect(source).toContain('K = 64 entries, m = 330 ns, b = 550.5 ns');
    }
  });

  it('is what the edit makes of the lab, which keeps the curve', () => {
    const made = curveEdit(sampleLab, 'iommu0', { name: 'Our server', ...curve }).reduce<unknown>(
      (lab, { path, value }) => withValueAt(lab, path, value),
      sampleLab,
    ) as LabDocument;
    expect(parseLab(JSON.parse(JSON.stringify(made)), '')).toEqual(made);
    expect(made).toEqual(withMeasuredCurve(sampleLab, 'iommu0', 'Our server', curve));
    const part = made.topology.parts.find((one): one is PartOf<'iommu'> => one.kind === 'iommu')!;
    for (const { name, after } of preview.hardware) expect(Reflect.get(part, name), name).toBe(after);
    for (const { name, after } of preview.costs) expect(made.costs.overrides[name], name).toBe(after);
    expect(firstWritten(part)).toEqual({ name: 'Our server', entries: '64', missNs: '330', baseNs: '550.5' });
    const again = curvePreview(made, part, curve);
    for (const { before, after } of [...again.hardware, ...again.costs]) expect(before).toBe(after);
  });

  it('is the source and mark of a cost for as long as the cost has its value', () => {
    const made = withMeasuredCurve(sampleLab, 'iommu0', 'Our server', curve);
    const read = (lab: LabDocument) => costRows(lab).find(({ name }) => name === 'rootComplex')!;
    expect(read(made)).toMatchObject({ mark: 'derived', changed: true });
    expect(read(made).source).toContain('a measured latency curve');
    const changed = { ...made, costs: { ...made.costs, overrides: { ...made.costs.overrides, rootComplex: 91 } } };
    expect(read(changed)).toMatchObject({ mark: 'assumed', changed: true });
  });
});
