/**
 * How sure the figures are: every parameter that they depend on with its source, what of the kernel profile is assumed, and what becomes
 * of the order when an assumed parameter is wrong by a factor of two.
 */
import { kernelProfileSheet } from '../kernelProfiles.ts';
import type { SummaryRow } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';
import type { ReportColumn } from './columns.ts';
import { figure, labelOf } from './figuresSection.ts';
import { html, type Html } from './html.ts';
import { isAssumed, type ReportParameter } from './parameters.ts';
import { allLevel, changedPlaces, type Ranked } from './ranking.ts';
import type { ParameterSensitivity, Sensitivity, UsedParameters, Variation } from './sensitivity.ts';

export interface Certainty {
  readonly parameters: UsedParameters;
  /** Requests of each run that showed which parameters are in use. */
  readonly requests: number;
  /** Null: not asked for. */
  readonly sensitivity: Sensitivity | null;
}

const MARKS: Readonly<Record<ReportParameter['mark'], string>> = {
  measured: 'measured',
  derived: 'derived',
  assumed: 'assumed',
  lab: 'set in this lab',
};

interface Shown {
  readonly lab: LabDocument;
  readonly columns: readonly ReportColumn[];
  readonly metric: SummaryRow;
  readonly order: readonly Ranked[];
}

export function certaintySection(shown: Shown, certainty: Certainty): Html {
  const { used, unused, unknown } = certainty.parameters;
  const counts = (Object.keys(MARKS) as ReportParameter['mark'][]).map(
    (mark) => `${String(used.filter((parameter) => parameter.mark === mark).length)} ${MARKS[mark]}`,
  );
  return html`<section>
    <h2>How sure each figure is</h2>
    <p>
      The figures above depend on ${used.length} parameters: ${counts.join(', ')}. A parameter counts as in use when
      doubling it alone changes any figure of any column within the first ${certainty.requests} requests.
    </p>
    <table>
      <caption>
        Parameters in use
      </caption>
      <thead>
        <tr>
          <th scope="col">parameter</th>
          <th scope="col">value</th>
          <th scope="col">unit</th>
          <th scope="col">mark</th>
          <th scope="col">source</th>
        </tr>
      </thead>
      <tbody>
        ${used.map(parameterRow)}
      </tbody>
    </table>
    ${
      unknown.length === 0
        ? null
        : html`<table>
            <caption>
              Parameters that cannot be doubled, so that their use is not known
            </caption>
            <thead>
              <tr>
                <th scope="col">parameter</th>
                <th scope="col">value</th>
                <th scope="col">unit</th>
                <th scope="col">mark</th>
                <th scope="col">source</th>
              </tr>
            </thead>
            <tbody>
              ${unknown.map(parameterRow)}
            </tbody>
          </table>`
    }
    <p class="aside">
      Not in use in this lab: ${unused.length === 0 ? 'none' : unused.map(({ name }) => name).join(', ')}.
    </p>
    ${kernelParagraph(shown.lab)}
    ${certainty.sensitivity === null ? notAsked(used) : sensitivityPart(shown, certainty.sensitivity)}
  </section>`;
}

function parameterRow({ name, value, unit, mark, source, help, range }: ReportParameter): Html {
  const between = range === null ? null : html` <span class="help">between ${range.join(' and ')}</span>`;
  return html`<tr class="${mark}">
    <th scope="row">${name}<span class="help">${help}</span></th>
    <td class="figure">${String(value)}${between}</td>
    <td class="short">${unit}</td>
    <td class="short mark">${MARKS[mark]}</td>
    <td>${source}</td>
  </tr>`;
}

function kernelParagraph(lab: LabDocument): Html {
  const assumed = kernelProfileSheet(lab.kernelProfile).filter(({ mark }) => mark === 'assumed');
  if (assumed.length === 0)
    return html`<p>Every behaviour of the kernel profile ${lab.kernelProfile} is recorded or read in its source.</p>`;
  return html`<p>Assumed of the kernel profile ${lab.kernelProfile}:</p>
    <ul>
      ${assumed.map(({ behaviour, value, source }) => html`<li>${behaviour}: ${value} (${source})</li>`)}
    </ul>`;
}

