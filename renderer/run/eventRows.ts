/** The lines of the event pane: what the runs logged in virtual time, and what the app itself has to say, worst not first but in order. */
import type { AppMessage } from '../../electron/ipc/api.ts';
import { formatTime } from '../../engine/lab/quantity.ts';
import type { LogSeverity } from '../../engine/metrics/eventLog.ts';
import type { Column } from '../stores/lab.ts';
import { strings } from '../strings.ts';

export interface EventRow {
  readonly severity: LogSeverity;
  readonly when: string;
  /** Place of the run among the columns, null for the app's own lines. */
  readonly slot: number | null;
  readonly run: string;
  readonly source: string;
  readonly message: string;
}

export function eventRows(columns: readonly Column[], messages: readonly AppMessage[]): EventRow[] {
  const own = messages.map(({ severity, text, at }): EventRow => ({
    severity,
    when: new Date(at).toLocaleTimeString('en-GB'),
    slot: null,
    run: strings.app.name,
    source: strings.events.app,
    message: text,
  }));
  const failures = columns.flatMap(({ label, slot, run }): EventRow[] =>
    run.error === null
      ? []
      : [
          {
            severity: 'error',
            when: run.progress === null ? '' : formatTime(run.progress.virtualTimePs),
            slot,
            run: label,
            source: strings.events.run.toLowerCase(),
            message: run.error,
          },
        ],
  );
  const logged = columns
    .flatMap(({ label, slot, frame }) => (frame?.log ?? []).map((entry) => ({ entry, label, slot })))
    .sort((left, right) => left.entry.at - right.entry.at)
    .map(({ entry, label, slot }): EventRow => ({
      severity: entry.severity,
      when: formatTime(entry.at),
      slot,
      run: label,
      source: entry.source,
      message: entry.message,
    }));
  return [...own, ...failures, ...logged];
}
