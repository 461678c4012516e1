/** `lab import`: a recording becomes a lab that replays it under each scheme, a job file of fio one that makes the same I/O. */
import { dirname, join } from 'node:path';
import { looksLikeFioJobs, parseFioJobs } from '../../formats/fioJob.ts';
import { readBounded } from '../../lab/boundedFile.ts';
import { writeLabFile, type LabFile } from '../../lab/container.ts';
import { labOfFioJobs } from '../../lab/importFioJob.ts';
import { labOfRecording } from '../../lab/importRecording.ts';
import { LARGEST_RECORDING_BYTES } from '../../lab/recordingFiles.ts';
import { readRunJsonText } from '../recordedFiles.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

interface ImportOptions {
  readonly output: string;
  readonly runJson?: string;
  readonly json?: true;
}

export async function importVerb(path: string, options: ImportOptions): Promise<ExitStatus> {
  const bytes = await readBounded(path, {
    limit: LARGEST_RECORDING_BYTES,
    remedy: 'Name the text of a kernel trace, plain or gzip, or a job file of fio.',
  });
  const text = decodeText(bytes.subarray(0, 65_536));
  if (looksLikeFioJobs(text)) {
    const { file, notes } = labOfFioJobs(parseFioJobs(decodeText(bytes), path), path);
    return finish(file, notes, options);
  }
  return finish(labOfRecording({ name: path, trace: bytes, runJson: await readRunJson(path, options) }), [], options);
}

async function readRunJson(path: string, options: ImportOptions): Promise<string> {
  const runJsonPath = options.runJson ?? join(dirname(path), 'run.json');
  return readRunJsonText(runJsonPath, 'name it with --run-json.');
}

function decodeText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
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
