/**
 * What the command says and how it ends: results on stdout, one JSON object with --json; progress and errors on stderr,
 * progress only where someone watches. An error is one sentence; its stack shows with LAB_DEBUG set.
 */
import { LabError } from '../time/labError.ts';

export const EXIT = { fine: 0, checkFailed: 1, badInput: 2, environmentFailed: 3 } as const;
export type ExitStatus = (typeof EXIT)[keyof typeof EXIT];

interface Failure {
  readonly status: ExitStatus;
  /** A file, a place in a document or an argument; null where there is none. */
  readonly where: string | null;
  readonly message: string;
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** NaN, which JSON cannot say, becomes null. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Says what went wrong, and returns the exit status for it. */
export function reportFailure(error: unknown, json: boolean): ExitStatus {
  const { status, message, where } = judge(error);
  process.stderr.write(`lab: ${message}\n`);
  if (process.env['LAB_DEBUG'] !== undefined && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  if (json) printFailure({ status, where, message });
  return status;
}

/** What went wrong as the one JSON object on stdout. */
export function printFailure(error: Failure): void {
  printJson({ error });
}

function judge(error: unknown): Failure {
  if (error instanceof LabError) return { status: EXIT.badInput, message: error.message.trim(), where: error.where };
  if (isSystemError(error)) {
    const where = error.path ?? null;
    const message = `${where === null ? '' : `${where}: `}${SYSTEM_ERRORS[error.code] ?? error.message}`;
    return { status: EXIT.environmentFailed, message, where };
  }
  const reason = error instanceof Error ? error.message : String(error);
  const message = `something inside the emulator went wrong (${reason}). Set LAB_DEBUG=1 to see where, and report it.`;
  return { status: EXIT.environmentFailed, message, where: null };
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  EACCES: 'access is denied. Choose another place, or change its permissions.',
  EPERM: 'access is denied. Choose another place, or change its permissions.',
  EROFS: 'the file system is read-only. Choose another place.',
  ENOSPC: 'the disk is full. Make room, or choose another place.',
  ENOENT: 'there is no such file or folder. Check the name.',
  ENOTDIR: 'a part of the path is no folder. Check the name.',
  EISDIR: 'this is a folder. Name a file.',
};

function isSystemError(error: unknown): error is Error & { code: string; path?: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}

/** A line on stderr that is written over and over, at most ten times a second; silent unless stderr is a terminal. */
export class ProgressLine {
  private readonly watched = process.stderr.isTTY;
  private shownAt = 0;
  private readonly begun = performance.now();

  /** True when it is time to show something; asking costs little. */
  get due(): boolean {
    return this.watched && performance.now() - this.shownAt >= 100;
  }

  get elapsedSeconds(): number {
    return (performance.now() - this.begun) / 1000;
  }

  show(text: string): void {
    if (!this.watched) return;
    this.shownAt = performance.now();
    process.stderr.write(`\r\u001b[K${text}`);
  }

  clear(): void {
    if (this.watched && this.shownAt > 0) process.stderr.write('\r\u001b[K');
  }
}
