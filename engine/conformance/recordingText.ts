/**
 * The text of a recording, gzip'd or plain. What a gzip'd file inflates to is bounded.
 */
import { gunzipSync } from 'node:zlib';
import { LabError } from '../time/labError.ts';

const MEBIBYTE = 1024 * 1024;
/** The largest real recordings have 3 MiB. */
const LARGEST_RECORDING = 128 * MEBIBYTE;

/** `what` it should be, in words. */
export function recordingText(name: string, recording: Uint8Array, what: string): string {
  const plain = recording[0] === 0x1f && recording[1] === 0x8b ? inflated(name, recording) : recording;
  if (plain.length > LARGEST_RECORDING) {
    throw new LabError(name, `it is larger than ${LARGEST_RECORDING / MEBIBYTE} MiB.`, 'Record less.');
  }
  if (plain.includes(0)) {
    throw new LabError(name, 'this is binary data.', `Name a recording of ${what}: one JSON object a line.`);
  }
  return Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString('utf8');
}

function inflated(name: string, recording: Uint8Array): Uint8Array {
  try {
    return gunzipSync(recording, { maxOutputLength: LARGEST_RECORDING });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    let problem = 'the gzip data is damaged.';
    if (code === 'Z_BUF_ERROR') problem = 'the gzip data is cut off.';
    if (code === 'ERR_BUFFER_TOO_LARGE') problem = `it inflates to more than ${LARGEST_RECORDING / MEBIBYTE} MiB.`;
    throw new LabError(name, problem, 'Copy the recording again.');
  }
}
