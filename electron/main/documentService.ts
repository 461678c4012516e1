/*
 * The open document and everything that may happen to it: open, edit, save, revert, restore, close. Main owns it; the page
 * shows it and asks. Actions run one after the other, so that nothing is edited while it is saved or replaced. An action
 * that fails leaves the document as it was.
 */
import { basename, dirname } from 'node:path';
import type { LabFile } from '../../engine/lab/container.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { DocumentState, Outcome, RecoveryOffer } from '../ipc/api.ts';
import { chooseTarget } from './chooseTarget.ts';
import { cancelled, DesktopError, done, failed, failureOf } from './failures.ts';
import { readLabFile, sameStamp, stampOf } from './labFiles.ts';
import { labExtension } from './launchArguments.ts';
import { describeError } from './describeError.ts';
import { OpenDocument } from './openDocument.ts';
import {
  discardRecovery,
  findRecoveries,
  Journal,
  loadRecovery,
  type JournalChange,
  type JournalEntry,
} from './recovery.ts';
import type { DocumentSurroundings, Home, RunIds } from './documentSurroundings.ts';
import { changedLab, editLabel, replayJournal } from './replayJournal.ts';
import { withRecent } from './settings.ts';

export class DocumentService {
  private readonly surroundings: DocumentSurroundings;
  private document: OpenDocument | null = null;
  private home: Home | null = null;
  private session = 0;
  private changedOnDisk = false;
  private journal: Journal | null = null;
  private stopWatching: () => void = () => undefined;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(surroundings: DocumentSurroundings) {
    this.surroundings = surroundings;
  }

  get isOpen(): boolean {
    return this.document !== null;
  }

  get currentSession(): number {
    return this.session;
  }

  /** What the file holds now, results included: for saving and for exports. */
  get contents(): LabFile {
    const { document, home } = this.opened();
    const { lab } = document;
    // Runs of columns that are gone stay in the file: a column may come back, and nobody asked for them to be deleted.
    const kept = [...home.contents.runs.values()].filter(
      (run) => !lab.comparison.some((column) => column.id === run.comparisonId),
    );
    const runs = new Map([...kept, ...this.surroundings.runs.results()].map((run) => [run.id, run]));
    return { ...home.contents, lab, runs };
  }

  /** For the title bar and for questions. */
  get displayName(): string {
    const { document, home } = this.opened();
    return home.path === null ? document.lab.name : basename(home.path, labExtension);
  }

  get path(): string | null {
    return this.home?.path ?? null;
  }

  get dirty(): boolean {
    return this.document?.dirty ?? false;
  }

  state(): DocumentState {
    const { document, home } = this.opened();
    return {
      session: this.session,
      revision: document.revision,
      lab: document.lab,
      fileName: home.path === null ? null : basename(home.path),
      dirty: document.dirty,
      changedOnDisk: this.changedOnDisk,
      undo: document.undoLabel,
      redo: document.redoLabel,
      runs: this.surroundings.runs.states(),
    };
  }

  openDialog(): Promise<Outcome> {
    return this.action(async () => {
      const { settings, dialogs, homeFolder } = this.surroundings;
      const path = await dialogs.chooseLab(settings.current.lastFolder ?? homeFolder);
      return path === null ? cancelled : this.openFrom(path);
    });
  }

  openPath(path: string): Promise<Outcome> {
    return this.action(() => this.openFrom(path));
  }

  /** An example is opened as a copy without a file: saving asks for a name. */
  openCopy(path: string): Promise<Outcome> {
    return this.action(async () => {
      const { name, bytes } = await readLabFile(path);
      const { contents, runIds } = await this.surroundings.task('read', { name, bytes });
      if (!(await this.mayLeave())) return cancelled;
      this.replace({ contents, source: bytes, path: null, stamp: null }, runIds);
      return done;
    });
  }

  save(): Promise<Outcome> {
    return this.action(() => this.saveNow());
  }

  saveAs(): Promise<Outcome> {
    return this.action(() => this.saveUnderNewName());
  }

  revert(): Promise<Outcome> {
    return this.action(async () => {
      const { home } = this.opened();
      if (home.path === null) {
        throw new DesktopError('not-found', 'This lab was never saved, so there is nothing to go back to.');
      }
      if (this.dirty && !(await this.surroundings.dialogs.askRevert(basename(home.path)))) return cancelled;
      const fresh = await this.read(home.path);
      this.replace(fresh.home, fresh.runIds);
      return done;
    });
  }

