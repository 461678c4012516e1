/**
 * The lines of the event pane: what the runs logged in virtual time, and what the app itself has to say, worst not first but in
 * order; and those of the pane of faults and misuses, which leaves out everything else but holds every misuse that was kept.
 */
import type { AppMessage } from '../../electron/ipc/api.ts';
import type { ApiMisuse } from '../../engine/lab/misuseNames.ts';
import { formatTime } from '../../engine/lab/quantity.ts';
import type { LogSeverity } from '../../engine/metrics/eventLog.ts';
import type { Column } from '../stores/lab.ts';
import { strings } from '../strings.ts';

export interface EventRow {
  /** The same for the same event in every picture of the rows. */
  readonly key: string;
  readonly severity: LogSeverity;
  readonly when: string;
  /** Place of the run among the columns, null for the app's own lines. */
  readonly slot: number | null;
  readonly run: string;
  readonly source: string;
  readonly message: string;
  /** The misuse of the DMA API that the line speaks of, with the calls before it. */
  readonly misuse: ApiMisuse | null;
}

interface TimedRow {
  readonly at: number;
  readonly row: EventRow;
}

export function eventRows(columns: readonly Column[], messages: readonly AppMessage[]): EventRow[] {
  const own = messages.map(({ severity, text, at }, index): EventRow => ({
    key: `app/${index}/${at}`,
    severity,
    when: new Date(at).toLocaleTimeString('en-GB'),
    slot: null,
    run: strings.app.name,
    source: strings.events.app,
    message: text,
    misuse: null,
  }));
  return [...own, ...failures(columns), ...inOrder(columns.flatMap(logged))];
}

export function faultRows(columns: readonly Column[]): EventRow[] {
  const serious = columns.flatMap((column) =>
    logged(column).filter(({ row }) => row.severity !== 'info' && row.misuse === null),
  );
  return [...failures(columns), ...inOrder([...serious, ...columns.flatMap(misused)])];
}

function failures(columns: readonly Column[]): EventRow[] {
  return columns.flatMap(({ comparison, label, slot, run }): EventRow[] =>
    run.error === null
      ? []
      : [
          {
            key: `${comparison.id}/failure`,
            severity: 'error',
            when: run.progress === null ? '' : formatTime(run.progress.virtualTimePs),
            slot,
            run: label,
            source: strings.events.run.toLowerCase(),
            message: run.error,
            misuse: null,
          },
        ],
  );
}

function logged({ comparison, label, slot, frame }: Column): TimedRow[] {
  return (frame?.log ?? []).map((entry, index) => {
    const misuse = entry.misuse === undefined ? null : (frame?.checker?.misuses[entry.misuse - 1] ?? null);
    const { at, severity, source, message } = entry;
    const key = misuse === null ? `${comparison.id}/${index}/${at}` : `${comparison.id}/misuse ${entry.misuse ?? 0}`;
    return { at, row: { key, severity, when: formatTime(at), slot, run: label, source, message, misuse } };
  });
}

function misused({ comparison, label, slot, frame }: Column): TimedRow[] {
  return (frame?.checker?.misuses ?? []).map((misuse, index) => ({
    at: misuse.at,
    row: {
      key: `${comparison.id}/misuse ${index + 1}`,
      severity: 'error',
      when: formatTime(misuse.at),
      slot,
      run: label,
      source: strings.checker.source,
      message: `${misuse.driver} ${misuse.device}: ${misuse.message}`,
      misuse,
    },
  }));
}

function inOrder(rows: readonly TimedRow[]): EventRow[] {
  return [...rows].sort((left, right) => left.at - right.at).map(({ row }) => row);
}

/** A line of the table: an event, or one of the calls before a misuse that is open. */
export type EventLine =
  | { readonly kind: 'event'; readonly key: string; readonly row: EventRow }
  | {
      readonly kind: 'call';
      readonly key: string;
      readonly when: string;
      readonly who: string;
      readonly text: string;
      /** The call that is at fault, after those that came before it. */
      readonly atFault: boolean;
    };

export function eventLines(rows: readonly EventRow[], open: ReadonlySet<string>): EventLine[] {
  return rows.flatMap((row): EventLine[] => {
    const { key, misuse } = row;
    const line: EventLine = { kind: 'event', key, row };
    if (misuse === null || !open.has(key)) return [line];
    const calls = misuse.history.map((past, index): EventLine => ({
      kind: 'call',
      key: `${key}/${index}`,
      when: formatTime(past.at),
      who: caller(past.cpu),
      text: past.text,
      atFault: false,
    }));
    const fault: EventLine = {
      kind: 'call',
      key: `${key}/fault`,
      when: formatTime(misuse.at),
      who: caller(misuse.cpu),
      text: misuse.call,
      atFault: true,
    };
    if (misuse.omitted === 0) return [line, ...calls, fault];
    const gap: EventLine = {
      kind: 'call',
      key: `${key}/gap`,
      when: '',
      who: '',
      text: strings.checker.omitted(misuse.omitted),
      atFault: false,
    };
    return [line, ...calls.slice(0, FIRST_CALLS), gap, ...calls.slice(FIRST_CALLS), fault];
  });
}

/** Of a history that lacks calls, so many come before the gap (engine/dma/checker/callHistory.ts). */
const FIRST_CALLS = 8;

function caller(cpu: number): string {
  return cpu < 0 ? strings.checker.device : strings.checker.cpu(cpu);
}
