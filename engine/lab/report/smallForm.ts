/**
 * The beginning of every run of a lab: so many requests and no more, so that it can be made again and again with a parameter changed.
 * It is the run itself and not another workload; what shows only later in a run does not show in it.
 * Leaves out: whether the beginning speaks for the whole, which whoever reads the report must see from both orders.
 */
import { LabError } from '../../time/labError.ts';
import type { RecordingFiles } from '../../workloads/recordedRequest.ts';
import { LabRun } from '../run.ts';
import type { RunSummary } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';

/** Enough for several rounds of the kernel's queues and caches. */
const MOST_REQUESTS = 1_000;
/** Of one run: where requests are large, fewer of them are made. */
const MOST_EVENTS = 400_000;

export class SmallForm {
  /** What every column completes. */
  readonly requests: number;
  private readonly recordings: ReadonlyMap<string, RecordingFiles>;

  constructor(lab: LabDocument, recordings: ReadonlyMap<string, RecordingFiles>, mostRequests = MOST_REQUESTS) {
    this.recordings = recordings;
    const completed = lab.comparison.flatMap(({ id }) => this.completedBy(lab, id, mostRequests) ?? []);
    this.requests = Math.max(1, Math.min(mostRequests, ...completed));
  }

  /** What a column has to show for its first requests; null where it cannot run. */
  summary(lab: LabDocument, columnId: string): RunSummary | null {
    const run = this.prepare(lab, columnId);
    if (run === null) return null;
    advance(run, this.requests);
    return run.result(true).summary;
  }

  /** Of all columns that can run. */
  summaries(lab: LabDocument): Map<string, RunSummary> {
    return new Map(
      lab.comparison.flatMap(({ id }) => {
        const summary = this.summary(lab, id);
        return summary === null ? [] : [[id, summary] as const];
      }),
    );
  }

  private completedBy(lab: LabDocument, columnId: string, requests: number): number | null {
    const run = this.prepare(lab, columnId);
    return run === null ? null : advance(run, requests);
  }

  private prepare(lab: LabDocument, columnId: string): LabRun | null {
    try {
      return LabRun.prepare(lab, columnId, this.recordings);
    } catch (error) {
      if (error instanceof LabError) return null;
      throw error;
    }
  }
}

/** Event by event, so that every run ends at the same request; returns how many have completed. */
function advance(run: LabRun, requests: number): number {
  let { completed } = run.progress();
  for (let events = 0; completed < requests && events < MOST_EVENTS; events += 1) {
    const state = run.advance(1);
    ({ completed } = run.progress());
    if (state === 'done') break;
  }
  return completed;
}
