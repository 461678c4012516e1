/** What the API checker found, as lines: how many misuses of which kinds, and the first ones with the calls before them. */
import { MISUSE_TITLES, type ApiMisuse, type MisuseKind } from '../lab/misuseNames.ts';
import { formatTime } from '../lab/quantity.ts';
import type { RunResult } from '../lab/runTypes.ts';

/** Misuses of a run that are printed in full: the first of so many kinds. */
const PRINTED = 3;
/** Calls of a history that are printed, the last ones. */
const PRINTED_CALLS = 6;

export function misuseLines(results: readonly Pick<RunResult, 'label' | 'checker'>[]): string[] {
  return results.flatMap(({ label, checker }) => {
    if (checker === undefined) return [];
    const { errorCount, misuses, stopped, byKind } = checker;
    const head = `API checker, ${label}: ${errorCount} ${errorCount === 1 ? 'misuse' : 'misuses'}`;
    if (errorCount === 0) return ['', head];
    const kinds = (Object.keys(MISUSE_TITLES) as MisuseKind[]).flatMap((kind) => {
      const count = byKind[kind] ?? 0;
      return count === 0 ? [] : [`  ${count} ${count === 1 ? 'time' : 'times'} ${MISUSE_TITLES[kind]}`];
    });
    const firsts = misuses.filter(({ kind }, index) => misuses.findIndex((other) => other.kind === kind) === index);
    return [
      '',
      `${head}${stopped ? '; the run was stopped there' : ''}`,
      ...kinds,
      ...firsts.slice(0, PRINTED).flatMap(describe),
    ];
  });
}

function describe({ at, driver, device, message, call, history, omitted }: ApiMisuse): string[] {
  const hidden = omitted + Math.max(0, history.length - PRINTED_CALLS);
  return [
    `  ${formatTime(at)}  ${driver} ${device}: ${message}`,
    `    in ${call}`,
    ...(hidden > 0 ? [`    after ${hidden} ${hidden === 1 ? 'call' : 'calls'} and`] : []),
    ...history.slice(-PRINTED_CALLS).map(callLine),
  ];
}

function callLine({ at, cpu, text }: ApiMisuse['history'][number]): string {
  return `    after ${formatTime(at)}  ${cpu < 0 ? 'device' : `CPU ${cpu}`}  ${text}`;
}
