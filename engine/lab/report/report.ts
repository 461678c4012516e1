/**
 * The report of a lab: one page that says what was asked, what was run, what came out, what could not be done, and how sure each figure
 * is. The same inputs give the same bytes: no host and no hour stand in it.
 * Leaves out: PDF, which whoever shows the page prints.
 */
import type { LabFile } from '../container.ts';
import { ENGINE_VERSION } from '../engineVersion.ts';
import type { SummaryRow } from '../runTypes.ts';
import { certaintySection } from './certaintySection.ts';
import type { ReportColumn } from './columns.ts';
import { experimentSection } from './experimentSection.ts';
import { figuresSection } from './figuresSection.ts';
import { html } from './html.ts';
import { chartsSection } from './inlineCharts.ts';
import { limitsSection } from './limitsSection.ts';
import { page } from './page.ts';
import { reportParameters } from './parameters.ts';
import { chosenMetric, ranking, type Ranked } from './ranking.ts';
import { findUsed, sensitivity, type OnParameter, type Sensitivity, type UsedParameters } from './sensitivity.ts';
import { setupSection } from './setupSection.ts';
import { SmallForm } from './smallForm.ts';

export interface ReportOptions {
  /** A key of the summary; null: throughput, or where that is the same in all columns the next that is not. */
  readonly metric: string | null;
  readonly sensitivity: boolean;
  readonly onParameter?: OnParameter;
}

export interface LabReport {
  readonly markup: string;
  readonly metric: SummaryRow;
  readonly order: readonly Ranked[];
  readonly parameters: UsedParameters;
  readonly sensitivity: Sensitivity | null;
}

/** `columns`: what came of each run (columns.ts). */
export async function labReport(
  { lab, recordings }: LabFile,
  columns: readonly ReportColumn[],
  options: ReportOptions,
): Promise<LabReport> {
  const results = columns.flatMap(({ result }) => result ?? []);
  const { metric, passedOver } = chosenMetric(
    results.map(({ summary }) => summary),
    options.metric,
  );
  const summaries = columns.flatMap(({ comparison, result }) =>
    result === null ? [] : [[comparison.id, result.summary] as const],
  );
  const order = ranking(new Map(summaries), metric.key);
  const small = new SmallForm(lab, recordings);
  const parameters = findUsed(lab, small, reportParameters(lab), options.onParameter);
  const varied = options.sensitivity ? sensitivity(lab, small, parameters.used, metric.key, options.onParameter) : null;
  const shown = { lab, columns, metric, order };
  const markup = page(lab.name, [
    experimentSection(lab, results),
    figuresSection(columns, metric, passedOver, order),
    await chartsSection(lab, results),
    limitsSection(columns),
    certaintySection(shown, { parameters, requests: small.requests, sensitivity: varied }),
    setupSection(lab, columns, ENGINE_VERSION),
    html`<footer>
      Made by IOVA Lab ${ENGINE_VERSION} from the lab and its runs alone; the same lab gives the same report.
    </footer>`,
  ]);
  return { markup, metric, order, parameters, sensitivity: varied };
}
