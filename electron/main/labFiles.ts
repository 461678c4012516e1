/*
 * Reads a lab file from a path that may point at anything: checks name, kind and size on the opened file itself, so that
 * nothing can be put in its place between the check and the reading; parsing happens in a thread (fileWorker.ts).
 */
import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { ZIP_LIMITS } from '../../engine/lab/zipRead.ts';
import type { FileStamp } from '../workers/fileProtocol.ts';
import { DesktopError } from './failures.ts';
import { labExtension } from './launchArguments.ts';

export interface OpenedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly stamp: FileStamp;
}

export async function readLabFile(path: string): Promise<OpenedFile> {
  const name = basename(path);
  if (path.includes('\0') || !name.toLowerCase().endsWith(labExtension)) {
    throw new DesktopError('bad-file', `${name}: this is not a lab. Choose a file that ends in ${labExtension}.`);
  }
  // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw new DesktopError('cannot-read', `${name}: ${readingProblem(error)}`);
  });
  try {
    return await readOpened(file, name);
  } finally {
    await file.close();
  }
}

async function readOpened(file: FileHandle, name: string): Promise<OpenedFile> {
  const found = await file.stat();
  if (!found.isFile()) {
    throw new DesktopError('bad-file', `${name}: this is a folder or a device, not a file. Choose a lab file.`);
  }
  if (found.size > ZIP_LIMITS.fileBytes) {
    throw new DesktopError(
      'bad-file',
      `${name}: the file is larger than ${ZIP_LIMITS.fileBytes >> 20} MiB, which no lab needs. Choose another file.`,
    );
  }
  const bytes = new Uint8Array(found.size);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return { name, bytes: bytes.subarray(0, bytesRead), stamp: { size: found.size, modified: found.mtimeMs } };
}

/** Null when the file is not there any more. */
export async function stampOf(path: string): Promise<FileStamp | null> {
  const found = await stat(path).catch(() => null);
  return found === null ? null : { size: found.size, modified: found.mtimeMs };
}

export function sameStamp(a: FileStamp | null, b: FileStamp | null): boolean {
  return a === b || (a !== null && b !== null && a.size === b.size && a.modified === b.modified);
}

function readingProblem(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : '';
  switch (code) {
    case 'ENOENT':
      return 'the file is not there any more. Open it from where it is now.';
    case 'EACCES':
    case 'EPERM':
      return 'you may not read this file. Change its permissions, or copy it to a folder of yours.';
    case 'EISDIR':
      return 'this is a folder. Choose a lab file.';
    default:
      return `the file cannot be read (${String(code)}). Check the disk it lies on.`;
  }
}
