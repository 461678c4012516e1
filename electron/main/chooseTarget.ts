/*
 * Where to write a file: the system's dialog with a name suggested, the ending put right, and no file replaced unasked.
 */
import { stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import type { LabDialogs } from './dialogs.ts';

export interface TargetQuestion {
  readonly title: string;
  readonly folder: string;
  readonly name: string;
  readonly kind: string;
  /** With its dot. */
  readonly extension: string;
}

export async function chooseTarget(dialogs: LabDialogs, question: TargetQuestion): Promise<string | null> {
  const { title, folder, name, kind, extension } = question;
  const chosen = await dialogs.chooseTarget({
    title,
    path: join(folder, `${fileNameFrom(name)}${extension}`),
    kind,
    extension: extension.slice(1),
  });
  if (chosen === null) return null;
  if (extname(chosen).toLowerCase() === extension) return chosen;
  // The dialog asked about the name it saw, not about the one with the ending added.
  const path = `${chosen}${extension}`;
  return !(await exists(path)) || (await dialogs.askOverwrite(basename(path))) ? path : null;
}

/** A lab's name may hold anything; a file's name may not. */
export function fileNameFrom(name: string): string {
  const plain = name
    .replace(/[^\p{L}\p{N}._-]+/gu, ' ')
    .replace(/^[. ]+|[. ]+$/g, '')
    .slice(0, 100);
  return plain === '' ? 'lab' : plain;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
