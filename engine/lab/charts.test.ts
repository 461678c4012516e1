/** Charts as files: the same bytes whenever they are made, ids and seed in the picture, and nothing told by colour alone. */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { CHART_IDS, DASHES, DARK_THEME, LIGHT_THEME, chartOption, type ChartRun } from './chartOptions.ts';
import { renderChartSvg, renderPng } from './charts.ts';
import { chartCsv, seriesCsv, summaryCsv } from './csv.ts';
import { chartRun } from './exportFiles.ts';
import { sampleResult } from './testing/sampleLab.ts';

const results = [sampleResult('0123456789abcdef', 'sg-strict'), sampleResult('fedcba9876543210', 'two-strict', 120)];
const runs = results.map((result, slot) => chartRun(result, slot));
const fonts = ['Inter-Regular.ttf', 'Inter-SemiBold.ttf'].map((name) =>
  fileURLToPath(new URL(`../../fixtures/fonts/${name}`, import.meta.url)),
);

interface DrawnLine {
  readonly name: string;
  readonly data: Float64Array;
  readonly lineStyle: { readonly type: unknown };
}

function linesOf(chart: (typeof CHART_IDS)[number], of: readonly ChartRun[]): readonly DrawnLine[] {
  return chartOption(chart, of, { theme: LIGHT_THEME, standalone: false })['series'] as readonly DrawnLine[];
}

describe.each(CHART_IDS)('the chart %s', (chart) => {
  it('is the same SVG each time, and carries run ids and seed', async () => {
    const svg = await renderChartSvg(chart, runs);
    expect(await renderChartSvg(chart, runs)).toBe(svg);
    for (const text of ['0123456789abcdef', 'fedcba9876543210', 'seed 7']) expect(svg).toContain(text);
  });

  it('draws the lines of different runs with different dashes', () => {
    const dashes = new Set(linesOf(chart, runs).map((line) => JSON.stringify(line.lineStyle.type)));
    expect(dashes.size).toBe(2);
  });

  it('has axes and no lines before the first run', async () => {
    expect(linesOf(chart, [])).toEqual([]);
    expect(await renderChartSvg(chart, [])).toContain('<svg');
  });
});

describe('charts of runs that differ in length', () => {
  it('count misses in windows of one length, and lose none but those of an unfinished last window', () => {
    const [long, short] = linesOf('iotlb-misses', runs);
    const step = (line: DrawnLine | undefined): number => (line?.data[2] ?? 0) - (line?.data[0] ?? 0);
    expect(step(long)).toBe(step(short));
    expect(step(long)).toBe(Math.max(...results.map((result) => result.series.windowPs)));
  });

  it('have a dash pattern and a colour for each of eight runs', () => {
    expect(new Set(DASHES.map((dash) => JSON.stringify(dash))).size).toBe(8);
    for (const theme of [LIGHT_THEME, DARK_THEME]) expect(new Set(theme.palette).size).toBe(8);
  });
});

describe('a PNG', () => {
  it('is made with our font alone, in the size that was asked for', async () => {
    const png = Buffer.from(await renderPng(await renderChartSvg('throughput', runs), fonts, 2));
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([2240, 1120]);
    const bare = await renderPng(await renderChartSvg('throughput', runs), [], 2);
    expect(bare.length).toBeLessThan(png.length);
  });
});

describe('CSV', () => {
  it('has a line a window with the raw values, empty where nothing was measured', () => {
    const lines = seriesCsv(results[0]!.series).trimEnd().split('\r\n');
    expect(lines[0]).toContain('windowStart_ps,windowLength_ps,iotlbLookups');
    expect(lines).toHaveLength(results[0]!.series.count + 1);
    expect(seriesCsv(results[0]!.series)).not.toContain('NaN');
  });

  it('says with which presets the runs were computed, each once', async () => {
    const [first, second] = [sampleResult('0123456789abcdef', 'a'), sampleResult('fedcba9876543210', 'b')];
    const runs = [first, second].map((run, slot) => chartRun({ ...run, presets: 'costs default, 2 changed' }, slot));
    const svg = await renderChartSvg('throughput', runs);
    expect(svg.split('costs default, 2 changed')).toHaveLength(2);
  });

  it('names run, id and seed on every line of a chart', () => {
    expect(chartCsv('map-latency', runs).split('\r\n')[1]).toMatch(/^sg-strict,0123456789abcdef,7,0,/);
  });

  it('keeps a label from becoming a formula or a second column', () => {
    const csv = summaryCsv([{ ...results[0]!, label: '=1+1,"x"' }]);
    expect(csv.split('\r\n')[0]).toBe(`key,label,unit,"'=1+1,""x"""`);
  });
});
