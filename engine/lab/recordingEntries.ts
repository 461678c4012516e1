/**
 * Recordings inside a lab file: recordings/ID/NAME.txt.gz (or .txt), byte for byte as it was, and its run.json beside it.
 */
import type { RecordingFiles } from '../workloads/recordedRequest.ts';

const FOLDER = 'recordings/';
const RUN_JSON = 'run.json';

export function recordingEntries(id: string, files: RecordingFiles): [string, Uint8Array][] {
  const zipped = files.trace[0] === 0x1f && files.trace[1] === 0x8b;
  const base = (files.name.split('/').at(-1) ?? '').replace(/(\.txt)?(\.gz)?$/, '').replace(/[^A-Za-z0-9._-]/g, '-');
  return [
    [`${FOLDER}${id}/${base || 'trace'}.txt${zipped ? '.gz' : ''}`, files.trace],
    [`${FOLDER}${id}/${RUN_JSON}`, new TextEncoder().encode(files.runJson)],
  ];
}

/** Takes the recordings out of `entries`; folders that are not one trace with one run.json stay there. */
export function readRecordingEntries(entries: Map<string, Uint8Array>): Map<string, RecordingFiles> {
  const folders = new Map<string, string[]>();
  for (const name of entries.keys()) {
    const [, id, file] = /^recordings\/([^/]+)\/([^/]+)$/.exec(name) ?? [];
    if (id !== undefined && file !== undefined) folders.set(id, [...(folders.get(id) ?? []), file]);
  }
  const recordings = new Map<string, RecordingFiles>();
  for (const [id, files] of [...folders].sort(([left], [right]) => (left < right ? -1 : 1))) {
    const traceName = files.find((file) => /\.txt(\.gz)?$/.test(file));
    const runName = `${FOLDER}${id}/${RUN_JSON}`;
    const runJson = entries.get(runName);
    const trace = traceName === undefined ? undefined : entries.get(`${FOLDER}${id}/${traceName}`);
    if (files.length !== 2 || traceName === undefined || !trace || !runJson) continue;
    recordings.set(id, { name: `${FOLDER}${id}/${traceName}`, trace, runJson: new TextDecoder().decode(runJson) });
    entries.delete(runName);
    entries.delete(`${FOLDER}${id}/${traceName}`);
  }
  return recordings;
}
