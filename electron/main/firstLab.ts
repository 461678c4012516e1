/*
 * Which lab the app starts with: the one on the command line; the first time the first-run example; later the one that was open
 * last. Whatever fails, there is a lab to look at, and a sentence that says what could not be opened.
 */
import { join } from 'node:path';
import { parseLab } from '../../engine/lab/check.ts';
import type { Outcome } from '../ipc/api.ts';
import type { DocumentService } from './documentService.ts';
import { firstRunExample, type ExampleCatalogue } from './examples.ts';
import type { RunFileTask } from './fileWorker.ts';
import { plainLab } from './plainLab.ts';
import type { SettingsStore } from './settings.ts';

export interface FirstLabSurroundings {
  readonly labFile: string | null;
  readonly document: DocumentService;
  readonly examples: ExampleCatalogue;
  readonly settings: SettingsStore;
  readonly task: RunFileTask;
  /** The app's own folder, for the lab of last resort. */
  readonly folder: string;
  readonly say: (severity: 'info' | 'warning' | 'error', text: string) => void;
}

export async function openFirstLab(surroundings: FirstLabSurroundings): Promise<void> {
  const { labFile, document, settings, examples, say } = surroundings;
  const problems: string[] = [];
  const opened = (outcome: Outcome): boolean => {
    if (outcome.status === 'failed') problems.push(outcome.error.message);
    return document.isOpen;
  };
  const lastFile = settings.current.firstRunSeen ? settings.current.recent[0] : undefined;
  const done =
    (labFile !== null && opened(await document.openPath(labFile))) ||
    (labFile === null && lastFile !== undefined && opened(await document.openPath(lastFile))) ||
    opened(await openExample(document, examples)) ||
    opened(await openPlainLab(surroundings));
  settings.change({ firstRunSeen: true });
  if (!done) throw new Error('not even a plain lab could be opened');
  for (const problem of problems) say('error', problem);
}

async function openExample(document: DocumentService, examples: ExampleCatalogue): Promise<Outcome> {
  const path = await examples.pathOf(firstRunExample).catch(() => null);
  return path === null ? { status: 'cancelled' } : document.openCopy(path);
}

/** Written into the app's folder and opened as a copy, so that even this one can be journalled. */
async function openPlainLab({ document, task, folder }: FirstLabSurroundings): Promise<Outcome> {
  const lab = parseLab(plainLab, plainLab.name);
  const path = join(folder, 'untitled.iovalab');
  await task('write', { path, contents: { lab, recordings: new Map(), runs: new Map(), unknown: new Map() } });
  return document.openCopy(path);
}
