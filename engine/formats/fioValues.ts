/**
 * The lines and values of fio's job files (fio's HOWTO: "Job file format", "Parameter types"): sections, comments, and numbers with units.
 * With the default `kb_base=1024` a "k" or "kb" is 1024, and the units with an "i" are those of 1000.
 */
import { LabError } from '../time/labError.ts';

export interface FioOption {
  readonly name: string;
  /** Empty where the line is a name alone. */
  readonly value: string;
  readonly line: number;
}

export interface FioSection {
  readonly name: string;
  readonly line: number;
  readonly options: readonly FioOption[];
}

const MOST_LINES = 20_000;
const MOST_LINE_LENGTH = 4096;
const POWERS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 };
const SECONDS: Readonly<Record<string, number>> = {
  d: 86_400,
  h: 3600,
  m: 60,
  '': 1,
  s: 1,
  ms: 1e-3,
  msec: 1e-3,
  us: 1e-6,
  usec: 1e-6,
};

export function sectionsOf(text: string, file: string): FioSection[] {
  const lines = text.split(/\r?\n/u);
  if (lines.length > MOST_LINES) {
    throw new LabError(file, `${lines.length} lines are more than a fio job file has.`, `Give at most ${MOST_LINES}.`);
  }
  const sections: { name: string; line: number; options: FioOption[] }[] = [];
  for (const [index, raw] of lines.entries()) {
    const line = index + 1;
    const place = `${file}:${line}`;
    if (raw.length > MOST_LINE_LENGTH) throw new LabError(place, 'the line is too long.', 'No line of a job file is.');
    const content = raw
      .replace(/^\s*[#;].*$/u, '')
      .replace(/\s+[#;].*$/u, '')
      .trim();
    if (content === '') continue;
    const head = /^\[([^\]]+)\]$/u.exec(content);
    if (head !== null) {
      sections.push({ name: head[1]!.trim(), line, options: [] });
      continue;
    }
    const section = sections.at(-1);
    if (section === undefined) {
      throw new LabError(
        place,
        `"${shown(content)}" stands before any section.`,
        'Begin with [global] or the name of a job.',
      );
    }
    if (content.includes('${')) {
      throw new LabError(place, 'it refers to an environment variable.', 'Write the value itself.');
    }
    const equals = content.indexOf('=');
    const name = (equals === -1 ? content : content.slice(0, equals)).trim();
    if (!/^[a-z][a-z0-9_]*(\s.*)?$/iu.test(name)) {
      throw new LabError(
        place,
        `"${shown(content)}" is neither an option nor a section.`,
        'Write options as name=value.',
      );
    }
    const value =
      equals === -1
        ? ''
        : content
            .slice(equals + 1)
            .trim()
            .replace(/^(["'])(.*)\1$/u, '$2');
    section.options.push({ name: name.split(/\s/u)[0]!.toLowerCase(), value, line });
  }
  return sections;
}

/** Bytes; `text` is the option's value or a part of it. */
export function fioBytes(option: FioOption, text: string, file: string): number {
  const parts = /^(0x[0-9a-f]+|\d+)\s*([kmgtp]?)(i?)(b?)$/iu.exec(text.trim());
  const power = POWERS[parts?.[2]?.toLowerCase() ?? ''] ?? 0;
  const bytes = parts === null ? NaN : Number(parts[1]) * (parts[3] === '' ? 1024 : 1000) ** power;
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new LabError(
    `${file}:${option.line}`,
    `${option.name}: "${shown(text)}" is no size.`,
    'Write it as 4096, 64k or 1g.',
  );
}

export function fioCount(option: FioOption, file: string, least: number, most: number): number {
  const count = /^(0x[0-9a-f]+|\d+)$/iu.test(option.value) ? Number(option.value) : NaN;
  if (count >= least && count <= most) return count;
  throw new LabError(
    `${file}:${option.line}`,
    `${option.name}: "${shown(option.value)}" is out of its range.`,
    `Write a whole number from ${least} to ${most}.`,
  );
}

export function fioPercent(option: FioOption, file: string): number {
  const percent = /^\d+%?$/u.test(option.value) ? Number.parseInt(option.value, 10) : NaN;
  if (percent >= 0 && percent <= 100) return percent;
  throw new LabError(
    `${file}:${option.line}`,
    `${option.name}: "${shown(option.value)}" is no percentage.`,
    'Write 0 to 100.',
  );
}

export function fioSeconds(option: FioOption, file: string): number {
  const parts = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/iu.exec(option.value);
  const unit = SECONDS[parts?.[2]?.toLowerCase() ?? ''];
  if (parts !== null && unit !== undefined) return Number(parts[1]) * unit;
  throw new LabError(
    `${file}:${option.line}`,
    `${option.name}: "${shown(option.value)}" is no time.`,
    'Write it as 30s or 2m.',
  );
}

export function fioBoolean(option: FioOption, file: string): boolean {
  if (option.value === '' || option.value === '1') return true;
  if (option.value === '0') return false;
  throw new LabError(
    `${file}:${option.line}`,
    `${option.name}: "${shown(option.value)}" is neither 0 nor 1.`,
    'Write 0 or 1.',
  );
}

/** A part of hostile text, short enough for a message. */
function shown(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
