/**
 * What a conformance suite found, and the lines in which the command line prints it: one a file (`FILE: agree n/m`, and the
 * first difference with both sides), then `skipped: K (reason)`, and last `SUITE: agree N/M`.
 */
export interface Difference {
  /** Where in the file. */
  readonly line: number;
  /** The unit that disagrees, in words. */
  readonly unit: string;
  /** Null: the recording has nothing more here. */
  readonly recorded: string | null;
  /** Null: the emulator did nothing more here. */
  readonly emulated: string | null;
}

export interface Skipped {
  readonly reason: string;
  readonly count: number;
}

export interface FileResult {
  readonly name: string;
  readonly agree: number;
  readonly total: number;
  /** The one that comes first in the file. */
  readonly firstDifference: Difference | null;
  readonly skipped: readonly Skipped[];
}

export interface SuiteResult {
  readonly suite: string;
  readonly agree: number;
  readonly total: number;
  readonly files: readonly FileResult[];
  /** Over all files, most frequent first. */
  readonly skipped: readonly Skipped[];
}

export function suiteResult(suite: string, files: readonly FileResult[]): SuiteResult {
  const counts = new Map<string, number>();
  for (const { reason, count } of files.flatMap((file) => file.skipped)) {
    counts.set(reason, (counts.get(reason) ?? 0) + count);
  }
  const skipped = [...counts].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count);
  const sum = (pick: (file: FileResult) => number): number => files.reduce((total, file) => total + pick(file), 0);
  return { suite, agree: sum((file) => file.agree), total: sum((file) => file.total), files, skipped };
}

export function fileLines(file: FileResult): string[] {
  const lines = [`${file.name}: agree ${file.agree}/${file.total}`];
  const difference = file.firstDifference;
  if (difference !== null) {
    lines.push(
      `  line ${difference.line}, ${difference.unit}:`,
      `    recorded: ${difference.recorded ?? '(nothing more)'}`,
      `    emulated: ${difference.emulated ?? '(nothing more)'}`,
    );
  }
  return lines;
}

export function closingLines(result: SuiteResult): string[] {
  return [
    ...result.skipped.map(({ reason, count }) => `skipped: ${count} (${reason})`),
    `${result.suite}: agree ${result.agree}/${result.total}`,
  ];
}

export function suiteLines(result: SuiteResult): string[] {
  return [...result.files.flatMap(fileLines), ...closingLines(result)];
}
