/*
 * How an edit becomes a new lab, and how the entries of a journal become the document again after a crash.
 */
import type { LabDocument } from '../../engine/lab/schema.ts';
import type { LabChange } from '../ipc/api.ts';
import { DesktopError, failureOf } from './failures.ts';
import type { OpenDocument } from './openDocument.ts';
import type { RecoveredWork } from './recovery.ts';
import type { RunService } from './runService.ts';

export interface LabEditor {
  readonly runs: RunService;
  /** A changed copy of the lab, or a LabError that says what is wrong with the change. */
  applyEdit(lab: LabDocument, changes: readonly LabChange[]): LabDocument;
  readonly log: (message: string) => void;
}

export function editLabel(changes: readonly LabChange[]): string {
  return `Change ${changes.map(({ path }) => path).join(', ')}`;
}

export function changedLab(editor: LabEditor, lab: LabDocument, changes: readonly LabChange[]): LabDocument {
  try {
    return editor.applyEdit(lab, changes);
  } catch (error) {
    const failure = failureOf(error, 'bad-edit');
    if (failure.code === 'internal') throw error;
    throw new DesktopError('bad-edit', failure.message);
  }
}

/** An entry that no longer fits (a newer app may refuse an older edit) is left out and logged. */
export function replayJournal(work: RecoveredWork, document: OpenDocument, editor: LabEditor): void {
  for (const entry of work.entries) {
    switch (entry.kind) {
      case 'edit':
        try {
          const { path, value, also = [] } = entry;
          const changes = [{ path, value }, ...also];
          document.edit(changedLab(editor, document.lab, changes), editLabel(changes));
        } catch (error) {
          editor.log(`an edit of the journal no longer fits: ${String(error)}`);
        }
        break;
      case 'undo':
        document.undo();
        break;
      case 'redo':
        document.redo();
        break;
      case 'run': {
        const result = work.results.get(entry.file);
        if (result !== undefined) {
          editor.runs.adopt(result, entry.outdated);
          document.gotResult();
        }
        break;
      }
    }
    // A result is adopted for the lab as it was at that moment, so that one made outdated by a later edit says so.
    editor.runs.labChanged(document.lab);
  }
}
