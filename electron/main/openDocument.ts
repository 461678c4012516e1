/*
 * The open document in memory: the lab, what undo and redo would bring, and whether anything is not in the file yet. Labs are
 * immutable values that share structure, so a step of undo costs little. Runs are never undone.
 */
import type { LabDocument } from '../../engine/lab/schema.ts';

interface Step {
  readonly lab: LabDocument;
  readonly label: string;
}

const undoDepth = 200;

export class OpenDocument {
  private now: LabDocument;
  private savedLab: LabDocument;
  private undoSteps: Step[] = [];
  private redoSteps: Step[] = [];
  private unsavedResults = false;
  private changes = 0;

  constructor(lab: LabDocument) {
    this.now = lab;
    this.savedLab = lab;
  }

  get lab(): LabDocument {
    return this.now;
  }

  get revision(): number {
    return this.changes;
  }

  get dirty(): boolean {
    return this.unsavedResults || this.now !== this.savedLab;
  }

  get undoLabel(): string | null {
    return this.undoSteps.at(-1)?.label ?? null;
  }

  get redoLabel(): string | null {
    return this.redoSteps.at(-1)?.label ?? null;
  }

  edit(lab: LabDocument, label: string): void {
    this.undoSteps.push({ lab: this.now, label });
    if (this.undoSteps.length > undoDepth) this.undoSteps.shift();
    this.redoSteps = [];
    this.show(lab);
  }

  undo(): boolean {
    return this.step(this.undoSteps, this.redoSteps);
  }

  redo(): boolean {
    return this.step(this.redoSteps, this.undoSteps);
  }

  gotResult(): void {
    this.unsavedResults = true;
  }

  /** What was written is what the document was when saving began; edits made meanwhile stay unsaved. */
  saved(lab: LabDocument, withResults: boolean): void {
    this.savedLab = lab;
    if (withResults) this.unsavedResults = false;
  }

  private step(from: Step[], to: Step[]): boolean {
    const step = from.pop();
    if (step === undefined) return false;
    to.push({ lab: this.now, label: step.label });
    this.show(step.lab);
    return true;
  }

  private show(lab: LabDocument): void {
    this.now = lab;
    this.changes += 1;
  }
}
