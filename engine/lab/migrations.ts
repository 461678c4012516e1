/**
 * Brings an older lab document up to the format that this engine reads, one step per format version. A newer format is
 * refused: guessing at what its members mean would run another experiment than the one that was saved.
 */
import { LabError } from '../time/labError.ts';
import { FORMAT_VERSION } from './schema.ts';

type Migration = (document: Record<string, unknown>) => Record<string, unknown>;

/** `MIGRATIONS[n]` turns format n into format n + 1. Format 1 is the first that was ever released. */
const MIGRATIONS: Readonly<Record<number, Migration>> = {};

export function migrate(
  document: unknown,
  where: string,
  target: number = FORMAT_VERSION,
  migrations: Readonly<Record<number, Migration>> = MIGRATIONS,
): Record<string, unknown> {
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw new LabError(where, 'this is no lab document: a lab is a JSON object.', 'Start from an example lab.');
  let current = document as Record<string, unknown>;
  const format = current['format'];
  if (typeof format !== 'number' || !Number.isInteger(format) || format < 1)
    throw new LabError(
      `${where}: format`,
      'there is no format version, so this is no lab document.',
      `Set "format": ${target}.`,
    );
  if (format > target)
    throw new LabError(
      `${where}: format`,
      `the lab is of format ${format}, and this version reads formats up to ${target}.`,
      'Open it with a newer IOVA Lab.',
    );
  for (let version = format; version < target; version += 1) {
    const step = migrations[version];
    if (!step)
      throw new LabError(
        `${where}: format`,
        `format ${version} can no longer be read.`,
        'Open and save it with an older IOVA Lab first.',
      );
    current = { ...step(current), format: version + 1 };
  }
  return current;
}
