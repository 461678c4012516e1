/*
 * Recent files as the page sees them: a name, a folder to tell two apart, and an id that only main can turn into a path.
 */
import { createHash } from 'node:crypto';
import { basename, dirname, sep } from 'node:path';
import type { RecentFile } from '../ipc/api.ts';

function idOf(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 16);
}

export function recentFiles(paths: readonly string[], homeFolder: string): RecentFile[] {
  return paths.map((path) => {
    const folder = dirname(path);
    const atHome = folder === homeFolder || folder.startsWith(homeFolder + sep);
    return { id: idOf(path), name: basename(path), folder: atHome ? `~${folder.slice(homeFolder.length)}` : folder };
  });
}

export function recentPath(paths: readonly string[], id: string): string | null {
  return paths.find((path) => idOf(path) === id) ?? null;
}
