/**
 * Whether a long run costs more per access than a short one: a run of many accesses against short ones of the same lab, one after
 * the other. A figure of 1 means that nothing grows with the length of a run.
 */
import { LabRun } from '../../lab/run.ts';
import type { LabDocument } from '../../lab/schema.ts';
import { median } from './pairs.ts';
import { benchLab, runBenchLab } from './wholeRun.ts';

export interface LengthFigure {
  readonly shortAccesses: number;
  readonly longAccesses: number;
  /** Median over the pairs of CPU time per access, long over short. */
  readonly ratio: number;
}

/** Short runs beside one long run. */
const SHORT_RUNS = 5;
/** The first runs are the compiler's, which a long run hides in its length. */
const FIRST_RUNS = 6;

export function measureLengthOfRun(pairs: number, shortAccesses: number, longAccesses: number): LengthFigure {
  const short = benchLab(shortAccesses);
  const long = benchLab(longAccesses);
  for (let first = 0; first < FIRST_RUNS; first += 1) runBenchLab(short);
  const ratios = Array.from({ length: pairs }, () => {
    const perShort = median(Array.from({ length: SHORT_RUNS }, () => timePerAccess(short)));
    return timePerAccess(long) / perShort;
  });
  return { shortAccesses, longAccesses, ratio: median(ratios) };
}

/** CPU time of a run itself: what making its machine takes is the same for every length. */
function timePerAccess(lab: LabDocument): number {
  const run = LabRun.prepare(lab, 'run', new Map());
  const begun = process.cpuUsage();
  while (run.advance(100_000) === 'running');
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / (run.result().counters['iotlbLookups'] ?? Number.NaN);
}
