/**
 * A lab as a folder of plain files, for people who keep labs in git: what `unpack` writes and `pack` reads. Hashes are not
 * checked here, since such a folder is there to be edited.
 */
import { lstat, mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LabError } from '../time/labError.ts';
import { atomicWrite } from './atomicWrite.ts';
import { readBounded } from './boundedFile.ts';
import { labFileEntries, labFileFromEntries, type LabFile } from './container.ts';
import { ZIP_LIMITS, entryNameProblem } from './zipRead.ts';

export async function writeLabFolder(folder: string, file: LabFile): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  if (there.length > 0)
    throw new LabError(folder, 'the folder is not empty.', 'Name a new folder, so that nothing is mixed up.');
  for (const [name, bytes] of labFileEntries(file)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await atomicWrite(path, bytes);
  }
}

export async function readLabFolder(folder: string): Promise<LabFile> {
  const entries = new Map<string, Uint8Array>();
  await collect(folder, '', entries, { bytes: 0 });
  return labFileFromEntries(entries, basename(folder), false);
}

async function collect(
  folder: string,
  prefix: string,
  entries: Map<string, Uint8Array>,
  total: { bytes: number },
): Promise<void> {
  const names = await readdir(folder).catch(() => null);
  if (!names) throw new LabError(folder, 'there is no such folder.', 'Name a folder that "unpack" has made.');
  for (const name of names.sort()) {
    // Hidden files are those of git and of editors.
    if (name.startsWith('.')) continue;
    const path = join(folder, name);
    const entry = `${prefix}${name}`;
    const found = await lstat(path);
    if (found.isDirectory()) {
      await collect(path, `${entry}/`, entries, total);
      continue;
    }
    const problem = found.isFile() ? entryNameProblem(entry) : 'this is no regular file.';
    if (problem !== null) throw new LabError(path, problem, 'Remove it from the folder.');
    total.bytes += found.size;
    if (found.size > ZIP_LIMITS.entryBytes || total.bytes > ZIP_LIMITS.totalBytes || entries.size >= ZIP_LIMITS.entries)
      throw new LabError(path, 'the folder is larger than a lab may be.', 'Remove what is not part of the lab.');
    entries.set(
      entry,
      await readBounded(path, { limit: ZIP_LIMITS.entryBytes, remedy: 'Remove what is not part of the lab.' }),
    );
  }
}
