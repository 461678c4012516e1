/**
 * Charts as files: SVG by ECharts' server-side renderer from the same options as the window, PNG from that SVG with the
 * fonts that we ship, so that neither the window nor the machine's fonts show in a report. Both libraries load on demand:
 * a command that draws nothing does not wait for them.
 */
import type { EChartsCoreOption, EChartsType } from 'echarts/core';
import { LIGHT_THEME, chartOption, type ChartId, type ChartRun } from './chartOptions.ts';
import { ENGINE_VERSION } from './engineVersion.ts';

export interface ChartSize {
  readonly width: number;
  readonly height: number;
}

const EXPORT_SIZE: ChartSize = { width: 1120, height: 560 };

type InitChart = (size: ChartSize) => EChartsType;

let loaded: Promise<InitChart> | null = null;

async function loadCharts(): Promise<InitChart> {
  const [core, charts, components, renderers] = await Promise.all([
    import('echarts/core'),
    import('echarts/charts'),
    import('echarts/components'),
    import('echarts/renderers'),
  ]);
  core.use([
    charts.LineChart,
    components.GridComponent,
    components.LegendPlainComponent,
    components.TitleComponent,
    components.AriaComponent,
    renderers.SVGRenderer,
  ]);
  return ({ width, height }) => core.init(null, null, { renderer: 'svg', ssr: true, width, height });
}

/** A chart as a whole SVG file. */
export async function renderChartSvg(chart: ChartId, runs: readonly ChartRun[], size = EXPORT_SIZE): Promise<string> {
  const { tooltip: _tooltip, ...option } = chartOption(chart, runs, {
    theme: LIGHT_THEME,
    standalone: true,
    engineVersion: ENGINE_VERSION,
  });
  return chartSvg(option, size);
}

/** Any options as a whole SVG file. */
export async function chartSvg(option: EChartsCoreOption, size = EXPORT_SIZE): Promise<string> {
  loaded ??= loadCharts();
  const init = await loaded;
  const instance = init(size);
  try {
    instance.setOption(option);
    return withoutInteraction(instance.renderToSVGString());
  } finally {
    instance.dispose();
  }
}

/** The SVG as PNG, `scale` pixels to a unit. `fontFiles`: the fonts of fixtures/fonts. */
export async function renderPng(svg: string, fontFiles: readonly string[], scale: 1 | 2 = 1): Promise<Uint8Array> {
  const { Resvg } = await import('@resvg/resvg-js');
  const image = new Resvg(svg, {
    fitTo: { mode: 'zoom', value: scale },
    font: { loadSystemFonts: false, fontFiles: [...fontFiles], defaultFontFamily: 'Inter', sansSerifFamily: 'Inter' },
  });
  return image.render().asPng();
}

/**
 * A picture has no pointer over it: what ECharts adds for one goes. Its names are numbered through a whole process, so they
 * would also make equal charts differ.
 */
function withoutInteraction(svg: string): string {
  return svg
    .replace(/<style ?>.*?<\/style>\s*/gs, '')
    .replace(/ class="zr\d+-cls-\d+"/g, '')
    .replace(/ ecmeta_\w+="[^"]*"/g, '')
    .replace(/\bzr\d+-/g, 'zr0-');
}
