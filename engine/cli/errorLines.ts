/** What went wrong in runs, as their logs say it: equal errors once, with how often they were said. */
import type { RunResult } from '../lab/runTypes.ts';

/** Of one run. */
const PRINTED = 5;

/** Misuses of the API are told by misuses.ts. */
export function errorsOf({ log }: Pick<RunResult, 'log'>): { readonly message: string; readonly times: number }[] {
  const times = new Map<string, number>();
  for (const { severity, source, message, misuse } of log) {
    if (severity !== 'error' || misuse !== undefined) continue;
    // messages of a workload differ in their number alone
    const text = `${source}: ${message.replace(/^message \d+ failed/u, 'a message failed')}`;
    times.set(text, (times.get(text) ?? 0) + 1);
  }
  return [...times].map(([message, count]) => ({ message, times: count }));
}

export function errorLines(results: readonly Pick<RunResult, 'label' | 'log'>[]): string[] {
  return results.flatMap((result) => {
    const errors = errorsOf(result);
    const more = errors.length - PRINTED;
    return [
      ...errors
        .slice(0, PRINTED)
        .map(({ message, times }) => `error, ${result.label}: ${message}${times === 1 ? '' : ` (${times} times)`}`),
      ...(more > 0 ? [`error, ${result.label}: and ${more} others`] : []),
    ];
  });
}
