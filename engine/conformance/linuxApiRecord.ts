/**
 * One line of a recording of DMA API calls: the command that was given, the fields that the kernel's module printed, and the
 * events that the call caused. Input may be hostile: lines, nesting and numbers of values are bounded before anything walks
 * them, and every complaint names file and line.
 * Leaves out: what a command means (linuxApiWords.ts).
 */
import { LabError } from '../time/labError.ts';
import { type ApiValue, exactNumber, isFields, isList } from './linuxApiValue.ts';

/** The longest lines of real recordings have some ten thousand characters. */
const LONGEST_LINE = 8 * 1024 * 1024;
const DEEPEST = 6;
const MOST_VALUES = 400_000;
/** Beyond 2^53 a JSON number is not exact as a double: such numbers are read as integers of any size. */
const LONG_NUMBER = /[:[,]\s*-?\d{16}/;
const TEXT_OR_LONG_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g;
const LONG_MARK = '\u0000';

export interface ApiEvent {
  /** Without the star. */
  readonly name: string;
  /** A timer or an interrupt caused it between two calls or inside one: its moment is an input. */
  readonly starred: boolean;
  readonly values: readonly ApiValue[];
}

export interface ApiRecord {
  /** In the file, from 1. */
  readonly line: number;
  readonly index: number;
  readonly command: string;
  readonly word: string;
  /** Words of the command without `=`, after the first. */
  readonly names: readonly string[];
  readonly options: ReadonlyMap<string, string>;
  /** Everything but `i`, `cmd` and `ev`. */
  readonly fields: Readonly<Record<string, ApiValue>>;
  /** Null: this word prints no events. */
  readonly events: readonly ApiEvent[] | null;
}

export function recordError(file: string, line: number, problem: string, remedy: string): LabError {
  return new LabError(`${file}:${line}`, problem, remedy);
}

const REPAIR = 'Copy the recording again: each line is one JSON object.';

/** All records of a file. Empty lines are allowed, an empty file is not. */
export function parseRecords(file: string, text: string): ApiRecord[] {
  const records: ApiRecord[] = [];
  for (const [number, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    records.push(parseRecord(file, number + 1, line));
  }
  if (records.length === 0) throw new LabError(file, 'there is no record in it.', 'Name a recording of DMA API calls.');
  return records;
}

export function parseRecord(file: string, line: number, text: string): ApiRecord {
  if (text.length > LONGEST_LINE) {
    throw recordError(file, line, `the line has ${text.length} characters, more than ${LONGEST_LINE}.`, REPAIR);
  }
  const value = parseExactly(file, line, text);
  const size = { values: 0 };
  bound(file, line, value, 0, size);
  if (!isFields(value)) throw recordError(file, line, 'this is not a JSON object.', REPAIR);
  const { i, cmd, ev, ...fields } = value;
  if (typeof i !== 'number' || !Number.isInteger(i) || i < 0) {
    throw recordError(file, line, 'its number "i" is missing.', REPAIR);
  }
  if (typeof cmd !== 'string') throw recordError(file, line, 'its command "cmd" is missing.', REPAIR);
  const words = cmd.split(' ').filter((word) => word !== '');
  const word = words[0];
  if (word === undefined) throw recordError(file, line, 'its command "cmd" is empty.', REPAIR);
  const names: string[] = [];
  const options = new Map<string, string>();
  if (word !== 'note') {
    for (const part of words.slice(1)) {
      const equals = part.indexOf('=');
      if (equals < 0) names.push(part);
      else options.set(part.slice(0, equals), part.slice(equals + 1));
    }
  }
  return {
    line,
    index: i,
    command: cmd,
    word,
    names,
    options,
    fields,
    events: ev === undefined ? null : parseEvents(file, line, ev),
  };
}

function parseEvents(file: string, line: number, value: ApiValue): ApiEvent[] {
  if (!isList(value)) throw recordError(file, line, '"ev" is not a list of events.', REPAIR);
  return value.map((event) => {
    const name = isList(event) ? event[0] : undefined;
    if (!isList(event) || typeof name !== 'string' || name === '') {
      throw recordError(file, line, 'an event is a list that begins with its name.', REPAIR);
    }
    const starred = name.endsWith('*');
    return { name: starred ? name.slice(0, -1) : name, starred, values: event.slice(1) };
  });
}

/** JSON.parse, but with integers of 16 and more digits as bigints. */
function parseExactly(file: string, line: number, text: string): ApiValue {
  const marked = LONG_NUMBER.test(text)
    ? text.replace(TEXT_OR_LONG_NUMBER, (part) => (part.startsWith('"') ? part : `"\\u0000${part}"`))
    : text;
  try {
    const reviver =
      marked === text
        ? undefined
        : (_name: string, part: unknown): unknown =>
            typeof part === 'string' && part.startsWith(LONG_MARK) ? exactNumber(part.slice(1)) : part;
    return JSON.parse(marked, reviver) as ApiValue;
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/\s+/g, ' ').slice(0, 120) : 'unreadable';
    throw recordError(
      file,
      line,
      `this is not JSON (${reason}).`,
      'Copy the recording again: the line is cut off or damaged.',
    );
  }
}

function bound(file: string, line: number, value: ApiValue, depth: number, size: { values: number }): void {
  size.values += 1;
  if (size.values > MOST_VALUES) {
    throw recordError(file, line, `it holds more than ${MOST_VALUES} values.`, 'No call of a recording is that large.');
  }
  if (value === null || typeof value !== 'object') return;
  if (depth >= DEEPEST) {
    throw recordError(
      file,
      line,
      `it is nested deeper than ${DEEPEST} levels.`,
      'No call of a recording is that deep.',
    );
  }
  for (const part of isList(value) ? value : Object.values(value)) bound(file, line, part, depth + 1, size);
}
