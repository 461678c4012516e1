/** `lab run`: every column of the comparison, one after the other, headless. */
import { parseLab, withAssignment } from '../../lab/check.ts';
import { holdConclusions } from '../../lab/conclusions.ts';
import { withValueAt } from '../../lab/documentPath.ts';
import { checkRecordings, prepareRun } from '../../lab/checkRuns.ts';
import type { LabFile } from '../../lab/container.ts';
import { formatQuantity, formatTime } from '../../lab/quantity.ts';
import { readRecording } from '../../lab/recording.ts';
import type { RunProgress, RunResult } from '../../lab/runTypes.ts';
import { summaryTable } from '../../lab/summary.ts';
import { errorLines, errorsOf } from '../errorLines.ts';
import { misuseLines } from '../misuses.ts';
import { LabError } from '../../time/labError.ts';
import type { Recording } from '../../workloads/recordedRequest.ts';
import { labBaseName, openLab } from '../openLab.ts';
import { EXIT, ProgressLine, print, printJson, type ExitStatus } from '../output.ts';

export interface RunVerbOptions {
  readonly set: readonly string[];
  readonly seed?: string;
  readonly out?: string;
  readonly json?: true;
  readonly fontFiles: readonly string[];
}

/** Events between two looks at the clock. */
const SLICE = 20_000;

export async function runVerb(path: string, options: RunVerbOptions): Promise<ExitStatus> {
  const file = changed(await openLab(path), options);
  checkRecordings(file.lab, replayed(file), path);
  if (options.out !== undefined) await prepareOut(options.out, path);
  const progress = new ProgressLine();
  const results: RunResult[] = [];
  for (const comparison of file.lab.comparison) {
    const run = prepareRun(file.lab, comparison.id, file.recordings, path);
    while (run.advance(SLICE) === 'running')
      if (progress.due) progress.show(progressText(run.label, run.progress(), progress.elapsedSeconds));
    results.push(run.result());
  }
  progress.clear();
  const conclusions = holdConclusions(file.lab, results);
  const written =
    options.out === undefined ? null : await writeOut(options.out, path, file, results, options.fontFiles);
  if (options.json) printJson({ ...jsonOf(file, results, written), conclusions });
  else {
    print(summaryTable(results));
    print('');
    print(`seed ${file.lab.seed}, kernel profile ${file.lab.kernelProfile}, cost preset ${file.lab.costs.preset}`);
    for (const result of results)
      print(`run ${result.id}  ${result.label}, ${formatTime(result.progress.virtualTimePs)} of virtual time`);
    for (const line of [...errorLines(results), ...misuseLines(results)]) print(line);
    for (const { claim, figures, holds } of conclusions)
      print(`${holds ? 'holds' : 'DOES NOT HOLD'}: ${claim}\n  ${figures}`);
    if (written) print(`\n${options.out ?? ''}: ${written.join(', ')}`);
  }
  const stopped = results.some(({ checker }) => checker?.stopped === true);
  return stopped || conclusions.some(({ holds }) => !holds) ? EXIT.checkFailed : EXIT.fine;
}

function changed(file: LabFile, options: RunVerbOptions): LabFile {
  let document: unknown = file.lab;
  for (const text of options.set) document = withAssignment(document, text);
  if (options.seed !== undefined) {
    const seed = Number(options.seed);
    if (!/^\d+$/.test(options.seed) || seed > 0xffff_ffff)
      throw new LabError(`--seed ${options.seed}`, 'this is no seed.', 'Use a whole number from 0 to 4294967295.');
    document = withValueAt(document, 'seed', seed);
  }
  if (document === file.lab) return file;
  return { ...file, lab: parseLab(document, '--set', new Set(file.recordings.keys())) };
}

/** The recordings that a workload replays. */
function replayed({ lab, recordings }: LabFile): Map<string, Recording> {
  const read = new Map<string, Recording>();
  for (const workload of lab.workloads) {
    const files = workload.kind === 'replay' ? recordings.get(workload.recording) : undefined;
    if (workload.kind === 'replay' && files) read.set(workload.recording, readRecording(files));
  }
  return read;
}

async function prepareOut(folder: string, path: string): Promise<void> {
  const { prepareExportFolder } = await import('../../lab/exportFiles.ts');
  await prepareExportFolder(folder, labBaseName(path), path);
}

async function writeOut(
  folder: string,
  path: string,
  file: LabFile,
  results: readonly RunResult[],
  fontFiles: readonly string[],
): Promise<string[]> {
  const { exportAll } = await import('../../lab/exportFiles.ts');
  const written = await exportAll(folder, file, results, { name: labBaseName(path), fontFiles });
  // a lab that is to show something is handed over with what it shows
  if (file.lab.experiment === undefined) return written;
  const { writeReport } = await import('../../lab/report/writeReport.ts');
  const progress = new ProgressLine();
  const report = await writeReport(folder, file, results, (name, index, total) => {
    if (progress.due) progress.show(`report: ${name}, parameter ${String(index + 1)} of ${String(total)}`);
  });
  progress.clear();
  return [...written, report];
}

function jsonOf(
  file: LabFile,
  results: readonly RunResult[],
  written: readonly string[] | null,
): Record<string, unknown> {
  return {
    lab: file.lab.name,
    seed: file.lab.seed,
    runs: results.map((result) => ({
      id: result.id,
      comparisonId: result.comparisonId,
      label: result.label,
      engineVersion: result.engineVersion,
      partial: result.partial,
      virtualTimePs: result.progress.virtualTimePs,
      summary: Object.fromEntries(result.summary.rows.map((row) => [row.key, row.value])),
      counters: result.counters,
      errors: errorsOf(result),
      ...(result.checker === undefined ? {} : { checker: result.checker }),
    })),
    files: written ?? [],
  };
}

function progressText(label: string, progress: RunProgress, seconds: number): string {
  const share = progress.total > 0 ? `${Math.floor((100 * progress.completed) / progress.total)} %` : '';
  const requests = formatQuantity(progress.completed, 'count');
  return `${label}  ${share}  ${requests} requests  ${formatTime(progress.virtualTimePs)} of virtual time  ${seconds.toFixed(1)} s`;
}
