/*
 * The autosave: a journal of one document in userData/recovery/ID/, never the user's own file. Edits are appended as they are
 * made, results of runs as they end; the first entry also lays down a copy of the document that they build on, so that a
 * restore needs nothing that may have moved meanwhile. Deleted after a clean save or close; what is found at a start is
 * what a crash left.
 *
 * The app runs once for each user data folder (single-instance lock), so a journal found at a start belongs to nobody that is
 * alive, unless the folder is shared between hosts: the lock file names process and host.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { z } from 'zod';
import { atomicWrite } from '../../engine/lab/atomicWrite.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { RecoveryOffer } from '../ipc/api.ts';

const aboutSchema = z.object({
  version: z.literal(1),
  name: z.string(),
  /** The user's file, if the document has one; null for an example. */
  path: z.string().nullable(),
  /** What the file was when it was read, to tell whether it changed since. */
  stamp: z.object({ size: z.number(), modified: z.number() }).nullable(),
});
export type RecoveryAbout = Readonly<z.output<typeof aboutSchema>>;

const lockSchema = z.object({ pid: z.int(), host: z.string() });

const change = z.object({ path: z.string(), value: z.json() });

const entrySchema = z.discriminatedUnion('kind', [
  change.extend({ kind: z.literal('edit'), also: z.array(change).optional() }),
  z.object({ kind: z.literal('undo') }),
  z.object({ kind: z.literal('redo') }),
  z.object({ kind: z.literal('run'), file: z.string().regex(/^run-\d+\.bin$/), outdated: z.boolean() }),
]);
export type JournalChange = Readonly<z.output<typeof change>>;
export type JournalEntry = Readonly<z.output<typeof entrySchema>>;

const idPattern = /^[0-9a-f]{24}$/;

/** What can be brought back. */
export interface RecoveredWork {
  readonly about: RecoveryAbout;
  readonly base: Uint8Array;
  readonly entries: readonly JournalEntry[];
  readonly results: ReadonlyMap<string, RunResult>;
}

export class Journal {
  readonly folder: string;
  private readonly warn: (message: string) => void;
  private queue: Promise<void>;
  private runs: number;
  private discarded = false;

  private constructor(folder: string, runs: number, ready: Promise<void>, warn: (message: string) => void) {
    this.folder = folder;
    this.runs = runs;
    this.warn = warn;
    this.queue = Promise.resolve();
    this.enqueue(() => ready);
  }

  static begin(root: string, about: RecoveryAbout, base: Uint8Array, warn: (message: string) => void): Journal {
    const folder = join(root, randomBytes(12).toString('hex'));
    const ready = async (): Promise<void> => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeLock(folder);
      await atomicWrite(join(folder, 'base.iovalab'), base);
      await atomicWrite(join(folder, 'about.json'), JSON.stringify(about));
    };
    return new Journal(folder, 0, ready(), warn);
  }

  /** Goes on with a journal that was restored: nothing is copied, so nothing can be lost in between. */
  static continue(root: string, id: string, work: RecoveredWork, warn: (message: string) => void): Journal {
    const folder = folderOf(root, id);
    // A line that the crash cut short must not swallow the next one.
    const ready = async (): Promise<void> => {
      await writeLock(folder);
      await atomicWrite(
        join(folder, 'journal.ndjson'),
        work.entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''),
      );
    };
    const numbers = work.entries.map((entry) => (entry.kind === 'run' ? Number.parseInt(entry.file.slice(4), 10) : -1));
    return new Journal(folder, Math.max(-1, ...numbers) + 1, ready(), warn);
  }

  append(entry: JournalEntry): void {
    const line = `${JSON.stringify(entry)}\n`;
    this.enqueue(() => appendSynced(join(this.folder, 'journal.ndjson'), line));
  }

  /** `outdated`: the lab was edited while the run was under way. */
  addResult(result: RunResult, outdated: boolean): void {
    const file = `run-${this.runs++}.bin`;
    this.enqueue(async () => {
      await writeFile(join(this.folder, file), serialize(result), { flush: true });
      await appendSynced(join(this.folder, 'journal.ndjson'), `${JSON.stringify({ kind: 'run', file, outdated })}\n`);
    });
  }

  /** The document is safe elsewhere, or the user gave it up. */
  discard(): Promise<void> {
    this.enqueue(() => rm(this.folder, { recursive: true, force: true }));
    this.discarded = true;
    return this.queue;
  }

  flush(): Promise<void> {
    return this.queue;
  }

  private enqueue(action: () => Promise<void>): void {
    if (this.discarded) return;
    this.queue = this.queue.then(action).catch((error: unknown) => {
      this.warn(`The recovery journal could not be written: ${String(error)}`);
    });
  }
}

