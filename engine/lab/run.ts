/**
 * One run: a machine built from a lab and one column of its comparison, stepped in slices until its workloads are done. The
 * same code on the command line and in a worker thread; what it computes depends on its inputs alone, and its id is a hash
 * of them. Leaves out: threads, clocks and pausing, which belong to whoever steps it.
 */
import { ApiMisuseError } from '../dma/checker/apiMisuseError.ts';
import { LabError } from '../time/labError.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { columnLab } from './columnLab.ts';
import { ENGINE_VERSION } from './engineVersion.ts';
import { buildMachine, type Machine, type SpaceListener } from './machine.ts';
import { suggestNames } from './nearestNames.ts';
import { presetLabel } from './presetLabel.ts';
import { runId } from './runIdentity.ts';
import type { RunFrame, RunProgress, RunResult } from './runTypes.ts';
import type { Comparison, LabDocument } from './schema.ts';
import { summarize } from './summary.ts';

/** Log entries in a live frame: the newest; the result has all that the log holds. */
const FRAME_LOG_ENTRIES = 200;

export class LabRun {
  readonly id: string;
  readonly comparisonId: string;
  readonly label: string;
  /** For inspection: whoever looks must not touch. */
  readonly machine: Machine;
  private readonly seed: number;
  private readonly presets: string;
  /** Device of each workload. */
  private readonly devices: readonly string[];
  private readonly total: number;
  private done = false;
  /** The API checker has ended the run at a misuse. */
  private stopped = false;

  private constructor(id: string, comparison: Comparison, machine: Machine, lab: LabDocument) {
    this.id = id;
    this.comparisonId = comparison.id;
    this.label = runLabel(comparison);
    this.machine = machine;
    this.seed = lab.seed;
    this.presets = presetLabel(lab);
    this.devices = lab.workloads.map(({ device }) => device);
    this.total = machine.workloads.reduce((sum, workload) => sum + workload.total, 0);
    machine.events.onEvent = (at) => {
      machine.metrics.beginEvent(at);
    };
  }

  /**
   * Builds the machine of one column; a lab that cannot run throws a LabError. `listen` makes a listener to the DMA API's
   * trace for each IOVA space, which changes nothing of what the run computes.
   */
  static prepare(
    lab: LabDocument,
    comparisonId: string,
    recordings: ReadonlyMap<string, RecordingFiles>,
    listen: SpaceListener | null = null,
  ): LabRun {
    const comparison = lab.comparison.find((candidate) => candidate.id === comparisonId);
    if (!comparison) {
      const ids = lab.comparison.map((candidate) => candidate.id);
      throw new LabError('comparison', `there is no run "${comparisonId}".`, suggestNames(comparisonId, ids));
    }
    const own = columnLab(lab, comparison);
    const machine = buildMachine(own, comparison, recordings, listen);
    const run = new LabRun(runId(lab, comparison, recordings), comparison, machine, own);
    for (const workload of machine.workloads) workload.start();
    return run;
  }

  /**
   * Handles up to `maxEvents` events, and begins none after `until`; what a handler steps through while it waits belongs to it. A run that the API checker stops is done, and its result
   * partial.
   */
  advance(maxEvents: number, until = Infinity): 'running' | 'done' {
    if (this.done || this.stopped) return 'done';
    try {
      return this.step(maxEvents, until);
    } catch (error) {
      if (!(error instanceof ApiMisuseError)) throw error;
      this.stopped = true;
      return 'done';
    }
  }

  private step(maxEvents: number, until: number): 'running' | 'done' {
    const { events: queue, metrics, workloads } = this.machine;
    const last = queue.handled + maxEvents;
    while (queue.handled < last) {
      const next = queue.nextTime;
      if (next === null)
        throw new Error(`the machine stands still with ${this.total - this.completed()} requests to go`);
      if (next > until) return 'done';
      queue.step();
      if (workloads.every((workload) => workload.done)) {
        this.machine.releaseDrivers();
        this.done = true;
        metrics.credit();
        return 'done';
      }
    }
    return 'running';
  }

  /** No event will follow: the workloads are done, or the API checker has stopped the run. */
  get ended(): boolean {
    return this.done || this.stopped;
  }

  progress(): RunProgress {
    return {
      runId: this.id,
      virtualTimePs: this.machine.events.now,
      completed: this.completed(),
      total: this.total,
      events: this.machine.events.handled,
    };
  }

  /** A picture of the run so far, whose arrays belong to the caller. */
  snapshot(): RunFrame {
    const { metrics, checker, devices } = this.machine;
    metrics.credit();
    return {
      ...metrics.series.snapshot(),
      runId: this.id,
      comparisonId: this.comparisonId,
      progress: this.progress(),
      summary: summarize(metrics, devices, this.failed()),
      log: metrics.log.entries().slice(-FRAME_LOG_ENTRIES),
      ...(checker === null ? {} : { checker: checker.result() }),
    };
  }

  /** The result so far; labelled partial unless the workloads are done. */
  result(partial = !this.done): RunResult {
    const { metrics, checker, devices } = this.machine;
    metrics.credit();
    return {
      id: this.id,
      comparisonId: this.comparisonId,
      label: this.label,
      engineVersion: ENGINE_VERSION,
      seed: this.seed,
      presets: this.presets,
      partial: partial || !this.done,
      progress: this.progress(),
      summary: summarize(metrics, devices, this.failed()),
      counters: metrics.counters.toRecord(),
      series: metrics.series.snapshot(),
      histograms: {
        mapLatency: metrics.mapLatency.serialize(),
        unmapLatency: metrics.unmapLatency.serialize(),
        ioLatency: metrics.ioLatency.serialize(),
      },
      log: metrics.log.entries(),
      ...(checker === null ? {} : { checker: checker.result() }),
    };
  }

  private failed(): ReadonlyMap<string, number> {
    return new Map(this.machine.workloads.map(({ failed }, index) => [this.devices[index]!, failed]));
  }

  private completed(): number {
    return this.machine.workloads.reduce((sum, workload) => sum + workload.completed, 0);
  }
}

/** What a column is called: its label, or its scheme and domain. */
function runLabel(comparison: Comparison): string {
  return comparison.label ?? `${comparison.scheme} ${comparison.domain}`;
}

/** A kept result as a frame, for a window that opens a lab with runs in it. */
export function frameOfResult(result: RunResult): RunFrame {
  const { series, id, comparisonId, progress, summary, log, checker } = result;
  const frame = { ...series, runId: id, comparisonId, progress, summary, log: log.slice(-FRAME_LOG_ENTRIES) };
  return checker === undefined ? frame : { ...frame, checker };
}
