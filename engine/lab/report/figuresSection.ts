/** The figures of all columns beside each other, as the summary has them, and the order by the chosen metric. */
import { formatQuantity } from '../quantity.ts';
import type { SummaryRow, SummaryUnit } from '../runTypes.ts';
import type { ReportColumn } from './columns.ts';
import { html, type Html } from './html.ts';
import { allLevel, areLevel, moreIsBetter, type Ranked } from './ranking.ts';

const UNITS: Readonly<Record<SummaryUnit, string>> = {
  count: 'number',
  bytes: 'bytes',
  ps: 'time',
  'bytes/s': 'bytes per second',
};

export function figuresSection(
  columns: readonly ReportColumn[],
  metric: SummaryRow,
  passedOver: readonly SummaryRow[],
  order: readonly Ranked[],
): Html {
  // Runs that a lab keeps may be of a time when it had other drives.
  const rows = new Map(
    columns.flatMap(({ result }) => (result?.summary.rows ?? []).map((row) => [row.key, row] as const)),
  );
  const heads = columns.map(
    ({ label, result }) => html`<th scope="col">${label}${result?.partial === true ? ' (partial)' : null}</th>`,
  );
  const body = [...rows.values()].map(
    ({ key, label, unit, help }) => html`<tr${key === metric.key ? html` class="chosen"` : null}>
      <th scope="row">${label}<span class="help">${help}</span></th><td>${UNITS[unit]}</td>
      ${columns.map(({ result }) => html`<td class="figure">${cell(result?.summary.rows.find((row) => row.key === key))}</td>`)}</tr>`,
  );
  return html`<section>
    <h2>Figures</h2>
    ${passedOver.length === 0 ? null : html`<p>All columns are level by ${passedOver.map(({ label }) => label).join(' and by ')}.</p>`}
    ${orderParagraph(columns, metric, order)}
    <table class="figures">
      <caption>
        Summary of every run, over virtual time. The row of the order above is marked.
      </caption>
      <thead>
        <tr>
          <th scope="col">metric</th>
          <th scope="col">unit</th>
          ${heads}
        </tr>
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </section>`;
}

/** The exact value goes along, for whoever computes with it. */
export function figure(value: number, unit: SummaryUnit): Html {
  const text = formatQuantity(value, unit);
  return Number.isFinite(value) ? html`<data value="${value}">${text}</data>` : html`${text}`;
}

function cell(row: SummaryRow | undefined): Html {
  return row === undefined ? html`–` : figure(row.value, row.unit);
}

function orderParagraph(columns: readonly ReportColumn[], metric: SummaryRow, order: readonly Ranked[]): Html {
  const best = order[0];
  if (best === undefined) return html`<p>No column has a figure for ${metric.label}.</p>`;
  const none = html`<p>All columns are level by ${metric.label}: it does not tell them apart here.</p>`;
  const places = order.map(({ id, value }, index) => {
    const before = order[index - 1];
    const level = before !== undefined && areLevel(before.value, value);
    return html`<li>
      ${labelOf(columns, id)}:
      ${figure(value, metric.unit)}${shareOf(value, best.value)}${level ? ', level with the one before' : null}
    </li>`;
  });
  return html`${order.length > 1 && allLevel(order) ? none : null}
    <p>By ${metric.label} (${moreIsBetter(metric.key) ? 'more' : 'less'} is better):</p>
    <ol>
      ${places}
    </ol>`;
}

export function labelOf(columns: readonly ReportColumn[], id: string): string {
  return columns.find(({ comparison }) => comparison.id === id)?.label ?? id;
}

function shareOf(value: number, best: number): string {
  return best === 0 || value === best ? '' : ` (${((100 * value) / best).toFixed(1)} % of the first)`;
}
