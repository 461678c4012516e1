/** `lab conform`: recordings of real systems, replayed and compared. One line a file as it goes; exit 0 only if all agree. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { conformLinuxTrace, LINUX_TRACE_SUITE } from '../../conformance/linuxTrace.ts';
import { conformLinuxApi, LINUX_API_SUITE } from '../../conformance/linuxApi.ts';
import type { ApiFiles } from '../../conformance/linuxApiFiles.ts';
import { conformRiscvSv, RISCV_SV_SUITE } from '../../conformance/riscvSv.ts';
import type { VectorFile } from '../../conformance/riscvSvVectors.ts';
import { closingLines, type FileResult, fileLines, type SuiteResult } from '../../conformance/report.ts';
import { suggestNames } from '../../lab/nearestNames.ts';
import { LabError } from '../../time/labError.ts';
import type { RecordingFiles } from '../../workloads/recordedRequest.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

export async function conformVerb(
  suite: string,
  paths: readonly string[],
  options: { readonly json?: true },
): Promise<ExitStatus> {
  const result = await conform(suite, paths, (file) => {
    if (!options.json) for (const line of fileLines(file)) print(line);
  });
  if (options.json) printJson(result);
  else for (const line of closingLines(result)) print(line);
  return result.agree === result.total ? EXIT.fine : EXIT.checkFailed;
}

async function conform(
  suite: string,
  paths: readonly string[],
  onFile: (file: FileResult) => void,
): Promise<SuiteResult> {
  switch (suite) {
    case LINUX_TRACE_SUITE:
      return conformLinuxTrace(await Promise.all(paths.map(readTrace)), onFile);
    case LINUX_API_SUITE:
      return conformLinuxApi(await Promise.all(paths.map(readCalls)), onFile);
    case RISCV_SV_SUITE:
      return conformRiscvSv(await Promise.all(paths.map(readVectorFile)), onFile);
    default:
      throw new LabError(
        suite,
        'there is no such suite.',
        suggestNames(suite, [LINUX_API_SUITE, LINUX_TRACE_SUITE, RISCV_SV_SUITE]),
      );
  }
}

async function readTrace(path: string): Promise<RecordingFiles> {
  const trace = await readFile(path).catch(() => {
    throw new LabError(path, 'the recording cannot be read.', 'Name the text of a kernel trace, plain or gzip.');
  });
  const deviceLog = await readDeviceLog(dirname(path));
  const files: RecordingFiles = { name: path, trace, runJson: await readRunJson(path) };
  return deviceLog === null ? files : { ...files, deviceLog };
}

/** Lies beside the traces of a boot whose device side was recorded too; null: it was not. */
async function readDeviceLog(folder: string): Promise<Uint8Array | null> {
  for (const name of ['device.log.gz', 'device.log']) {
    const path = join(folder, name);
    try {
      return await readFile(path);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue;
      throw new LabError(path, 'the log of the device’s side cannot be read.', 'Copy it again, or take it away.');
    }
  }
  return null;
}

async function readCalls(path: string): Promise<ApiFiles> {
  const recording = await readFile(path).catch(() => {
    throw new LabError(path, 'the recording cannot be read.', 'Name a recording of DMA API calls, plain or gzip.');
  });
  const iomemPath = join(dirname(path), 'iomem.txt');
  const iomem = await readFile(iomemPath, 'utf8').catch(() => {
    throw new LabError(
      iomemPath,
      'this file says where the recorded machine had its memory, and it cannot be read.',
      'Copy it beside the recording.',
    );
  });
  return { name: path, recording, runJson: await readRunJson(path), iomem };
}

async function readVectorFile(path: string): Promise<VectorFile> {
  const content = await readFile(path).catch(() => {
    throw new LabError(path, 'the recording cannot be read.', 'Name recorded page walks, plain or gzip.');
  });
  return { name: path, content };
}

async function readRunJson(path: string): Promise<string> {
  const runJsonPath = join(dirname(path), 'run.json');
  return readFile(runJsonPath, 'utf8').catch(() => {
    throw new LabError(
      runJsonPath,
      'this file says what kernel was recorded, and it cannot be read.',
      'Copy it beside the recording.',
    );
  });
}
