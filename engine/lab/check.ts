/**
 * From text or a value to a lab document that holds together: bounds, format version, schema, and what one place demands
 * of another. Every problem names its place by id and says what to do. Leaves out: whether a recording can be read, which
 * shows when a run is prepared.
 */
import type { z } from 'zod';
import { LabError } from '../time/labError.ts';
import { columnDocument } from './columnLab.ts';
import { parseAssignment, pathText, resolvePath, withValueAt } from './documentPath.ts';
import { parseHostileJson, refuseHostile } from './hostileJson.ts';
import { crossCheck } from './crossCheck.ts';
import { migrate } from './migrations.ts';
import { withPresetChosen, withPresetFields } from './presetFields.ts';
import { labSchema, type LabDocument } from './schema.ts';

export interface LabProblem {
  /** Path inside the document. */
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

export type CheckedLab =
  | { readonly lab: LabDocument; readonly problems: readonly [] }
  | { readonly lab: null; readonly problems: readonly LabProblem[] };

/** Checks a value. `recordings`: the ids of the recordings at hand, null where that is not known. */
export function checkLab(value: unknown, where: string, recordings: ReadonlySet<string> | null = null): CheckedLab {
  refuseHostile(value, where);
  const document = withPresetFields(migrate(value, where));
  const parsed = labSchema.safeParse(document);
  if (!parsed.success)
    return { lab: null, problems: parsed.error.issues.map((issue) => schemaProblem(document, issue)) };
  const problems = [...crossCheck(parsed.data, recordings), ...columnProblems(parsed.data, recordings)];
  return problems.length > 0 ? { lab: null, problems } : { lab: parsed.data, problems: [] };
}

/** What is wrong with the document of a column that differs from the others; what all have in common is told once, for the whole. */
function columnProblems(lab: LabDocument, recordings: ReadonlySet<string> | null): LabProblem[] {
  return lab.comparison.flatMap((comparison): LabProblem[] => {
    if (comparison.set === undefined) return [];
    const where = `comparison[${comparison.id}].set`;
    const alone = { ...comparison, set: undefined };
    try {
      const document = columnDocument({ ...lab, comparison: [alone], experiment: undefined }, comparison);
      const parsed = labSchema.safeParse(document);
      const problems = parsed.success
        ? crossCheck(parsed.data, recordings)
        : parsed.error.issues.map((issue) => schemaProblem(document, issue));
      return problems.map(({ path, problem, remedy }) => ({ path: `${where}: ${path}`, problem, remedy }));
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      return [
        {
          path: error.where === where ? where : `${where}: ${error.where}`,
          problem: error.problem,
          remedy: error.remedy,
        },
      ];
    }
  });
}

/** Like checkLab, but throws the first problem. `where` names the file. */
export function parseLab(value: unknown, where: string, recordings: ReadonlySet<string> | null = null): LabDocument {
  const { lab, problems } = checkLab(value, where, recordings);
  if (lab) return lab;
  throw problemError(problems, where);
}

export function parseLabText(text: string, where: string, recordings: ReadonlySet<string> | null = null): LabDocument {
  return parseLab(parseHostileJson(text, where), where, recordings);
}

/**
 * The document after one `PATH=VALUE`. A value that reads as JSON is taken as JSON, unless the schema refuses it at that
 * place and would take the text: 6.12 is a kernel there, and 7 a name.
 */
export function withAssignment(document: unknown, text: string): unknown {
  const { path, value, raw } = parseAssignment(text);
  const changed = withPresetChosen(withValueAt(document, path, value), resolvePath(document, path));
  if (value === raw || fitsAt(changed, document, path)) return changed;
  const asText = withPresetChosen(withValueAt(document, path, raw), resolvePath(document, path));
  return fitsAt(asText, document, path) ? asText : changed;
}

/** Whether the schema takes what stands at a path of the changed document; other places may still be wrong. */
function fitsAt(changed: unknown, document: unknown, path: string): boolean {
  const steps = resolvePath(document, path);
  const { error } = labSchema.safeParse(changed);
  return !error?.issues.some(
    (issue) => issue.path.length >= steps.length && steps.every((step, index) => issue.path[index] === step),
  );
}

/** The first problem as an error, with the number of the others. */
function problemError(problems: readonly LabProblem[], where: string): LabError {
  const first = problems[0] ?? { path: '', problem: 'it is not a lab.', remedy: 'Start from an example lab.' };
  const more = problems.length > 1 ? ` (${problems.length - 1} more: see "check")` : '';
  const place = [where, first.path].filter((part) => part !== '').join(': ');
  return new LabError(place, first.problem, `${first.remedy}${more}`);
}

function schemaProblem(document: unknown, issue: z.core.$ZodIssue): LabProblem {
  const path = pathText(document, issue.path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return {
        path,
        problem: `there is no ${issue.keys.map((key) => `"${key}"`).join(', ')} here.`,
        remedy: 'Remove it, or correct its name ("schema" prints all names).',
      };
    case 'invalid_union':
      return {
        path,
        problem: 'the value is not one of those that are allowed here.',
        remedy: 'Print "schema" to see them.',
      };
    case 'invalid_value':
      return {
        path,
        problem: 'the value is not one of those that are allowed here.',
        remedy: `Use ${issue.values.map((value) => JSON.stringify(value)).join(', ')}.`,
      };
    case 'too_small':
      return {
        path,
        problem: `it is too small${range(issue.origin)}.`,
        remedy: `The least is ${String(issue.minimum)}.`,
      };
    case 'too_big':
      return {
        path,
        problem: `it is too large${range(issue.origin)}.`,
        remedy: `The most is ${String(issue.maximum)}.`,
      };
    case 'invalid_type':
      return {
        path,
        problem: stands(document, issue.path) === undefined ? 'the value is missing.' : `this is no ${issue.expected}.`,
        remedy: `Give a value of type ${issue.expected}.`,
      };
    default:
      return {
        path,
        problem: `${issue.message.replace(/\.$/, '')}.`,
        remedy: 'Print "schema" to see what is allowed.',
      };
  }
}

function stands(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, step) => (typeof value === 'object' && value !== null ? Reflect.get(value, step) : undefined),
    document,
  );
}

function range(origin: string): string {
  return origin === 'string' || origin === 'array' ? ' (its length counts)' : '';
}