  edit(changes: readonly JournalChange[]): Promise<Outcome> {
    return this.action(() => {
      const { document } = this.opened();
      const next = changedLab(this.surroundings, document.lab, changes);
      const [first, ...also] = changes;
      if (first === undefined || JSON.stringify(next) === JSON.stringify(document.lab)) return done;
      this.write({ kind: 'edit', ...first, ...(also.length === 0 ? {} : { also }) });
      document.edit(next, editLabel(changes));
      this.labChanged();
      return done;
    });
  }

  undo(): Promise<Outcome> {
    return this.step('undo');
  }

  redo(): Promise<Outcome> {
    return this.step('redo');
  }

  /** A run ended; its result is part of the document from now on. */
  keepResult(result: RunResult): Promise<Outcome> {
    return this.action(() => {
      const journal = this.journalOfNow();
      this.opened().document.gotResult();
      journal.addResult(result, this.surroundings.runs.isOutdated(result.comparisonId));
      this.surroundings.changed();
      return done;
    });
  }

  recoveries(): Promise<RecoveryOffer[]> {
    return findRecoveries(this.surroundings.recoveryFolder, this.journal?.folder ?? null);
  }

  restore(id: string): Promise<Outcome> {
    return this.action(async () => {
      const { recoveryFolder, task, log } = this.surroundings;
      await this.requireOffer(id);
      const work = await loadRecovery(recoveryFolder, id);
      const { contents, runIds } = await task('read', { name: work.about.name, bytes: work.base });
      if (!(await this.mayLeave())) return cancelled;
      const { path, stamp } = work.about;
      this.replace({ contents, source: work.base, path, stamp }, runIds);
      this.journal = Journal.continue(recoveryFolder, id, work, log);
      replayJournal(work, this.opened().document, this.surroundings);
      this.surroundings.say('info', `Restored ${work.about.name} with the work that was not saved.`);
      if (path !== null) await this.lookAtDisk();
      this.surroundings.changed();
      return done;
    });
  }

  openSaved(id: string): Promise<Outcome> {
    return this.action(async () => {
      const { recoveryFolder, task } = this.surroundings;
      await this.requireOffer(id);
      const work = await loadRecovery(recoveryFolder, id);
      if (work.about.path !== null) {
        const outcome = await this.openFrom(work.about.path);
        if (outcome.status !== 'done') return outcome;
      } else {
        const { contents, runIds } = await task('read', { name: work.about.name, bytes: work.base });
        if (!(await this.mayLeave())) return cancelled;
        this.replace({ contents, source: work.base, path: null, stamp: null }, runIds);
      }
      await discardRecovery(recoveryFolder, id);
      return done;
    });
  }

  discardRecovery(id: string): Promise<Outcome> {
    return this.action(async () => {
      await this.requireOffer(id);
      await discardRecovery(this.surroundings.recoveryFolder, id);
      return done;
    });
  }

  /** Asks what to do with unsaved work; true when the document may go. Nothing is left behind then. */
  mayClose(): Promise<boolean> {
    return this.exclusive(async () => {
      if (this.document === null) return true;
      if (!(await this.mayLeave())) return false;
      this.stopWatching();
      this.surroundings.runs.close();
      await this.journal?.discard();
      this.journal = null;
      return true;
    });
  }

  /** Everything journalled so far is on disk. */
  async flush(): Promise<void> {
    await this.queue;
    await this.journal?.flush();
  }

  private async openFrom(path: string): Promise<Outcome> {
    const { home, runIds } = await this.read(path);
    if (!(await this.mayLeave())) return cancelled;
    this.replace(home, runIds);
    this.remember(path);
    return done;
  }

  private async read(path: string): Promise<{ home: Home; runIds: RunIds }> {
    const { name, bytes, stamp } = await readLabFile(path);
    const { contents, runIds } = await this.surroundings.task('read', { name, bytes });
    return { home: { contents, source: bytes, path, stamp }, runIds };
  }

  private async mayLeave(): Promise<boolean> {
    if (!this.dirty) return true;
    const answer = await this.surroundings.dialogs.askUnsaved(this.displayName);
    if (answer === 'cancel') return false;
    if (answer === 'discard') return true;
    return (await this.saveNow()).status === 'done';
  }

