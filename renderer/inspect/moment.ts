/** Which moment of which run the window looks at: the one that is computed, else the one chosen in a chart, else the end. */
import type { MomentSnapshot } from '../../engine/lab/momentNames.ts';
import type { Column } from '../stores/lab.ts';

export interface Moment {
  readonly runId: string;
  /** The look that is kept is into this run. */
  readonly mine: boolean;
  readonly at: number;
  readonly end: number;
  readonly snapshot: MomentSnapshot | null;
}

interface Look {
  readonly runId: string;
  readonly at: number;
  readonly snapshot: MomentSnapshot | null;
}

export function momentOf(column: Column, look: Look, chosen: number | null): Moment {
  const runId = column.run.runId ?? '';
  const end = column.run.progress?.virtualTimePs ?? 0;
  const mine = look.runId === runId;
  return { runId, mine, end, at: mine ? look.at : Math.min(chosen ?? end, end), snapshot: mine ? look.snapshot : null };
}

/** Runs that have come to an end of their own or the user's can be computed again. */
export function canBeLookedInto({ run }: Column): boolean {
  return run.status === 'done' || run.status === 'cancelled';
}
