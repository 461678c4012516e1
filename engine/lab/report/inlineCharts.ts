/**
 * The lab's charts inside a page: as charts.ts draws them, with ids of their own, since several stand in one page, and with attributes in
 * place of inline styles, which the page's policy refuses. Labels in them are a stranger's: what is not a picture is not let in.
 */
import { CHART_IDS, CHART_TITLES } from '../chartOptions.ts';
import { renderChartSvg } from '../charts.ts';
import { chartRuns } from '../exportFiles.ts';
import type { RunResult } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';
import { Html, html } from './html.ts';

const ELEMENTS: ReadonlySet<string> = new Set(
  ['svg', 'g', 'path', 'rect', 'text', 'defs', 'clipPath', 'polyline', 'polygon', 'circle', 'line'].flatMap((name) => [
    name,
    `/${name}`,
  ]),
);

export async function chartsSection(lab: LabDocument, results: readonly RunResult[]): Promise<Html> {
  const runs = chartRuns(lab, results);
  if (runs.length === 0)
    return html`<section>
      <h2>Charts</h2>
      <p>No column has run.</p>
    </section>`;
  const figures: Html[] = [];
  for (const chart of CHART_IDS) {
    const svg = inlined(await renderChartSvg(chart, runs), chart);
    figures.push(html`<figure role="img" aria-label="${CHART_TITLES[chart]}">${svg}</figure>`);
  }
  return html`<section class="charts">
    <h2>Charts</h2>
    ${figures}
  </section>`;
}

/** `name` makes the ids its own. */
export function inlined(svg: string, name: string): Html {
  const markup = svg.replace(/<([^\s<>]+)([^<>]*)>/g, (tag, element: string, attributes: string) => {
    if (!ELEMENTS.has(element) || /\s(?:on\w*|href|xlink:href)\s*=/i.test(attributes)) {
      throw new Error(`a chart holds what is no picture: ${tag.slice(0, 80)}`);
    }
    return `<${element}${attributes
      .replace(/ style="([^"]*)"/g, (_, style: string) => asAttributes(style))
      .replace(/((?: id="|url\(#))zr0-/g, `$1${name}-`)}>`;
  });
  return new Html(markup);
}

function asAttributes(style: string): string {
  return style
    .split(';')
    .filter((property) => property.includes(':'))
    .map((property) => {
      const colon = property.indexOf(':');
      return ` ${property.slice(0, colon).trim()}="${property.slice(colon + 1).trim()}"`;
    })
    .join('');
}
