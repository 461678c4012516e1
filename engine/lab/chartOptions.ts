/**
 * One builder of ECharts options per chart, for the window (live, in its theme) and for exports alike, so that a picture in
 * a report is the picture on the screen. Colours are those of Okabe and Ito (2008), told apart by colour-blind readers, the
 * light ones darkened until they stand out from white by 3:1 (WCAG 2.2, 1.4.11);
 * each run also has a dash pattern, because colour alone is not enough. Pure data and formatters: no echarts, no node.
 */
import type { EChartsCoreOption } from 'echarts/core';
import { formatShort, formatTime } from './quantity.ts';
import type { RunSeries, SummaryUnit } from './runTypes.ts';
import { commonWindow, countPoints, levelPoints, ratePoints, type Points } from './seriesMath.ts';

export const CHART_IDS = ['iotlb-misses', 'map-latency', 'throughput', 'bookkeeping-bytes'] as const;
export type ChartId = (typeof CHART_IDS)[number];

export const CHART_TITLES: Readonly<Record<ChartId, string>> = {
  'iotlb-misses': 'IOTLB misses per window, by page size',
  'map-latency': 'Map latency per window, p50 and p99',
  throughput: 'Throughput',
  'bookkeeping-bytes': 'Bookkeeping bytes',
};

/** One run as a chart needs it. */
export interface ChartRun {
  readonly runId: string;
  readonly comparisonId: string;
  readonly label: string;
  readonly seed: number;
  /** What it was computed with, in words. */
  readonly presets?: string;
  readonly partial: boolean;
  readonly series: RunSeries;
  /** Place of the run among all columns of the comparison: its colour and dashes, whichever runs are shown. */
  readonly slot: number;
}

export interface ChartTheme {
  readonly text: string;
  readonly mutedText: string;
  readonly line: string;
  readonly grid: string;
  readonly background: string;
  readonly palette: readonly string[];
  readonly fontFamily: string;
}

const OKABE_ITO = ['#0072b2', '#d55e00', '#009e73', '#b8609a', '#a87200', '#2f8dc4', '#7a6a00', '#000000'] as const;
/** The same hues, lighter, with contrast on a dark ground. */
const OKABE_ITO_DARK = [
  '#56b4e9',
  '#ff8c42',
  '#2fd3a5',
  '#e79bc6',
  '#f0c040',
  '#8ec7ff',
  '#d8cf5a',
  '#ffffff',
] as const;

export const LIGHT_THEME: ChartTheme = {
  text: '#1c2127',
  mutedText: '#5b6570',
  line: '#8a94a0',
  grid: '#e3e7ec',
  background: '#ffffff',
  palette: OKABE_ITO,
  fontFamily: 'Inter, sans-serif',
};

export const DARK_THEME: ChartTheme = {
  text: '#e6e9ed',
  mutedText: '#9aa5b1',
  line: '#6b7682',
  grid: '#2b323a',
  background: '#14181d',
  palette: OKABE_ITO_DARK,
  fontFamily: 'Inter, sans-serif',
};

/** Dashes of a run's lines, by slot. */
export const DASHES: readonly ('solid' | readonly number[])[] = [
  'solid',
  [7, 4],
  [2, 3],
  [10, 3, 2, 3],
  [4, 2],
  [12, 4],
  [1, 4],
  [6, 2, 1, 2, 1, 2],
];

export function runColor(theme: ChartTheme, slot: number): string {
  return theme.palette[slot % theme.palette.length] ?? theme.text;
}

export function runDash(slot: number): 'solid' | number[] {
  const dash = DASHES[slot % DASHES.length];
  return dash === undefined || dash === 'solid' ? 'solid' : [...dash];
}

interface Line {
  readonly name: string;
  readonly run: ChartRun;
  readonly points: Points;
  readonly width: number;
  readonly symbol?: 'circle' | 'rect' | 'triangle' | 'diamond';
  readonly step?: boolean;
}

interface ChartContent {
  readonly unit: SummaryUnit;
  readonly axis: string;
  readonly lines: readonly Line[];
}

const PAGE_SIZES = [
  { column: 'iotlbMisses4K', name: '4K', symbol: 'circle' },
  { column: 'iotlbMisses2M', name: '2M', symbol: 'rect' },
  { column: 'iotlbMisses1G', name: '1G', symbol: 'triangle' },
] as const;

