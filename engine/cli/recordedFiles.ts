/** The files of a recording, as they lie beside each other in the folder that its user names. */
import { dirname, join } from 'node:path';
import type { ApiFiles } from '../conformance/linuxApiFiles.ts';
import type { VectorFile } from '../conformance/riscvSvVectors.ts';
import { readBounded, readBoundedIfThere, readBoundedText } from '../lab/boundedFile.ts';
import { LARGEST_RECORDING_BYTES } from '../lab/recordingFiles.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';

/** Of what says on which machine a recording was made; real ones have a few KiB. */
const LARGEST_DESCRIPTION = 1024 * 1024;

export async function readTrace(path: string): Promise<RecordingFiles> {
  const trace = await recording(path, 'Name the text of a kernel trace, plain or gzip.');
  const deviceLog = await readDeviceLog(dirname(path));
  const files: RecordingFiles = { name: path, trace, runJson: await runJsonBeside(path) };
  return deviceLog === null ? files : { ...files, deviceLog };
}

export async function readCalls(path: string): Promise<ApiFiles> {
  const calls = await recording(path, 'Name a recording of DMA API calls, plain or gzip.');
  const iomem = await readBoundedText(join(dirname(path), 'iomem.txt'), {
    limit: LARGEST_DESCRIPTION,
    remedy: 'It says where the recorded machine had its memory: copy it beside the recording.',
  });
  return { name: path, recording: calls, runJson: await runJsonBeside(path), iomem };
}

export async function readVectorFile(path: string): Promise<VectorFile> {
  return { name: path, content: await recording(path, 'Name recorded page walks, plain or gzip.') };
}

/** `remedy`: where it should be. */
export function readRunJsonText(path: string, remedy: string): Promise<string> {
  return readBoundedText(path, {
    limit: LARGEST_DESCRIPTION,
    remedy: `It says what kernel was recorded: ${remedy}`,
  });
}

function recording(path: string, remedy: string): Promise<Uint8Array> {
  return readBounded(path, { limit: LARGEST_RECORDING_BYTES, remedy });
}

function runJsonBeside(path: string): Promise<string> {
  return readRunJsonText(join(dirname(path), 'run.json'), 'copy it beside the recording.');
}

/** Lies beside the traces of a boot whose device side was recorded too; null: it was not. */
async function readDeviceLog(folder: string): Promise<Uint8Array | null> {
  const bounds = { limit: LARGEST_RECORDING_BYTES, remedy: 'It is the device’s side: copy it again, or take it away.' };
  return (
    (await readBoundedIfThere(join(folder, 'device.log.gz'), bounds)) ??
    (await readBoundedIfThere(join(folder, 'device.log'), bounds))
  );
}
