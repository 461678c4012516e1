/**
 * The engine's chart option made ready for the window: its own legend and title stand in HTML around it, and the wheel and a
 * drag zoom.
 */
import { chartOption, type ChartId, type ChartRun } from '../../engine/lab/chartOptions.ts';
import type { Column } from '../stores/lab.ts';
import { windowTheme } from './chartTheme.ts';

/** The part of an option that this file knows. */
export interface WindowSeries {
  readonly id: string;
  readonly name: string;
  readonly data: Float64Array;
  readonly [key: string]: unknown;
}

export interface WindowOption {
  readonly series: readonly WindowSeries[];
  readonly tooltip: object;
  readonly [key: string]: unknown;
}

interface BuiltOption {
  readonly series: readonly WindowSeries[];
  readonly grid: object;
  readonly yAxis: object;
  readonly tooltip: object;
}

export function chartRuns(columns: readonly Column[], seed: number, hidden: ReadonlySet<string>): ChartRun[] {
  return columns.flatMap(({ comparison, label, slot, run, frame }) =>
    frame === null || hidden.has(comparison.id)
      ? []
      : [
          {
            runId: frame.runId,
            comparisonId: comparison.id,
            label,
            seed,
            partial: run.partial,
            series: frame,
            slot,
          },
        ],
  );
}

/** True when two lists of runs draw the same picture: frames are never written to, so the same series is the same object. */
export function sameRuns(before: readonly ChartRun[], now: readonly ChartRun[]): boolean {
  return (
    before.length === now.length &&
    now.every((run, index) => {
      const other = before[index];
      return (
        run.series === other?.series &&
        run.label === other.label &&
        run.slot === other.slot &&
        run.partial === other.partial
      );
    })
  );
}

export function windowChart(chart: ChartId, runs: readonly ChartRun[], dark: boolean): WindowOption {
  const theme = windowTheme(dark);
  const built = chartOption(chart, runs, { theme, standalone: false }) as unknown as BuiltOption;
  return {
    ...built,
    legend: { show: false },
    grid: { ...built.grid, left: 62, right: 14, top: 26, bottom: 24 },
    yAxis: {
      ...built.yAxis,
      nameTextStyle: { color: theme.mutedText, fontSize: 10, align: 'left', padding: [0, 0, 0, -54] },
    },
    tooltip: {
      ...built.tooltip,
      // As the lines lie above each other at the crosshair.
      order: 'valueDesc',
      backgroundColor: dark ? '#272c34' : '#ffffff',
      borderColor: dark ? '#3d4550' : '#d8dde4',
      textStyle: { color: theme.text, fontSize: 11, fontFamily: theme.fontFamily },
      padding: [6, 9],
      transitionDuration: 0,
    },
    dataZoom: [
      {
        type: 'inside',
        xAxisIndex: 0,
        filterMode: 'none',
        zoomOnMouseWheel: true,
        moveOnMouseMove: 'shift',
        minSpan: 0.05,
      },
    ],
    // Selecting a range by drag is a feature of the toolbox, which therefore exists, out of sight.
    toolbox: { top: -60, itemSize: 1, feature: { dataZoom: { yAxisIndex: 'none', filterMode: 'none' } } },
    // Runs enter the chart as they start: without this the last to start would lie on top, not the last column.
    series: built.series.map((series, index) => ({ ...series, z: 2 + index })),
  };
}
