/** `lab conform`: recordings of real systems, replayed and compared. One line a file as it goes; exit 0 only if all agree. */
import { conformRecording, LINUX_TRACE_SUITE } from '../../conformance/linuxTrace.ts';
import { conformApiRecording, LINUX_API_SUITE } from '../../conformance/linuxApi.ts';
import { replayVectors, RISCV_SV_SUITE } from '../../conformance/riscvSv.ts';
import { closingLines, type FileResult, fileLines, suiteResult } from '../../conformance/report.ts';
import { suggestNames } from '../../lab/nearestNames.ts';
import { LabError } from '../../time/labError.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';
import { readCalls, readTrace, readVectorFile } from '../recordedFiles.ts';

const SUITES: Readonly<Record<string, (path: string) => Promise<FileResult>>> = {
  [LINUX_API_SUITE]: async (path) => conformApiRecording(await readCalls(path)),
  [LINUX_TRACE_SUITE]: async (path) => conformRecording(await readTrace(path)),
  [RISCV_SV_SUITE]: async (path) => replayVectors(await readVectorFile(path)),
};

export async function conformVerb(
  suite: string,
  paths: readonly string[],
  options: { readonly json?: true },
): Promise<ExitStatus> {
  const conform = Object.hasOwn(SUITES, suite) ? SUITES[suite] : undefined;
  if (conform === undefined) {
    throw new LabError(suite, 'there is no such suite.', suggestNames(suite, Object.keys(SUITES)));
  }
  // One file at a time, so that however many there are, memory holds one.
  const files: FileResult[] = [];
  for (const path of paths) {
    const file = await conform(path);
    files.push(file);
    if (!options.json) for (const line of fileLines(file)) print(line);
  }
  const result = suiteResult(suite, files);
  if (options.json) printJson(result);
  else for (const line of closingLines(result)) print(line);
  return result.agree === result.total ? EXIT.fine : EXIT.checkFailed;
}
