/** Opens what a user names as a lab: a .iovalab file, a folder that `unpack` made, or a bare lab.json. */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { readBoundedText } from '../lab/boundedFile.ts';
import { parseLabText } from '../lab/check.ts';
import { readLabFile, type LabFile } from '../lab/container.ts';
import { readLabFolder } from '../lab/labFolder.ts';
import { LIMITS } from '../lab/limits.ts';
import { LabError } from '../time/labError.ts';

export async function openLab(path: string): Promise<LabFile> {
  const found = await stat(path).catch(() => null);
  if (!found) throw new LabError(path, 'there is no such file.', 'Check the name.');
  if (found.isDirectory()) return readLabFolder(path);
  if (!path.endsWith('.json')) return readLabFile(path);
  const text = await readBoundedText(path, { limit: LIMITS.documentBytes, remedy: 'Name a lab.' });
  // A bare document carries no recordings, and the check says so where one is needed.
  const lab = parseLabText(text, basename(path), new Set());
  return { lab, recordings: new Map(), runs: new Map(), unknown: new Map() };
}

/** The name of a lab file without its folder and extension. */
export function labBaseName(path: string): string {
  return basename(path).replace(/\.(iovalab|json)$/, '') || 'lab';
}
