/**
 * The columns of a lab with what came of each: the result that the file holds of just these inputs, or else a run made now; or, where
 * its machine cannot be built or the run cannot be made, the reason.
 */
import { LabError } from '../../time/labError.ts';
import { prepareRun } from '../checkRuns.ts';
import type { LabFile } from '../container.ts';
import { runId } from '../runIdentity.ts';
import type { RunResult } from '../runTypes.ts';
import type { Comparison } from '../schema.ts';

export interface ReportColumn {
  readonly comparison: Comparison;
  readonly label: string;
  /** Null: refused. */
  readonly result: RunResult | null;
  /** The file held it. */
  readonly stored: boolean;
  readonly refusal: LabError | null;
}

const SLICE = 20_000;

/** `onSlice`: told between slices of a run, with its share. */
export function reportColumns(
  file: LabFile,
  where: string,
  onSlice: (label: string, share: number) => void = () => undefined,
): ReportColumn[] {
  return file.lab.comparison.map((comparison) => {
    const label = comparison.label ?? `${comparison.scheme} ${comparison.domain}`;
    const stored = file.runs.get(runId(file.lab, comparison, file.recordings));
    if (stored?.partial === false && stored.comparisonId === comparison.id)
      return { comparison, label, result: stored, stored: true, refusal: null };
    try {
      const run = prepareRun(file.lab, comparison.id, file.recordings, where);
      while (run.advance(SLICE) === 'running') {
        const { completed, total } = run.progress();
        onSlice(label, total > 0 ? completed / total : 0);
      }
      return { comparison, label, result: run.result(), stored: false, refusal: null };
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      return { comparison, label, result: null, stored: false, refusal: error };
    }
  });
}
