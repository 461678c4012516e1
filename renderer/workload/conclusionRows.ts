/** The conclusions of a lab as rows for people, held against the runs that the window has. */
import { holdConclusions, type Held } from '../../engine/lab/conclusions.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';
import type { Column } from '../stores/lab.ts';

export interface ConclusionRow {
  readonly claim: string;
  readonly figures: string;
  /** Open: a run that it speaks of is missing, was stopped half way, or belongs to an older lab. */
  readonly state: 'holds' | 'fails' | 'open';
}

export function conclusionRows(lab: LabDocument, columns: readonly Column[]): ConclusionRow[] {
  const ended = columns.flatMap(({ comparison, run }): Held[] =>
    run.status === 'done' && run.summary !== null && !run.outdated
      ? [{ comparisonId: comparison.id, summary: run.summary, counters: run.counters ?? {}, partial: run.partial }]
      : [],
  );
  const ids = new Set(ended.map(({ comparisonId }) => comparisonId));
  const conclusions = lab.experiment?.conclusions ?? [];
  return holdConclusions(lab, ended).map(({ claim, figures, holds }, index) => {
    const runs = [conclusions[index]?.of, conclusions[index]?.to];
    if (runs.some((run) => typeof run === 'string' && !ids.has(run))) return { claim, figures: '', state: 'open' };
    return { claim, figures, state: holds ? 'holds' : 'fails' };
  });
}
