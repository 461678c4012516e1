/**
 * The `.iovalab` file: a zip of manifest.json (first, not compressed), lab.json, recordings/ID/ and runs/ID/. The manifest
 * carries the sha256 of every other entry, so that damage shows on opening and not in a number. Entries that this version
 * does not know are kept and written again. The same content gives the same bytes.
 */
import { basename } from 'node:path';
import { z } from 'zod';
import { LabError } from '../time/labError.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { atomicWrite } from './atomicWrite.ts';
import { readBounded } from './boundedFile.ts';
import { canonicalJson } from './canonicalJson.ts';
import { parseLabText } from './check.ts';
import { ENGINE_VERSION } from './engineVersion.ts';
import { parseHostileJson } from './hostileJson.ts';
import { readRecordingEntries, recordingEntries } from './recordingEntries.ts';
import type { RunResult } from './runTypes.ts';
import type { LabDocument } from './schema.ts';
import { sha256 } from './sha256.ts';
import { readRunEntries, runEntries } from './storedRun.ts';
import { ZIP_LIMITS, readZip } from './zipRead.ts';
import { writeZip } from './zipWrite.ts';

export const FILE_EXTENSION = '.iovalab';
const MANIFEST = 'manifest.json';
const DOCUMENT = 'lab.json';
const FORMAT_ID = 'iovalab';
const CONTAINER_VERSION = 1;

/** A lab with all that its file holds. */
export interface LabFile {
  readonly lab: LabDocument;
  /** By the id under which workloads name them. */
  readonly recordings: ReadonlyMap<string, RecordingFiles>;
  /** Results by run id. */
  readonly runs: ReadonlyMap<string, RunResult>;
  /** Entries of other versions, kept as they are. */
  readonly unknown: ReadonlyMap<string, Uint8Array>;
}

const manifestSchema = z.object({
  format: z.literal(FORMAT_ID),
  version: z.number().int().min(1),
  appVersion: z.string().max(100),
  entries: z.record(z.string().max(ZIP_LIMITS.nameLength), z.string().regex(/^[0-9a-f]{64}$/)),
});

/** The entries of a lab file by name, manifest first, the others in order. */
export function labFileEntries(file: LabFile): Map<string, Uint8Array> {
  const encoder = new TextEncoder();
  const content = new Map<string, Uint8Array>(file.unknown);
  content.set(DOCUMENT, encoder.encode(canonicalJson(file.lab)));
  for (const [id, recording] of file.recordings)
    for (const [name, bytes] of recordingEntries(id, recording)) content.set(name, bytes);
  for (const run of file.runs.values()) for (const [name, bytes] of runEntries(run)) content.set(name, bytes);
  const sorted = [...content].sort(([left], [right]) => (left < right ? -1 : 1));
  const manifest = {
    format: FORMAT_ID,
    version: CONTAINER_VERSION,
    appVersion: ENGINE_VERSION,
    entries: Object.fromEntries(sorted.map(([name, bytes]) => [name, sha256(bytes)])),
  };
  return new Map([[MANIFEST, encoder.encode(canonicalJson(manifest))], ...sorted]);
}

/** `checkHashes` false: for a folder that people edit by hand, where the manifest may be old or missing. */
export function labFileFromEntries(
  entries: ReadonlyMap<string, Uint8Array>,
  where: string,
  checkHashes = true,
): LabFile {
  checkManifest(entries, where, checkHashes);
  const document = entries.get(DOCUMENT);
  if (!document) throw new LabError(where, `there is no ${DOCUMENT} in it.`, 'Take it from a whole copy of the file.');
  const rest = new Map(entries);
  rest.delete(MANIFEST);
  rest.delete(DOCUMENT);
  const recordings = readRecordingEntries(rest);
  const lab = parseLabText(decodeText(document), `${where}: ${DOCUMENT}`, new Set(recordings.keys()));
  const runs = readRunEntries(rest, where);
  return { lab, recordings, runs, unknown: rest };
}

export async function encodeLabFile(file: LabFile): Promise<Uint8Array> {
  const entries = [...labFileEntries(file)].map(([name, bytes]) => ({
    name,
    bytes,
    compress: name !== MANIFEST && !name.endsWith('.gz'),
  }));
  return writeZip(entries);
}

export async function decodeLabFile(bytes: Uint8Array, where: string): Promise<LabFile> {
  return labFileFromEntries(await readZip(bytes, where), where);
}

export async function readLabFile(path: string): Promise<LabFile> {
  const bytes = await readBounded(path, {
    limit: ZIP_LIMITS.fileBytes,
    remedy: `Name a ${FILE_EXTENSION} file of a reasonable size; "pack" makes one from a folder.`,
  });
  return decodeLabFile(bytes, basename(path));
}

/** Saves atomically: an interrupted save leaves the file as it was. */
export async function writeLabFile(path: string, file: LabFile): Promise<void> {
  await atomicWrite(path, await encodeLabFile(file));
}

function checkManifest(entries: ReadonlyMap<string, Uint8Array>, where: string, checkHashes: boolean): void {
  const place = `${where}: ${MANIFEST}`;
  const bytes = entries.get(MANIFEST);
  if (!bytes && !checkHashes) return;
  if (!bytes)
    throw new LabError(place, 'it is missing, so this is no IOVA Lab file.', 'Name a file that IOVA Lab has saved.');
  const value = parseHostileJson(decodeText(bytes), place);
  const version: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'version') : undefined;
  if (typeof version === 'number' && version > CONTAINER_VERSION)
    throw new LabError(
      `${place}: version`,
      `the file is of version ${version}, and this version reads up to ${CONTAINER_VERSION}.`,
      'Open it with a newer IOVA Lab.',
    );
  const manifest = manifestSchema.safeParse(value);
  if (!manifest.success) {
    const issue = manifest.error.issues[0];
    throw new LabError(
      `${place}: ${issue?.path.join('.') ?? ''}`,
      `${issue?.message ?? 'not as expected'}.`,
      'Name a file that IOVA Lab has saved.',
    );
  }
  if (!checkHashes) return;
  const listed = manifest.data.entries;
  for (const [name, content] of entries) {
    if (name === MANIFEST) continue;
    const expected = Object.hasOwn(listed, name) ? listed[name] : undefined;
    if (expected === undefined)
      throw new LabError(
        `${where}: ${name}`,
        'the manifest does not list it.',
        'Someone has added it: take a whole copy, or "unpack" and "pack".',
      );
    if (expected !== sha256(content))
      throw new LabError(
        `${where}: ${name}`,
        'its content is not what the manifest says.',
        'The file is damaged: take a whole copy.',
      );
  }
  for (const name of Object.keys(listed))
    if (!entries.has(name))
      throw new LabError(
        `${where}: ${name}`,
        'the manifest lists it, and it is missing.',
        'The file is damaged: take a whole copy.',
      );
}

function decodeText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