function notAsked(used: readonly ReportParameter[]): Html {
  const assumed = used.filter(isAssumed).length;
  return html`<p>
    Whether the order of the columns hangs on the ${assumed} of them that nobody has measured was not tried in this
    report; <code>lab report --sensitivity</code> does.
  </p>`;
}

function sensitivityPart({ columns, metric, order }: Shown, sensitivity: Sensitivity): Html {
  const { base, parameters, requests } = sensitivity;
  const label = (id: string): string => labelOf(columns, id);
  const turning = parameters.filter(({ variations }) => variations.some(changesOrder));
  const alike = changedPlaces(order, base).length === 0;
  const otherOrder = html`<strong>The whole runs have another order</strong>: ${orderText(order, metric, label)}. The
    table speaks for the first requests only.`;
  const rows = parameters.flatMap((one) => variationRows(one, base, metric, label));
  return html`<h3>If an assumed parameter is wrong</h3>
    <p>
      ${turning.length} of ${parameters.length} assumed parameters change the order by ${metric.label} when they are
      halved or
      doubled${turning.length === 0 ? null : `: ${turning.map(({ parameter }) => parameter.name).join(', ')}`}. Each was
      changed alone, and every column was run again for its first ${requests} requests. Columns within 0.1 % of each
      other count as level. What is measured or derived was not changed, nor were two parameters at once.
    </p>
    <p>
      With nothing changed, those first requests alone give ${orderText(base, metric, label)}.
      ${allLevel(base) ? 'There is no order among them that could change.' : alike ? 'The whole runs have the same order.' : otherOrder}
    </p>
    <table>
      <caption>
        Order by ${metric.label}, best first, with one parameter changed
      </caption>
      <thead>
        <tr>
          <th scope="col">parameter</th>
          <th scope="col">value</th>
          <th scope="col">instead of</th>
          <th scope="col">largest change of a figure</th>
          <th scope="col">order</th>
          <th scope="col">best first</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>`;
}

function changesOrder({ changed, lost }: Variation): boolean {
  return changed.length > 0 || lost.length > 0;
}

function variationRows(
  { parameter, variations, notTried }: ParameterSensitivity,
  base: readonly Ranked[],
  metric: SummaryRow,
  label: (id: string) => string,
): Html[] {
  const { name, value, unit } = parameter;
  return [
    ...variations.map(
      (
        variation,
      ) => html`<tr${changesOrder(variation) ? html` class="turns"` : null}><th scope="row" class="short">${name}</th>
        <td class="figure">${variation.value} ${unit}</td><td class="figure">${String(value)}</td>
        <td class="figure">${(100 * variation.largestChange).toFixed(1)} %</td>
        <td class="short">${changesOrder(variation) ? html`<strong>changes</strong>` : 'unchanged'}</td>
        <td>${changesOrder(variation) ? changeText(variation, base, metric, label) : null}${orderText(variation.order, metric, label)}</td></tr>`,
    ),
    ...notTried.map(
      (reason) =>
        html`<tr>
          <th scope="row" class="short">${name}</th>
          <td class="figure">–</td>
          <td class="figure">${String(value)}</td>
          <td class="figure">–</td>
          <td class="short">not tried</td>
          <td>${reason}</td>
        </tr>`,
    ),
  ];
}

function changeText(
  { order, changed, lost }: Variation,
  base: readonly Ranked[],
  metric: SummaryRow,
  label: (id: string) => string,
): Html {
  const at = (places: readonly Ranked[], id: string): Html =>
    figure(places.find((place) => place.id === id)?.value ?? Number.NaN, metric.unit);
  const swaps = changed.map(
    ({ before, after }) =>
      html`<li>
        ${label(after)} (${at(order, after)}) passes ${label(before)} (${at(order, before)}); before, it was
        ${at(base, after)} against ${at(base, before)}
      </li>`,
  );
  const gone = lost.map((id) => html`<li>${label(id)} cannot run with it</li>`);
  return html`<ul>
    ${swaps}${gone}
  </ul>`;
}

function orderText(order: readonly Ranked[], metric: SummaryRow, label: (id: string) => string): Html {
  return html`${order.map(({ id, value }, index) => html`${index === 0 ? null : ', '}${label(id)} ${figure(value, metric.unit)}`)}`;
}
