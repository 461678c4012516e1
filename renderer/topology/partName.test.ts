import { describe, expect, it } from 'vitest';
import { hardwarePreset, withPreset } from '../../engine/lab/hardwarePresets.ts';
import type { PartOf } from '../../engine/lab/schema.ts';
import { sampleParts } from '../testing/sampleLab.ts';
import { partName } from './partFacts.ts';

const { label: _, ...iommu } = sampleParts.find((part): part is PartOf<'iommu'> => part.kind === 'iommu')!;
const amd = withPreset({ ...iommu, label: 'IOMMU 1 (VT-d)' }, hardwarePreset('amd-zen'));

describe('the name of an IOMMU', () => {
  it('has the vendor that the part has now, also where its label was written for another', () => {
    expect(partName({ ...iommu, label: 'IOMMU (VT-d)' })).toBe('IOMMU (VT-d)');
    expect(partName(amd)).toBe('IOMMU 1 (AMD-Vi)');
    expect(partName(withPreset(amd, hardwarePreset('arm-gem5')))).toBe('IOMMU 1 (SMMUv3)');
  });

  it('is its id and vendor where it has no label', () => {
    expect(partName(iommu)).toBe(`${iommu.id} (VT-d)`);
  });

  it('is what the user calls it otherwise', () => {
    for (const label of ['North bridge', 'VT-d', 'IOMMU (my VT-d)', 'AMD-Vi (spare)']) {
      expect(partName({ ...amd, label })).toBe(label);
    }
  });

  it('leaves other parts their label, and their id where they have none', () => {
    const port = sampleParts.find(({ kind }) => kind === 'rootPort')!;
    expect(partName({ ...port, label: 'Port (VT-d)' })).toBe('Port (VT-d)');
  });
});
