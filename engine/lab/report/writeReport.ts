/** The report of runs that have just been made, as a file beside their other results. */
import { join } from 'node:path';
import { atomicWrite } from '../atomicWrite.ts';
import type { LabFile } from '../container.ts';
import type { RunResult } from '../runTypes.ts';
import { labReport } from './report.ts';
import type { OnParameter } from './sensitivity.ts';

const NAME = 'report.html';

/** Returns the name written below `folder`. Sensitivities, which take many runs more, are left to `lab report`. */
export async function writeReport(
  folder: string,
  file: LabFile,
  results: readonly RunResult[],
  onParameter: OnParameter,
): Promise<string> {
  const columns = results.flatMap((result) => {
    const comparison = file.lab.comparison.find(({ id }) => id === result.comparisonId);
    return comparison === undefined ? [] : [{ comparison, label: result.label, result, stored: false, refusal: null }];
  });
  const { markup } = await labReport(file, columns, { metric: null, sensitivity: false, onParameter });
  await atomicWrite(join(folder, NAME), markup);
  return NAME;
}
