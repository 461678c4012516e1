/** What the API checker found, as lines: how many misuses of which kinds, and the first ones with the calls before them. */
import { MISUSE_TITLES, type ApiMisuse, type MisuseKind } from '../lab/misuseNames.ts';
import { formatTime } from '../lab/quantity.ts';
import type { RunResult } from '../lab/runTypes.ts';

/** Misuses of a run that are printed in full. */
const PRINTED = 3;

export function misuseLines(results: readonly Pick<RunResult, 'label' | 'checker'>[]): string[] {
  return results.flatMap(({ label, checker }) => {
    if (checker === undefined) return [];
    const { errorCount, misuses, stopped, byKind } = checker;
    const head = `API checker, ${label}: ${errorCount} ${errorCount === 1 ? 'misuse' : 'misuses'}`;
    if (errorCount === 0) return ['', head];
    const kinds = (Object.keys(MISUSE_TITLES) as MisuseKind[]).flatMap((kind) => {
      const count = byKind[kind] ?? 0;
      return count === 0 ? [] : [`  ${count} times ${MISUSE_TITLES[kind]}`];
    });
    const more = errorCount - Math.min(PRINTED, misuses.length);
    return [
      '',
      `${head}${stopped ? '; the run was stopped there' : ''}`,
      ...kinds,
      ...misuses.slice(0, PRINTED).flatMap(describe),
      ...(more > 0 ? [`  ... and ${more} more`] : []),
    ];
  });
}

function describe({ at, driver, device, message, call, history, omitted }: ApiMisuse): string[] {
  return [
    `  ${formatTime(at)}  ${driver} ${device}: ${message}`,
    `    in ${call}`,
    ...history.map(
      (past) => `    after ${formatTime(past.at)}  ${past.cpu < 0 ? 'device' : `CPU ${past.cpu}`}  ${past.text}`,
    ),
    ...(omitted > 0 ? [`    (${omitted} calls in between are not shown)`] : []),
  ];
}
