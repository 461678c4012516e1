/** `lab report`: one page about a lab and its runs, to read, print and send. Runs that the lab does not hold are made first. */
import { stat } from 'node:fs/promises';
import { atomicWrite } from '../../lab/atomicWrite.ts';
import { checkRecordings } from '../../lab/checkRuns.ts';
import { isSameFile } from '../../lab/exportFiles.ts';
import { readRecording } from '../../lab/recording.ts';
import { reportColumns } from '../../lab/report/columns.ts';
import { chosenMetric } from '../../lab/report/ranking.ts';
import { labReport, type LabReport } from '../../lab/report/report.ts';
import { SmallForm } from '../../lab/report/smallForm.ts';
import type { LabFile } from '../../lab/container.ts';
import { LabError } from '../../time/labError.ts';
import { openLab } from '../openLab.ts';
import { EXIT, ProgressLine, print, printJson, type ExitStatus } from '../output.ts';

export interface ReportVerbOptions {
  readonly output: string;
  readonly metric?: string;
  readonly sensitivity?: true;
  readonly json?: true;
}

export async function reportVerb(path: string, options: ReportVerbOptions): Promise<ExitStatus> {
  const file = await openLab(path);
  await refuseOverwriting(path, options.output);
  const recorded = file.lab.workloads.flatMap((workload) => {
    const files = workload.kind === 'replay' ? file.recordings.get(workload.recording) : undefined;
    return workload.kind === 'replay' && files ? [[workload.recording, readRecording(files)] as const] : [];
  });
  checkRecordings(file.lab, new Map(recorded), path);
  if (options.metric !== undefined) refuseUnknownMetric(file, options.metric);
  const progress = new ProgressLine();
  const columns = reportColumns(file, path, (label, share) => {
    if (progress.due) progress.show(`${label}  ${String(Math.floor(100 * share))} %`);
  });
  const refused = columns.filter(({ refusal }) => refusal !== null);
  if (refused.length === columns.length) throw refused[0]?.refusal ?? new Error('a lab has at least one column');
  const report = await labReport(file, columns, {
    metric: options.metric ?? null,
    sensitivity: options.sensitivity === true,
    onParameter: (name, index, total) => {
      if (progress.due) progress.show(`${name}  parameter ${String(index + 1)} of ${String(total)}`);
    },
  });
  progress.clear();
  await atomicWrite(options.output, report.markup);
  if (options.json) printJson(jsonOf(file, options.output, report));
  else for (const line of lines(file, options.output, report)) print(line);
  return EXIT.fine;
}

/** Before runs of hours, not after them. */
function refuseUnknownMetric({ lab, recordings }: LabFile, metric: string): void {
  const summaries = [...new SmallForm(lab, recordings, 1).summaries(lab).values()];
  if (summaries.length > 0) chosenMetric(summaries, metric);
}

async function refuseOverwriting(path: string, output: string): Promise<void> {
  const there = await stat(output).catch(() => null);
  if (there?.isDirectory() === true)
    throw new LabError(output, 'this is a folder, and a file is to be written.', 'Name a file, such as report.html.');
  if (await isSameFile(path, output))
    throw new LabError(output, 'this is the lab itself, which would be written over.', 'Choose another file.');
}

function turning({ sensitivity }: LabReport): string[] {
  return (sensitivity?.parameters ?? [])
    .filter(({ variations }) => variations.some(({ changed, lost }) => changed.length + lost.length > 0))
    .map(({ parameter }) => parameter.name);
}

function lines({ lab }: LabFile, output: string, report: LabReport): string[] {
  const { metric, order, parameters, sensitivity } = report;
  const label = (id: string): string => {
    const column = lab.comparison.find((candidate) => candidate.id === id);
    return column?.label ?? `${column?.scheme ?? id} ${column?.domain ?? ''}`;
  };
  const said = [`${output}: "${lab.name}", by ${metric.label}: ${order.map(({ id }) => label(id)).join(', ')}`];
  if (sensitivity === null) return said;
  const names = turning(report);
  const assumed = `${String(sensitivity.parameters.length)} assumed of ${String(parameters.used.length)} parameters in use`;
  return [
    ...said,
    `${assumed}; halved or doubled, ${names.length === 0 ? 'none of them changes' : `${names.join(', ')} ${names.length === 1 ? 'changes' : 'change'}`} the order`,
  ];
}

function jsonOf({ lab }: LabFile, output: string, report: LabReport): unknown {
  const { metric, order, parameters, sensitivity } = report;
  return {
    output,
    lab: lab.name,
    metric: metric.key,
    order,
    parameters: parameters.used.map(({ name, value, unit, mark, source }) => ({ name, value, unit, mark, source })),
    sensitivity:
      sensitivity === null
        ? null
        : sensitivity.parameters.map(({ parameter, variations, notTried }) => ({
            parameter: parameter.name,
            variations,
            notTried,
          })),
  };
}
