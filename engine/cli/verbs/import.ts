/** `lab import`: a recording becomes a lab that replays it under each scheme, a job file of fio one that makes the same I/O. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { looksLikeFioJobs, parseFioJobs } from '../../formats/fioJob.ts';
import { writeLabFile, type LabFile } from '../../lab/container.ts';
import { labOfFioJobs } from '../../lab/importFioJob.ts';
import { labOfRecording } from '../../lab/importRecording.ts';
import { LabError } from '../../time/labError.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

interface ImportOptions {
  readonly output: string;
  readonly runJson?: string;
  readonly json?: true;
}

export async function importVerb(path: string, options: ImportOptions): Promise<ExitStatus> {
  const bytes = await readFile(path).catch(() => {
    throw new LabError(
      path,
      'the file cannot be read.',
      'Name the text of a kernel trace, plain or gzip, or a job file of fio.',
    );
  });
  const text = bytes.subarray(0, 65_536).toString('utf8');
  if (looksLikeFioJobs(text)) {
    const { file, notes } = labOfFioJobs(parseFioJobs(bytes.toString('utf8'), path), path);
    return finish(file, notes, options);
  }
  return finish(labOfRecording({ name: path, trace: bytes, runJson: await readRunJson(path, options) }), [], options);
}

async function readRunJson(path: string, options: ImportOptions): Promise<string> {
  const runJsonPath = options.runJson ?? join(dirname(path), 'run.json');
  return readFile(runJsonPath, 'utf8').catch(() => {
    throw new LabError(
      runJsonPath,
      'this file says what kernel was recorded, and it cannot be read.',
      'Name it with --run-json.',
    );
  });
}

async function finish(file: LabFile, notes: readonly string[], options: ImportOptions): Promise<ExitStatus> {
  await writeLabFile(options.output, file);
  const { lab } = file;
  if (options.json) {
    printJson({ output: options.output, lab: lab.name, recordings: [...file.recordings.keys()], notes });
    return EXIT.fine;
  }
  for (const note of notes) print(note);
  print(`${options.output}: "${lab.name}", ${lab.comparison.length} runs. Run it with: lab run ${options.output}`);
  return EXIT.fine;
}