async function writeLock(folder: string): Promise<void> {
  await atomicWrite(join(folder, 'lock.json'), JSON.stringify({ pid: process.pid, host: hostname() }));
}

async function appendSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await file.appendFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
}

function folderOf(root: string, id: string): string {
  if (!idPattern.test(id)) throw new RangeError('not the id of a journal');
  return join(root, id);
}

/** Journals that a crash left, newest first; those without a single entry are swept away. */
export async function findRecoveries(root: string, own: string | null): Promise<RecoveryOffer[]> {
  const names = await readdir(root).catch(() => []);
  const offers: RecoveryOffer[] = [];
  for (const id of names) {
    if (!idPattern.test(id) || join(root, id) === own) continue;
    const offer = await offerOf(root, id).catch(() => null);
    if (offer !== null) offers.push(offer);
  }
  return offers.sort((a, b) => b.changedAt - a.changedAt);
}

async function offerOf(root: string, id: string): Promise<RecoveryOffer | null> {
  const folder = folderOf(root, id);
  if (await isHeldByAnotherHost(folder)) return null;
  const about = await readAbout(folder).catch(() => null);
  const entries = await readEntries(folder);
  if (about === null || entries.length === 0) {
    await discardRecovery(root, id);
    return null;
  }
  let bytes = 0;
  for (const file of await readdir(folder)) bytes += (await stat(join(folder, file))).size;
  const journal = await stat(join(folder, 'journal.ndjson'));
  const finishedRuns = entries.filter(({ kind }) => kind === 'run').length;
  return {
    id,
    name: about.name,
    fileName: about.path === null ? null : (about.path.split(/[/\\]/).at(-1) ?? null),
    changedAt: journal.mtimeMs,
    bytes,
    edits: entries.length - finishedRuns,
    finishedRuns,
  };
}

async function isHeldByAnotherHost(folder: string): Promise<boolean> {
  const text = await readFile(join(folder, 'lock.json'), 'utf8').catch(() => null);
  if (text === null) return false;
  const lock = lockSchema.safeParse(parseOrNull(text));
  return lock.success && lock.data.host !== hostname();
}

export async function loadRecovery(root: string, id: string): Promise<RecoveredWork> {
  const folder = folderOf(root, id);
  const entries = await readEntries(folder);
  const results = new Map<string, RunResult>();
  for (const entry of entries) {
    if (entry.kind !== 'run') continue;
    const bytes = await readFile(join(folder, entry.file)).catch(() => null);
    const result = bytes === null ? null : resultOrNull(bytes);
    if (result !== null) results.set(entry.file, result);
  }
  return { about: await readAbout(folder), base: await readFile(join(folder, 'base.iovalab')), entries, results };
}

export async function discardRecovery(root: string, id: string): Promise<void> {
  await rm(folderOf(root, id), { recursive: true, force: true });
}

async function readAbout(folder: string): Promise<RecoveryAbout> {
  return aboutSchema.parse(JSON.parse(await readFile(join(folder, 'about.json'), 'utf8')));
}

/** Reads up to the first line that is not whole: what a crash cut short, and what follows it, was never promised. */
async function readEntries(folder: string): Promise<JournalEntry[]> {
  const text = await readFile(join(folder, 'journal.ndjson'), 'utf8').catch(() => '');
  const entries: JournalEntry[] = [];
  for (const line of text.split('\n')) {
    const entry = entrySchema.safeParse(parseOrNull(line));
    if (!entry.success) break;
    entries.push(entry.data);
  }
  return entries;
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** Written by this app into its own folder, so trusted in form; a damaged one is left out. */
function resultOrNull(bytes: Uint8Array): RunResult | null {
  try {
    return deserialize(bytes) as RunResult;
  } catch {
    return null;
  }
}
