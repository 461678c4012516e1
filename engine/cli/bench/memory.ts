/** Memory that a run of a given length takes at its peak, each in a process of its own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { benchLab, runBenchLab } from './wholeRun.ts';

/**
 * Runs, and returns the most that this process has ever had resident, less what it had before the run.
 */
export function peakMemory(accesses: number): number {
  const before = process.memoryUsage.rss();
  runBenchLab(benchLab(accesses));
  return process.resourceUsage().maxRSS * 1024 - before;
}

/** The same, measured in a child: what else this process holds does not count. */
export async function measureMemory(entry: string, accesses: number): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [entry, 'bench', '--memory', String(accesses)]);
  return Number(stdout.trim());
}
