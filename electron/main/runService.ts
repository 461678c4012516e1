/*
 * The runs of the open document: at most one for each column of its comparison, each in a thread of its own, side by side.
 * Holds what the window shows of them (state, latest frame) and what the file keeps (results).
 */
import { canonicalJson } from '../../engine/lab/canonicalJson.ts';
import type { LabFile } from '../../engine/lab/container.ts';
import { runInputs } from '../../engine/lab/runIdentity.ts';
import type { RunFrame, RunResult } from '../../engine/lab/runTypes.ts';
import type { Comparison, LabDocument } from '../../engine/lab/schema.ts';
import type { RunState } from '../ipc/api.ts';
import type { InspectInput } from '../workers/inspectProtocol.ts';
import type { RunInput } from '../workers/runProtocol.ts';
import { DesktopError } from './failures.ts';
import { RunHost, type RunThread } from './runHost.ts';

export interface RunSurroundings {
  startThread(input: RunInput): RunThread;
  stateChanged(state: RunState): void;
  framed(frame: RunFrame): void;
  /** A run came to its end and has a result to keep. */
  finished(result: RunResult): void;
  log(message: string): void;
}

interface RunRecord {
  state: RunState;
  frame: RunFrame | null;
  result: RunResult | null;
  host: RunHost | null;
  /** What the run was made from, to tell when the lab has moved on. */
  inputs: string | null;
}

/** Everything of the lab that a run depends on; the recordings of an open document do not change. */
function inputsOf(lab: LabDocument, column: Comparison): string {
  return canonicalJson(runInputs(lab, column, new Map()));
}

function idleState(comparisonId: string): RunState {
  return {
    comparisonId,
    runId: null,
    status: 'idle',
    progress: null,
    eventsPerSecond: 0,
    secondsLeft: null,
    summary: null,
    partial: false,
    outdated: false,
    error: null,
  };
}

function frameOf(result: RunResult): RunFrame {
  const { series, comparisonId, progress, summary, log, checker } = result;
  const frame = { ...series, runId: result.id, comparisonId, progress, summary, log };
  return checker === undefined ? frame : { ...frame, checker };
}

export class RunService {
  private readonly surroundings: RunSurroundings;
  private lab: LabDocument | null = null;
  private recordings: RunInput['recordings'] = new Map();
  private readonly records = new Map<string, RunRecord>();

  constructor(surroundings: RunSurroundings) {
    this.surroundings = surroundings;
  }

  /** Another document: runs of the old one end here. */
  /** `runIds`: what each column's run would be called now. */
  open(contents: LabFile, runIds: ReadonlyMap<string, string>): void {
    this.close();
    this.lab = contents.lab;
    this.recordings = contents.recordings;
    for (const result of contents.runs.values()) this.adopt(result, runIds.get(result.comparisonId) !== result.id);
  }

  close(): void {
    for (const record of this.records.values()) record.host?.dispose();
    this.records.clear();
    this.lab = null;
  }

  /** A result that comes from a file or a journal; one whose column is gone is not shown, and not kept. */
  adopt(result: RunResult, outdated: boolean): void {
    const column = this.lab?.comparison.find(({ id }) => id === result.comparisonId);
    if (this.lab === null || column === undefined) return;
    this.records.get(column.id)?.host?.dispose();
    this.records.set(column.id, {
      state: {
        ...idleState(column.id),
        runId: result.id,
        status: result.partial ? 'cancelled' : 'done',
        error: stopSentence(result),
        progress: result.progress,
        summary: result.summary,
        counters: result.counters,
        partial: result.partial,
        outdated,
      },
      frame: frameOf(result),
      result,
      host: null,
      // No inputs of ours: a result that is outdated when it comes stays so.
      inputs: outdated ? null : inputsOf(this.lab, column),
    });
  }

  labChanged(lab: LabDocument): void {
    this.lab = lab;
    for (const [id, record] of this.records) {
      const column = lab.comparison.find((candidate) => candidate.id === id);
      const outdated = column === undefined || inputsOf(lab, column) !== record.inputs;
      if (outdated !== record.state.outdated) record.state = { ...record.state, outdated };
    }
  }

  /** One state for each column, in the order of the document. */
  states(): RunState[] {
    return (this.lab?.comparison ?? []).map(({ id }) => this.records.get(id)?.state ?? idleState(id));
  }

  isOutdated(comparisonId: string): boolean {
    return this.records.get(comparisonId)?.state.outdated ?? true;
  }

  results(): RunResult[] {
    const columns = this.lab?.comparison ?? [];
    return columns.flatMap(({ id }) => this.records.get(id)?.result ?? []);
  }

  frame(comparisonId: string): RunFrame | null {
    return this.records.get(comparisonId)?.frame ?? null;
  }

