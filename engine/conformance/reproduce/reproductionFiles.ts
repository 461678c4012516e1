/**
 * A reproduction as files: each series as a chart of the measured and the model's points, and all points as CSV (RFC 4180). The x axis
 * is a scale of the points' own names, which suits windows, flows and kinds alike. Drawn as the lab's other charts are.
 */
import { chartSvg } from '../../lab/charts.ts';
import { LIGHT_THEME } from '../../lab/chartOptions.ts';
import { csv, field } from '../../lab/csv.ts';
import type { JudgedSeries, Reproduction } from './report.ts';

export async function reproductionSvg(series: JudgedSeries, title: string): Promise<string> {
  const { text, mutedText, line, grid, background, palette, fontFamily } = LIGHT_THEME;
  const axis = {
    nameTextStyle: { color: mutedText, fontFamily },
    axisLabel: { color: mutedText, fontFamily, hideOverlap: true },
    axisLine: { lineStyle: { color: line } },
  };
  return chartSvg({
    animation: false,
    backgroundColor: background,
    textStyle: { fontFamily },
    title: { text: series.name, subtext: title, left: 16, top: 8, textStyle: { color: text, fontSize: 16 } },
    legend: { right: 16, top: 12, textStyle: { color: text } },
    grid: { left: 72, right: 32, top: 72, bottom: 56 },
    xAxis: {
      ...axis,
      type: 'category',
      name: series.xName,
      nameLocation: 'middle',
      nameGap: 32,
      data: series.points.map((point) => point.x),
    },
    yAxis: { ...axis, type: 'value', name: series.unit, scale: false, splitLine: { lineStyle: { color: grid } } },
    series: [
      {
        type: 'line',
        name: 'measured',
        symbol: 'circle',
        symbolSize: 8,
        lineStyle: { color: palette[0], width: 2 },
        itemStyle: { color: palette[0] },
        data: series.points.map(({ reference }) => boundOf(reference)),
      },
      {
        type: 'line',
        name: 'model',
        symbol: 'diamond',
        symbolSize: 9,
        lineStyle: { color: palette[1], width: 2, type: [7, 4] },
        itemStyle: { color: palette[1] },
        data: series.points.map(({ model }) => model),
      },
    ],
  });
}

/** A bound stands at its limit. */
function boundOf(reference: number | string): number {
  return typeof reference === 'number' ? reference : Number(reference.slice(1));
}

/** A line a point; the error is a share. */
export function reproductionCsv({ series }: Reproduction): string {
  const lines = series.flatMap(({ name, unit, counted, points }) =>
    points.map(({ x, model, reference, error }) =>
      [field(name), field(x), model, field(String(reference)), field(unit), error, counted ? 'yes' : 'no'].join(','),
    ),
  );
  return csv(['series,x,model,reference,unit,error,counted', ...lines]);
}

/**
 * A file name for each series, from its name. Where two would be the same (which file systems that do not tell capitals apart decide,
 * too), the later ones are numbered, so that none is written over another; the same series get the same names.
 */
export function chartFileNames(series: readonly JudgedSeries[]): string[] {
  const taken = new Set<string>();
  return series.map(({ name }) => {
    const plain = name.replace(/[^A-Za-z0-9.-]+/g, '-').replace(/^[-.]+|-+$/g, '') || 'series';
    let free = plain;
    for (let number = 2; taken.has(free.toLowerCase()); number += 1) free = `${plain}-${String(number)}`;
    taken.add(free.toLowerCase());
    return `${free}.svg`;
  });
}
