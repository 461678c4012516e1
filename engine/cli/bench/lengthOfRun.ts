/**
 * Whether a long run costs more per access than a short one: a run of many accesses against short ones of the same lab, one after
 * the other. A figure of 1 means that nothing grows with the length of a run.
 */
import { median } from './pairs.ts';
import { benchLab, runBenchLab } from './wholeRun.ts';

export interface LengthFigure {
  readonly shortAccesses: number;
  readonly longAccesses: number;
  /** Median over the pairs of CPU time per access, long over short. */
  readonly ratio: number;
}

/** Short runs beside one long run, so that a start is not all that is measured of them. */
const SHORT_RUNS = 5;

export function measureLengthOfRun(pairs: number, shortAccesses: number, longAccesses: number): LengthFigure {
  const short = benchLab(shortAccesses);
  const long = benchLab(longAccesses);
  runBenchLab(short);
  const ratios = Array.from({ length: pairs }, () => {
    const perShort = timePerAccess(() => {
      let accesses = 0;
      for (let run = 0; run < SHORT_RUNS; run += 1) accesses += runBenchLab(short);
      return accesses;
    });
    return timePerAccess(() => runBenchLab(long)) / perShort;
  });
  return { shortAccesses, longAccesses, ratio: median(ratios) };
}

function timePerAccess(work: () => number): number {
  const begun = process.cpuUsage();
  const accesses = work();
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / accesses;
}