const CONTENTS: Readonly<Record<ChartId, (runs: readonly ChartRun[], windowPs: number) => ChartContent>> = {
  'iotlb-misses': (runs, windowPs) => ({
    unit: 'count',
    axis: `misses per ${formatTime(windowPs)}`,
    lines: runs.flatMap((run): Line[] =>
      PAGE_SIZES.filter(
        ({ column }) => column === 'iotlbMisses4K' || run.series.columns[column].some((value) => value > 0),
      ).map(({ column, name, symbol }) => ({
        name: `${run.label} · ${name}`,
        run,
        points: countPoints(run.series, column, windowPs),
        width: 1.75,
        symbol,
      })),
    ),
  }),
  'map-latency': (runs) => ({
    unit: 'ps',
    axis: 'CPU time in the DMA API per request',
    lines: runs.flatMap((run): Line[] => [
      {
        name: `${run.label} · p50`,
        run,
        points: levelPoints(run.series.columns.mapLatencyP50, run.series.windowPs),
        width: 1.25,
      },
      {
        name: `${run.label} · p99`,
        run,
        points: levelPoints(run.series.columns.mapLatencyP99, run.series.windowPs),
        width: 2.5,
        symbol: 'diamond',
      },
    ]),
  }),
  throughput: (runs, windowPs) => ({
    unit: 'bytes/s',
    axis: 'bytes completed per second',
    lines: runs.map((run) => ({
      name: run.label,
      run,
      points: ratePoints(run.series, 'bytes', windowPs),
      width: 1.75,
    })),
  }),
  'bookkeeping-bytes': (runs) => ({
    unit: 'bytes',
    axis: 'held by the scheme, most in each window',
    lines: runs.map((run) => ({
      name: run.label,
      run,
      points: levelPoints(run.series.columns.bookkeepingBytes, run.series.windowPs),
      width: 1.75,
      step: true,
    })),
  }),
};

export interface ChartSettings {
  readonly theme: ChartTheme;
  /** Title and footer, for a picture that stands alone; the window shows its own. */
  readonly standalone: boolean;
  /** Version that made the runs, for the footer. */
  readonly engineVersion?: string;
}

/** The option object of a chart over runs. Empty runs give empty axes. */
export function chartOption(chart: ChartId, runs: readonly ChartRun[], settings: ChartSettings): EChartsCoreOption {
  const { theme, standalone } = settings;
  const windowPs = commonWindow(runs.map((run) => run.series));
  const { unit, axis, lines } = CONTENTS[chart](runs, windowPs);
  const drawn = staggered(lines, runs);
  const footerLines = footer(runs, settings.engineVersion).split('\n').length;
  const top = standalone ? 52 + LEGEND_LINE * legendLines(lines) : 52;
  const label = { color: theme.mutedText, fontFamily: theme.fontFamily, fontSize: 11 };
  return {
    animation: false,
    backgroundColor: theme.background,
    textStyle: { fontFamily: theme.fontFamily, color: theme.text },
    aria: { enabled: true },
    ...(standalone ? { title: titles(chart, runs, settings) } : {}),
    legend: {
      type: standalone ? 'plain' : 'scroll',
      top: standalone ? 44 : 4,
      left: 12,
      right: 12,
      itemWidth: 30,
      itemHeight: 8,
      itemGap: 14,
      lineStyle: { width: 'inherit' },
      textStyle: { color: theme.text, fontFamily: theme.fontFamily, fontSize: 11 },
      pageTextStyle: { color: theme.mutedText },
      data: lines.map((line) => line.name),
    },
    grid: {
      left: 78,
      right: 24,
      top: top + (standalone ? 22 : 0),
      bottom: standalone ? 52 + FOOTER_LINE * footerLines : 34,
    },
    tooltip: {
      trigger: 'axis',
      confine: true,
      axisPointer: { type: 'line', lineStyle: { color: theme.line } },
      valueFormatter: (value: unknown) => (typeof value === 'number' ? formatShort(value, unit) : '–'),
    },
    xAxis: {
      type: 'value',
      min: 0,
      axisLabel: { ...label, formatter: formatTime, hideOverlap: true },
      axisLine: { lineStyle: { color: theme.line } },
      axisPointer: { label: { formatter: ({ value }: { value: unknown }) => formatTime(Number(value)) } },
      splitLine: { show: false },
      ...(standalone ? { name: 'virtual time', nameLocation: 'middle', nameGap: 26, nameTextStyle: label } : {}),
    },
    yAxis: {
      type: 'value',
      min: 0,
      ...(unit === 'bytes' ? binaryTicks(lines) : {}),
      name: axis,
      nameLocation: 'end',
      nameGap: 10,
      nameTextStyle: { ...label, align: 'left', padding: [0, 0, 0, -66] },
      axisLabel: { ...label, formatter: (value: number) => formatShort(value, unit) },
      splitLine: { lineStyle: { color: theme.grid } },
    },
    series: drawn.map((line) => seriesOption(line, theme)),
  };
}

