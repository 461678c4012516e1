/**
 * What each column could not do, and why: machines that could not be built, runs that ended early, accesses that were refused, warnings
 * and errors of the run's log, misuses that the API checker found. A column of which nothing is said here did all that was asked.
 */
import { MISUSE_TITLES, type MisuseKind } from '../misuseNames.ts';
import { formatQuantity } from '../quantity.ts';
import type { RunResult } from '../runTypes.ts';
import type { ReportColumn } from './columns.ts';
import { html, type Html } from './html.ts';

/** Counters that say that something did not go the straight way. */
const TELLING = {
  faults: 'accesses that the IOMMU refused',
  iotlbMissesFaulted: 'page walks that ended in a fault',
  staleWindowAccesses: 'accesses to pages that were unmapped and not yet invalidated',
  bounces: 'buffers copied through bounce buffers',
  bytesBounced: 'bytes copied through bounce buffers',
} as const;
const MOST_MESSAGES = 8;

export function limitsSection(columns: readonly ReportColumn[]): Html {
  return html`<section>
    <h2>What each column could not do, and why</h2>
    <dl class="limits">
      ${columns.map(
        (column) =>
          html`<dt>${column.label}</dt>
            ${entries(column)}`,
      )}
    </dl>
  </section>`;
}

function entries({ result, refusal }: ReportColumn): Html[] {
  if (result === null) {
    return [html`<dd>Refused: ${refusal === null ? 'no reason given' : refusal.message}</dd>`];
  }
  const said = [...progressEntries(result), ...counterEntries(result), ...logEntries(result), ...misuseEntries(result)];
  const { completed } = result.progress;
  const fine = html`<dd>
    Nothing of this kind: ${formatQuantity(completed, 'count')} requests of
    ${formatQuantity(result.progress.total, 'count')} completed,
    ${formatQuantity(result.counters['faults'] ?? 0, 'count')} faults.
  </dd>`;
  return said.length === 0 ? [fine] : said;
}

function progressEntries({ progress: { completed, total }, partial }: RunResult): Html[] {
  if (!partial && completed >= total) return [];
  return [
    html`<dd>
      Ended early: ${formatQuantity(completed, 'count')} requests of ${formatQuantity(total, 'count')} completed.
    </dd>`,
  ];
}

function counterEntries({ counters }: RunResult): Html[] {
  return Object.entries(TELLING).flatMap(([name, meaning]) => {
    const count = counters[name] ?? 0;
    return count === 0 ? [] : [html`<dd>${formatQuantity(count, 'count')} ${meaning} (${name}).</dd>`];
  });
}

/** Equal messages once, with how often the log has them. */
function logEntries({ log }: RunResult): Html[] {
  const counts = new Map<string, number>();
  for (const { severity, source, message, misuse } of log) {
    // Misuses are counted by their kinds.
    if (severity === 'info' || misuse !== undefined) continue;
    const text = `${severity}, ${source}: ${message}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const shown = [...counts].slice(0, MOST_MESSAGES);
  const more = counts.size - shown.length;
  return [
    ...shown.map(
      ([text, count]) => html`<dd>${text}${count === 1 ? null : ` (${String(count)} times in the log)`}</dd>`,
    ),
    ...(more === 0 ? [] : [html`<dd>${more} other warnings and errors in the log of the run.</dd>`]),
  ];
}

function misuseEntries({ checker }: RunResult): Html[] {
  if (checker === undefined || checker.errorCount === 0) return [];
  const kinds = (Object.keys(MISUSE_TITLES) as MisuseKind[]).flatMap((kind) => {
    const count = checker.byKind[kind] ?? 0;
    return count === 0 ? [] : [`${String(count)} of "${MISUSE_TITLES[kind]}"`];
  });
  return [
    html`<dd>
      Misuses of the DMA API: ${kinds.join(', ')}${checker.stopped ? '; the run was stopped there' : null}.
    </dd>`,
  ];
}
