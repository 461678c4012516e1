/**
 * Writes a file so that whoever looks finds the old content or the new, never half of it: a temporary file in the same
 * folder, fsync, rename, fsync of the folder (rename(2), fsync(2)). Follows a symbolic link to the file that it names.
 */
import { open, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

let sequence = 0;

/** The steps, so that a test can interrupt between them. */
export type WriteStep = 'opened' | 'written' | 'synced' | 'renamed';

export async function atomicWrite(
  path: string,
  content: string | Uint8Array,
  atStep: (step: WriteStep) => void | Promise<void> = () => undefined,
): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const folder = dirname(target);
  const mode = await stat(target).then(
    (found) => found.mode & 0o777,
    () => 0o666,
  );
  sequence += 1;
  const temporary = join(folder, `.${basename(target)}.${process.pid}-${sequence}.tmp`);
  // `wx`: a file that somebody laid in our way is never followed or reused.
  const file = await open(temporary, 'wx', mode);
  try {
    try {
      await atStep('opened');
      await file.writeFile(content);
      await atStep('written');
      await file.sync();
      await atStep('synced');
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
  await syncFolder(folder);
  await atStep('renamed');
}

async function syncFolder(folder: string): Promise<void> {
  // Some systems and network file systems cannot open or sync a folder; the rename stands all the same.
  const handle = await open(folder, 'r').catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => undefined);
  await handle.close();
}