  private async saveNow(): Promise<Outcome> {
    const { home } = this.opened();
    if (home.path === null) return this.saveUnderNewName();
    const onDisk = await stampOf(home.path);
    if (onDisk !== null && !sameStamp(onDisk, home.stamp)) {
      const answer = await this.surroundings.dialogs.askChangedOnDisk(basename(home.path));
      if (answer === 'cancel') return cancelled;
      if (answer === 'saveAs') return this.saveUnderNewName();
    }
    return this.saveTo(home.path);
  }

  private async saveUnderNewName(): Promise<Outcome> {
    const { settings, dialogs, homeFolder } = this.surroundings;
    const { home } = this.opened();
    const folder = home.path === null ? (settings.current.lastFolder ?? homeFolder) : dirname(home.path);
    const path = await chooseTarget(dialogs, {
      title: 'Save Lab As',
      folder,
      name: this.displayName,
      kind: 'IOVA Lab',
      extension: labExtension,
    });
    return path === null ? cancelled : this.saveTo(path);
  }

  private async saveTo(path: string): Promise<Outcome> {
    const { document } = this.opened();
    const { contents } = this;
    const { stamp, bytes } = await this.surroundings.task('write', { path, contents });
    document.saved(document.lab, true);
    this.home = { contents, source: bytes, path, stamp };
    this.changedOnDisk = false;
    await this.journal?.discard();
    this.journal = null;
    this.watch();
    this.remember(path);
    this.surroundings.changed();
    return done;
  }

  private step(kind: 'undo' | 'redo'): Promise<Outcome> {
    return this.action(() => {
      const { document } = this.opened();
      if ((kind === 'undo' ? document.undoLabel : document.redoLabel) === null) return cancelled;
      this.write({ kind });
      document[kind]();
      this.labChanged();
      return done;
    });
  }

  private labChanged(): void {
    this.surroundings.runs.labChanged(this.opened().document.lab);
    this.surroundings.changed();
  }

  private write(entry: JournalEntry): void {
    this.journalOfNow().append(entry);
  }

  private journalOfNow(): Journal {
    const { home } = this.opened();
    const { recoveryFolder, log } = this.surroundings;
    this.journal ??= Journal.begin(
      recoveryFolder,
      { version: 1, name: this.displayName, path: home.path, stamp: home.stamp },
      home.source,
      log,
    );
    return this.journal;
  }

  private replace(home: Home, runIds: RunIds): void {
    void this.journal?.discard();
    this.journal = null;
    this.home = home;
    this.document = new OpenDocument(home.contents.lab);
    this.session += 1;
    this.changedOnDisk = false;
    this.surroundings.runs.open(home.contents, runIds);
    this.watch();
    this.surroundings.changed();
  }

  private watch(): void {
    this.stopWatching();
    const path = this.home?.path ?? null;
    this.stopWatching =
      path === null ? () => undefined : this.surroundings.watch(path, () => void this.action(() => this.lookAtDisk()));
  }

  private async lookAtDisk(): Promise<Outcome> {
    const path = this.home?.path ?? null;
    if (path === null) return done;
    const onDisk = await stampOf(path);
    const changed = !sameStamp(onDisk, this.home?.stamp ?? null);
    if (changed === this.changedOnDisk) return done;
    this.changedOnDisk = changed;
    if (changed) {
      const what = `${basename(path)} was changed or removed by another program since it was opened.`;
      this.surroundings.say('warning', `${what} Revert to see it, or save to put this lab in its place.`);
    }
    this.surroundings.changed();
    return done;
  }

  private remember(path: string): void {
    const { settings } = this.surroundings;
    settings.change({ recent: withRecent(settings.current.recent, path), lastFolder: dirname(path) });
  }

  private async requireOffer(id: string): Promise<void> {
    const offers = await this.recoveries();
    if (!offers.some((offer) => offer.id === id)) {
      throw new DesktopError('not-found', 'That work is no longer there: it was restored or discarded.');
    }
  }

  private opened(): { readonly document: OpenDocument; readonly home: Home } {
    if (this.document === null || this.home === null) throw new DesktopError('busy', 'No lab is open yet.');
    return { document: this.document, home: this.home };
  }

  private action(work: () => Outcome | Promise<Outcome>): Promise<Outcome> {
    return this.exclusive(async () => {
      try {
        return await work();
      } catch (error) {
        const failure = failureOf(error);
        // What people are told is no fault of the app; only a bug needs its stack kept.
        if (failure.code === 'internal') this.surroundings.log(describeError(error));
        return failed(failure);
      }
    });
  }

  private exclusive<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }
}
