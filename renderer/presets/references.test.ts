import { describe, expect, it } from 'vitest';
import { COST_PRESETS } from '../../engine/lab/presets.ts';
import { sampleLab } from '../testing/sampleLab.ts';
import { costRows } from './parameters.ts';
import { namedReferences, sourcePieces } from './references.ts';

describe('the source of a parameter', () => {
  it('leads to each publication that it names, and keeps its words', () => {
    const source = "pcie-bench, SIGCOMM'18 (raw data): 75 ns longer; 197 ns under load (F&S, SOSP'24)";
    const pieces = sourcePieces(source);
    expect(pieces.map(({ text }) => text).join('')).toBe(source);
    expect(pieces.map(({ reference }) => reference?.id ?? null)).toEqual(['pcie-bench', null, 'fands', null]);
    expect(sourcePieces('no published figure')).toEqual([{ text: 'no published figure', reference: null }]);
  });

  it('loses no word in any preset, and names a publication where it is measured', () => {
    for (const { id } of COST_PRESETS) {
      const rows = costRows({ ...sampleLab, costs: { preset: id, overrides: {} } });
      for (const { source } of rows)
        expect(
          sourcePieces(source)
            .map(({ text }) => text)
            .join(''),
        ).toBe(source);
      for (const { name, source, mark } of rows)
        if (mark === 'measured') expect(namedReferences([source]), name).not.toEqual([]);
    }
  });
});
