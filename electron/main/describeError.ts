/* A bug's stack is for the log; people see a sentence (failures.ts). */
export function describeError(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
