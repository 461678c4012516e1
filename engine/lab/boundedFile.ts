/**
 * Files that a user names, read with a bound: no size that a file claims is trusted, and nothing is read on past the limit, so that a
 * device that never ends (/dev/zero) or a file that grows costs no more than the limit. Folders, devices, sockets and named pipes are
 * refused before they are opened; a pipe that the shell hands over (/dev/stdin, /dev/fd/63) is read like a file.
 * What gzip'd bytes inflate to has the same bound. Leaves out: entries of a lab's zip, which zipRead.ts bounds.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { LabError } from '../time/labError.ts';

const MEBIBYTE = 1024 * 1024;
const LEAST_BUFFER = 64 * 1024;

export interface FileBounds {
  /** Bytes that it may have at most. */
  readonly limit: number;
  /** What to name instead, as a sentence. */
  readonly remedy: string;
}

/** The bytes of a file. Whatever is in the way is a LabError. */
export async function readBounded(path: string, bounds: FileBounds): Promise<Uint8Array> {
  const bytes = await readBoundedIfThere(path, bounds);
  if (bytes === null) throw new LabError(path, 'there is no such file.', bounds.remedy);
  return bytes;
}

/** The same as UTF-8 text. */
export async function readBoundedText(path: string, bounds: FileBounds): Promise<string> {
  return new TextDecoder().decode(await readBounded(path, bounds));
}

/** For a file that need not be there; null: it is not. */
export async function readBoundedIfThere(path: string, bounds: FileBounds): Promise<Uint8Array | null> {
  try {
    const found = await stat(path);
    const problem = found.isFile() || (found.isFIFO() && path.startsWith('/dev/')) ? null : kindProblem(found);
    if (problem !== null) throw new LabError(path, problem, bounds.remedy);
    if (found.size > bounds.limit) throw tooLarge(path, bounds);
    const file = await open(path);
    try {
      return await readAll(file, path, bounds, found.size);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof LabError) throw error;
    if (codeOf(error) === 'ENOENT') return null;
    const code = codeOf(error);
    const problem = code === 'EACCES' || code === 'EPERM' ? 'access is denied.' : `it cannot be read (${code}).`;
    throw new LabError(path, problem, bounds.remedy);
  }
}

/** Plain bytes as they are, gzip'd ones inflated. */
export function inflatedBounded(name: string, bytes: Uint8Array, bounds: FileBounds): Uint8Array {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
    if (bytes.length > bounds.limit) throw tooLarge(name, bounds);
    return bytes;
  }
  try {
    return gunzipSync(bytes, { maxOutputLength: bounds.limit });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ERR_BUFFER_TOO_LARGE')
      throw new LabError(name, `it inflates to more than ${sizeText(bounds.limit)}.`, bounds.remedy);
    const problem = code === 'Z_BUF_ERROR' ? 'the gzip data is cut off.' : 'the gzip data is damaged.';
    throw new LabError(name, problem, 'Copy the file again.');
  }
}

/** `expected`: the size that the file claims, which is a guess and no more. */
async function readAll(file: FileHandle, path: string, bounds: FileBounds, expected: number): Promise<Uint8Array> {
  const most = bounds.limit + 1;
  let buffer = new Uint8Array(Math.min(most, Math.max(expected + 1, LEAST_BUFFER)));
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
    if (length > bounds.limit) throw tooLarge(path, bounds);
    if (length < buffer.length) continue;
    const larger = new Uint8Array(Math.min(most, 2 * buffer.length));
    larger.set(buffer);
    buffer = larger;
  }
}

function kindProblem(found: Awaited<ReturnType<typeof stat>>): string {
  if (found.isDirectory()) return 'this is a folder, not a file.';
  if (found.isFIFO()) return 'this is a pipe, which nobody may ever write to.';
  return 'this is a device or a socket, of which reading may never end.';
}

function tooLarge(where: string, { limit, remedy }: FileBounds): LabError {
  return new LabError(where, `it is larger than the ${sizeText(limit)} that are read at most.`, remedy);
}

function sizeText(bytes: number): string {
  return bytes >= MEBIBYTE ? `${String(bytes / MEBIBYTE)} MiB` : `${String(bytes / 1024)} KiB`;
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.message : String(error);
}
