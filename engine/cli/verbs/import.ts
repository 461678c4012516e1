/** `lab import`: a recording becomes a lab that replays it under each scheme. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeLabFile } from '../../lab/container.ts';
import { labOfRecording } from '../../lab/importRecording.ts';
import { LabError } from '../../time/labError.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

export async function importVerb(
  path: string,
  options: { readonly output: string; readonly runJson?: string; readonly json?: true },
): Promise<ExitStatus> {
  const trace = await readFile(path).catch(() => {
    throw new LabError(path, 'the recording cannot be read.', 'Name the text of a kernel trace, plain or gzip.');
  });
  const runJsonPath = options.runJson ?? join(dirname(path), 'run.json');
  const runJson = await readFile(runJsonPath, 'utf8').catch(() => {
    throw new LabError(
      runJsonPath,
      'this file says what kernel was recorded, and it cannot be read.',
      'Name it with --run-json.',
    );
  });
  const file = labOfRecording({ name: path, trace, runJson });
  await writeLabFile(options.output, file);
  const { lab } = file;
  if (options.json) printJson({ output: options.output, lab: lab.name, recordings: [...file.recordings.keys()] });
  else print(`${options.output}: "${lab.name}", ${lab.comparison.length} runs. Run it with: lab run ${options.output}`);
  return EXIT.fine;
}
