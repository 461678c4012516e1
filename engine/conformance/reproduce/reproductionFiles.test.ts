import { describe, expect, it } from 'vitest';
import { chartFileNames, reproductionCsv, reproductionSvg } from './reproductionFiles.ts';
import { judgeSeries, reproduction } from './report.ts';

const SERIES = judgeSeries({
  name: '../host E5 "v2", lat',
  unit: 'ns',
  xName: 'window',
  counted: true,
  points: [
    { x: '4096', model: 103, reference: 100 },
    { x: '8192', model: 99, reference: '>98' },
  ],
});

describe('files of a reproduction', () => {
  it('have names without anything that a path could mean', () => {
    expect(chartFileNames([SERIES])).toEqual(['host-E5-v2-lat.svg']);
  });

  it('have a name each, whatever their systems are called, and the same ones again', () => {
    const names = ['a b', 'a-b', 'A B', 'a-b-2', '..', '', 'α', 'a b'];
    const files = chartFileNames(names.map((name) => ({ ...SERIES, name })));
    expect(new Set(files.map((file) => file.toLowerCase())).size).toBe(names.length);
    expect(files.every((file) => /^[A-Za-z0-9][A-Za-z0-9.-]*\.svg$/.test(file))).toBe(true);
    expect(files[0]).toBe('a-b.svg');
    expect(chartFileNames(names.map((name) => ({ ...SERIES, name })))).toEqual(files);
  });

  it('hold every point, quoted as CSV asks', () => {
    expect(
      reproductionCsv(reproduction('host', [SERIES]))
        .split(/\r?\n/)
        .slice(0, 3),
    ).toEqual([
      'series,x,model,reference,unit,error,counted',
      '"../host E5 ""v2"", lat",4096,103,100,ns,0.03,yes',
      '"../host E5 ""v2"", lat",8192,99,>98,ns,0,yes',
    ]);
  });

  it('draw both curves, and the same twice', async () => {
    const svg = await reproductionSvg(SERIES, 'host: worst error 3.0 %');
    expect(svg).toContain('measured');
    expect(svg).toContain('model');
    expect(await reproductionSvg(SERIES, 'host: worst error 3.0 %')).toBe(svg);
  });
});
