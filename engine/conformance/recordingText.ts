/**
 * The text of a recording, gzip'd or plain. What a gzip'd file inflates to is bounded.
 */
import { inflatedBounded } from '../lab/boundedFile.ts';
import { LARGEST_RECORDING_BYTES } from '../lab/recordingFiles.ts';
import { LabError } from '../time/labError.ts';

/** `what` it should be, in words. */
export function recordingText(name: string, recording: Uint8Array, what: string): string {
  const plain = inflatedBounded(name, recording, { limit: LARGEST_RECORDING_BYTES, remedy: 'Record less.' });
  if (plain.includes(0)) {
    throw new LabError(name, 'this is binary data.', `Name a recording of ${what}: one JSON object a line.`);
  }
  return Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString('utf8');
}