const LEGEND_LINE = 24;
const FOOTER_LINE = 14;
/** Of a picture that stands alone: how much legend fits a line, by estimate, since fonts are measured later. */
const LEGEND_WIDTH = 1060;

function legendLines(lines: readonly Line[]): number {
  let [count, used] = [1, 0];
  for (const { name } of lines) {
    const width = 52 + 6.4 * name.length;
    if (used > 0 && used + width > LEGEND_WIDTH) [count, used] = [count + 1, 0];
    used += width;
  }
  return count;
}

/** Later runs are drawn thinner over earlier ones, so that equal lines all show. */
function staggered(lines: readonly Line[], runs: readonly ChartRun[]): Line[] {
  return lines.map((line) => ({ ...line, width: line.width + 0.45 * (runs.length - 1 - runs.indexOf(line.run)) }));
}

/** Ticks at multiples of a power of two: bytes have binary prefixes, and `48.8 KiB` is no mark to read a chart by. */
function binaryTicks(lines: readonly Line[]): { interval: number; max: number } {
  let highest = 1;
  for (const { points } of lines)
    for (let index = 1; index < points.length; index += 2) highest = Math.max(highest, points[index] ?? 0);
  const interval = 2 ** Math.max(0, Math.ceil(Math.log2(highest / 5)));
  return { interval, max: Math.ceil(highest / interval) * interval };
}

function seriesOption(line: Line, theme: ChartTheme): Record<string, unknown> {
  const color = runColor(theme, line.run.slot);
  return {
    id: `${line.run.comparisonId}/${line.name}`,
    type: 'line',
    name: line.name,
    // Flat, which ECharts reads without a copy; `minmax` keeps the spikes that these charts are looked at for.
    data: line.points,
    dimensions: ['x', 'y'],
    color,
    lineStyle: { color, width: line.width, type: runDash(line.run.slot) },
    itemStyle: { color },
    symbol: line.symbol ?? 'circle',
    symbolSize: 5,
    // Marks on every point would hide the dashes; a line of one point has no other way to show.
    showSymbol: line.points.length === 2,
    sampling: 'minmax',
    ...(line.step === true ? { step: 'end' } : {}),
    emphasis: { disabled: true },
  };
}

function titles(chart: ChartId, runs: readonly ChartRun[], settings: ChartSettings): Record<string, unknown>[] {
  const { theme } = settings;
  const style = { fontFamily: theme.fontFamily };
  return [
    {
      text: CHART_TITLES[chart],
      left: 12,
      top: 10,
      textStyle: { ...style, color: theme.text, fontSize: 16, fontWeight: 600 },
    },
    {
      text: footer(runs, settings.engineVersion),
      left: 12,
      bottom: 8,
      textStyle: { ...style, color: theme.mutedText, fontSize: 10, fontWeight: 400, lineHeight: FOOTER_LINE },
    },
  ];
}

/** Run ids, seed and presets, so that a picture in a report can be made again. */
function footer(runs: readonly ChartRun[], engineVersion?: string): string {
  const ids = runs.map((run) => `${run.label} ${run.runId}${run.partial ? ' (partial)' : ''}`);
  const rows: string[] = [];
  for (let index = 0; index < ids.length; index += 4) rows.push(ids.slice(index, index + 4).join('   '));
  const seeds = [...new Set(runs.map((run) => run.seed))].join(', ');
  const presets = [...new Set(runs.flatMap((run) => run.presets ?? []))].map((text) => ` · ${text}`).join('');
  return `${rows.join('\n')}\nseed ${seeds || '–'}${presets}${engineVersion === undefined ? '' : ` · IOVA Lab ${engineVersion}`}`;
}