  /** What it takes to compute a kept run again; refused where that would be another run. */
  inspectable(comparisonId: string): InspectInput {
    const record = this.records.get(this.column(comparisonId).id);
    const { lab, recordings } = this;
    if (lab === null || record?.result === null || record?.result === undefined) {
      throw new DesktopError('not-found', 'There is no finished run to look into. Run this column first.');
    }
    if (record.state.outdated) {
      throw new DesktopError(
        'not-found',
        'The lab has changed since this run, so it can no longer be computed again. Undo the change, or run it again.',
      );
    }
    const { id, engineVersion } = record.result;
    return { lab, comparisonId, recordings, of: { id, engineVersion } };
  }

  start(comparisonIds: readonly string[]): void {
    const { lab } = this;
    if (lab === null) return;
    const columns = comparisonIds.length === 0 ? lab.comparison : comparisonIds.map((id) => this.column(id));
    for (const column of new Set(columns)) {
      if (!this.isActive(column.id)) this.startColumn(lab, column);
    }
  }

  pause(comparisonId: string): void {
    this.records.get(this.column(comparisonId).id)?.host?.pause();
  }

  resume(comparisonId: string): void {
    this.records.get(this.column(comparisonId).id)?.host?.resume();
  }

  cancel(comparisonId: string): void {
    this.records.get(this.column(comparisonId).id)?.host?.cancel();
  }

  /** A cancelled run whose thread has not answered yet does not stand in the way of the next one. */
  private isActive(comparisonId: string): boolean {
    const record = this.records.get(comparisonId);
    return record !== undefined && record.host !== null && record.state.status !== 'cancelled';
  }

  private column(id: string): Comparison {
    const column = this.lab?.comparison.find((candidate) => candidate.id === id);
    if (column === undefined) throw new DesktopError('not-found', `The comparison has no column ${id}.`);
    return column;
  }

  private startColumn(lab: LabDocument, column: Comparison): void {
    const record: RunRecord = {
      state: { ...idleState(column.id), status: 'running' },
      frame: null,
      result: null,
      host: null,
      inputs: inputsOf(lab, column),
    };
    const update = (changes: Partial<RunState>): void => {
      record.state = { ...record.state, ...changes };
      if (this.records.get(column.id) === record) this.surroundings.stateChanged(record.state);
    };
    const keepFrame = (frame: RunFrame): void => {
      record.frame = frame;
      if (this.records.get(column.id) === record) this.surroundings.framed(frame);
    };
    const cancelWithLastFrame = (): void =>
      update({
        status: 'cancelled',
        partial: true,
        summary: record.frame?.summary ?? null,
        eventsPerSecond: 0,
        secondsLeft: null,
      });
    this.records.get(column.id)?.host?.dispose();
    this.records.set(column.id, record);
    record.host = new RunHost(
      this.surroundings.startThread({ lab, comparisonId: column.id, recordings: this.recordings }),
      {
        progressed: (progress, eventsPerSecond) =>
          update({
            progress,
            runId: progress.runId,
            eventsPerSecond,
            secondsLeft: secondsLeft(progress, eventsPerSecond),
          }),
        framed: keepFrame,
        paused: () => update({ status: 'paused', eventsPerSecond: 0, secondsLeft: null }),
        resumed: () => update({ status: 'running' }),
        cancelOverdue: cancelWithLastFrame,
        ended: (result, frame) => {
          record.host = null;
          if (frame !== null) keepFrame(frame);
          if (result === null) {
            cancelWithLastFrame();
            return;
          }
          record.result = result;
          update({
            status: result.partial ? 'cancelled' : 'done',
            error: stopSentence(result),
            runId: result.id,
            progress: result.progress,
            summary: result.summary,
            counters: result.counters,
            partial: result.partial,
            eventsPerSecond: 0,
            secondsLeft: null,
          });
          if (this.records.get(column.id) === record) this.surroundings.finished(result);
        },
        failed: (error) => {
          record.host = null;
          update({ status: 'failed', error, eventsPerSecond: 0, secondsLeft: null });
        },
      },
      (message) => this.surroundings.log(message),
    );
    this.surroundings.stateChanged(record.state);
  }
}

/** What a run says that the API checker has ended. */
function stopSentence({ checker }: RunResult): string | null {
  const misuse = checker?.stopped === true ? checker.misuses.at(-1) : undefined;
  return misuse === undefined ? null : `The API checker stopped the run: ${misuse.message}.`;
}

/** From the share of requests done, since events for each request are about as many at the end as at the beginning. */
function secondsLeft(progress: RunFrame['progress'], eventsPerSecond: number): number | null {
  const { completed, total, events } = progress;
  if (total === 0 || completed === 0 || eventsPerSecond <= 0) return null;
  return ((total - completed) * events) / completed / eventsPerSecond;
}
