/** `lab conform`: recordings of real systems, replayed and compared. One line a file as it goes; exit 0 only if all agree. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LINUX_TRACE_SUITE, conformLinuxTrace } from '../../conformance/linuxTrace.ts';
import { closingLines, fileLines } from '../../conformance/report.ts';
import { suggestNames } from '../../lab/nearestNames.ts';
import { LabError } from '../../time/labError.ts';
import type { RecordingFiles } from '../../workloads/recordedRequest.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

export async function conformVerb(
  suite: string,
  paths: readonly string[],
  options: { readonly json?: true },
): Promise<ExitStatus> {
  if (suite !== LINUX_TRACE_SUITE)
    throw new LabError(suite, 'there is no such suite.', suggestNames(suite, [LINUX_TRACE_SUITE]));
  const recordings: RecordingFiles[] = [];
  for (const path of paths) recordings.push(await readFiles(path));
  const result = conformLinuxTrace(recordings, (file) => {
    if (!options.json) for (const line of fileLines(file)) print(line);
  });
  if (options.json) printJson(result);
  else for (const line of closingLines(result)) print(line);
  return result.agree === result.total ? EXIT.fine : EXIT.checkFailed;
}

async function readFiles(path: string): Promise<RecordingFiles> {
  const runJsonPath = join(dirname(path), 'run.json');
  const trace = await readFile(path).catch(() => {
    throw new LabError(path, 'the recording cannot be read.', 'Name the text of a kernel trace, plain or gzip.');
  });
  const runJson = await readFile(runJsonPath, 'utf8').catch(() => {
    throw new LabError(
      runJsonPath,
      'this file says what kernel was recorded, and it cannot be read.',
      'Copy it beside the recording.',
    );
  });
  return { name: path, trace, runJson };
}
