/** Which presets a lab is computed with, in a few words: what charts and results are labelled with. */
import type { LabDocument } from './schema.ts';

export function presetLabel({ costs }: LabDocument): string {
  return withChanges(`costs ${costs.preset}`, Object.keys(costs.overrides).length);
}

function withChanges(text: string, changes: number): string {
  return changes === 0 ? text : `${text}, ${changes} changed`;
}
