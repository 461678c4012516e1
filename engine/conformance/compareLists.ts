/**
 * Compares the recorded list of a request with the emulated one, line by line.
 */
import type { RecordedLine } from './recordedLists.ts';

export interface ListDifference {
  /** Where in the recording; the last line of the list when the emulator did more than was recorded. */
  readonly line: number;
  /** Null: the recorded list ended before. */
  readonly recorded: string | null;
  /** Null: the emulated list ended before. */
  readonly emulated: string | null;
}

/** Null: the lists are equal. `end` is the line that is named when the recording has fewer events. */
export function firstDifference(
  recorded: readonly RecordedLine[],
  emulated: readonly string[],
  end: number,
): ListDifference | null {
  const count = Math.max(recorded.length, emulated.length);
  for (let index = 0; index < count; index += 1) {
    const expected = recorded[index];
    const produced = emulated[index];
    if (expected?.text === produced) continue;
    return { line: expected?.line ?? end, recorded: expected?.text ?? null, emulated: produced ?? null };
  }
  return null;
}
