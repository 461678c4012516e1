/**
 * Paths inside a lab document, as people write them: `workloads[0].blockSize`, or by id `workloads[nvme0].blockSize`. One
 * reading for `--set`, for edits from the window and for messages, which name places by id where there is one.
 */
import { LabError } from '../time/labError.ts';
import { suggestNames } from './nearestNames.ts';

type Step = string | number;
type Container = Record<string, unknown> | unknown[];

const PATH_PART = /^(?:\.?([A-Za-z_$][\w$-]*)|\[([^[\]]+)\]|\.([\w$-]+))/;
const REFUSED_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/** Writes the place of a zod issue or of a walk, with ids for indices. */
export function pathText(document: unknown, path: readonly PropertyKey[]): string {
  let text = '';
  let value = document;
  for (const step of path) {
    const next: unknown = isContainer(value) ? Reflect.get(value, step) : undefined;
    if (Array.isArray(value)) text += `[${idOf(next) ?? String(step)}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(String(step))) text += `${text === '' ? '' : '.'}${String(step)}`;
    else text += `[${String(step)}]`;
    value = next;
  }
  return text;
}

/** A copy of the document with one value replaced; the original stays as it was. Undefined removes the member. */
export function withValueAt(document: unknown, path: string, value: unknown): unknown {
  const steps = parsePath(path);
  return replaceAt(document, steps, 0, path, value);
}

/** The value at a path; undefined where a member may be but is not. */
export function valueAt(document: unknown, path: string): unknown {
  let value = document;
  for (const step of parsePath(path)) {
    if (!isContainer(value)) return undefined;
    const key: Step = Array.isArray(value) ? indexIn(value, step, path) : step;
    value = Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
  }
  return value;
}

/** The keys and indices that a path stands for in this document. */
export function resolvePath(document: unknown, path: string): Step[] {
  let value = document;
  return parsePath(path).map((step) => {
    const key: Step = Array.isArray(value) ? indexIn(value, step, path) : step;
    value = isContainer(value) && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
    return key;
  });
}

/** `PATH=VALUE` of `--set`: `value` is JSON where it reads as JSON, else the text itself, which `raw` is in any case. */
export function parseAssignment(text: string): { path: string; value: unknown; raw: string } {
  const equals = text.indexOf('=');
  if (equals < 1)
    throw new LabError(`--set ${text}`, 'this is not PATH=VALUE.', 'Write for instance workloads[0].blockSize=4096.');
  const raw = text.slice(equals + 1);
  let value: unknown = raw;
  try {
    value = JSON.parse(raw);
  } catch {
    value = raw;
  }
  return { path: text.slice(0, equals).trim(), value, raw };
}

function parsePath(path: string): Step[] {
  const steps: Step[] = [];
  let rest = path;
  while (rest !== '') {
    const match = PATH_PART.exec(rest);
    if (!match)
      throw new LabError(
        path,
        `the path stops making sense at "${rest}".`,
        'Write for instance workloads[0].blockSize.',
      );
    const step = match[1] ?? match[2] ?? match[3] ?? '';
    if (REFUSED_KEYS.has(step)) throw new LabError(path, `"${step}" is no name of a lab.`, 'Choose another name.');
    steps.push(step);
    rest = rest.slice(match[0].length);
  }
  if (steps.length === 0) throw new LabError('path', 'it is empty.', 'Write for instance workloads[0].blockSize.');
  return steps;
}

function replaceAt(value: unknown, steps: readonly Step[], depth: number, path: string, replacement: unknown): unknown {
  const step = steps[depth];
  if (step === undefined) return replacement;
  if (Array.isArray(value)) {
    const index = indexIn(value, step, path);
    const copy: unknown[] = [...(value as unknown[])];
    if (depth === steps.length - 1 && replacement === undefined) copy.splice(index, 1);
    else copy[index] = replaceAt(copy[index], steps, depth + 1, path, replacement);
    return copy;
  }
  if (value !== undefined && (value === null || typeof value !== 'object'))
    throw new LabError(path, `there is nothing below "${steps.slice(0, depth).join('.')}".`, 'Shorten the path.');
  const source = (value ?? {}) as Record<string, unknown>;
  const member = replaceAt(Object.hasOwn(source, step) ? source[step] : undefined, steps, depth + 1, path, replacement);
  return Object.fromEntries(Object.entries({ ...source, [step]: member }).filter(([, entry]) => entry !== undefined));
}

function indexIn(list: readonly unknown[], step: Step, path: string): number {
  const byId = list.findIndex((element) => idOf(element) === step);
  if (byId >= 0) return byId;
  const index = Number(step);
  if (Number.isInteger(index) && index >= 0 && index <= list.length) return index;
  const ids = list.flatMap((element) => idOf(element) ?? []);
  throw new LabError(path, `there is no "${step}" among ${list.length} elements.`, suggestNames(String(step), ids));
}

function idOf(value: unknown): string | undefined {
  if (!isContainer(value) || Array.isArray(value)) return undefined;
  const id = value['id'];
  return typeof id === 'string' ? id : undefined;
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}
