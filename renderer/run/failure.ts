/** What stands where there is nothing to see because runs have failed. */
import type { Column } from '../stores/lab.ts';
import { strings } from '../strings.ts';

/** Of the run that is chosen, if it has failed, else of all that have; null: none has. */
export function failureWords(
  columns: readonly Column[],
  chosenId: string | null,
): { title: string; text: string } | null {
  const failed = columns.filter(({ run }) => run.status === 'failed');
  const chosen = failed.find(({ comparison }) => comparison.id === chosenId);
  const shown = chosen === undefined ? failed : [chosen];
  const [first] = shown;
  if (first === undefined) return null;
  const reasons = [...new Set(shown.map(({ run }) => run.error ?? ''))];
  return {
    title: shown.length === 1 ? strings.run.failedOne(first.label) : strings.run.failedAll(shown.length),
    text: reasons.length === 1 ? (reasons[0] ?? '') : strings.run.failedReasons,
  };
}
