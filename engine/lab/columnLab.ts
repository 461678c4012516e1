/**
 * What a column of the comparison runs: the document with what the column sets, so that columns may differ in anything that a machine or
 * its work is made of. Leaves out: members of the document that are no input of a run.
 */
import { LabError } from '../time/labError.ts';
import { resolvePath, withValueAt } from './documentPath.ts';
import { withPresetChosen, withPresetFields } from './presetFields.ts';
import { labSchema, type Comparison, type LabDocument } from './schema.ts';

/** Where a column may differ. */
const INPUTS = ['topology', 'workloads', 'costs', 'kernelProfile', 'seed'];

/** The document of a column, not checked yet. Throws a LabError where a path leads nowhere, or to what is no input of a run. */
export function columnDocument(lab: LabDocument, { id, set = [] }: Comparison): unknown {
  let document: unknown = lab;
  for (const { path, value } of set) {
    const where = `comparison[${id}].set`;
    if (!INPUTS.some((input) => path === input || path.startsWith(`${input}.`) || path.startsWith(`${input}[`))) {
      throw new LabError(where, `a column cannot set "${path}".`, `Set what lies in ${INPUTS.join(', ')}.`);
    }
    document = withPresetChosen(withValueAt(document, path, value), resolvePath(document, path));
  }
  return withPresetFields(document);
}

/** The document of a column of a lab that has been checked. */
export function columnLab(lab: LabDocument, comparison: Comparison): LabDocument {
  return comparison.set === undefined ? lab : labSchema.parse(columnDocument(lab, comparison));
}
