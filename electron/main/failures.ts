/*
 * From an error to the sentence that people see: { code, message }. An error that we made on purpose says what is wrong
 * and where; any other is a bug, and its message (which may hold a path or a stack) goes to the log only.
 */
import { LabError } from '../../engine/time/labError.ts';
import type { LabFailure, Outcome } from '../ipc/api.ts';

export class DesktopError extends Error {
  readonly code: LabFailure['code'];

  constructor(code: LabFailure['code'], message: string) {
    super(message);
    this.name = 'DesktopError';
    this.code = code;
  }
}

export function failureOf(error: unknown, code: LabFailure['code'] = 'bad-file'): LabFailure {
  if (error instanceof DesktopError) return { code: error.code, message: error.message };
  if (error instanceof LabError) return { code, message: error.message };
  return {
    code: 'internal',
    message: 'Something went wrong inside the app. The log has the details (Help, Open Log Folder).',
  };
}

export const done: Outcome = { status: 'done' };
export const cancelled: Outcome = { status: 'cancelled' };

export function failed(error: LabFailure): Outcome {
  return { status: 'failed', error };
}
