/*
 * What tests of the desktop share: a small lab, results for it, threads that do as they are told, and the work on files done in
 * place. Only tests import this.
 */
import { stat } from 'node:fs/promises';
import { atomicWrite } from '../../engine/lab/atomicWrite.ts';
import { parseLab } from '../../engine/lab/check.ts';
import { decodeLabFile, encodeLabFile, type LabFile } from '../../engine/lab/container.ts';
import { runId } from '../../engine/lab/runIdentity.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';
import { SERIES_COLUMNS } from '../../engine/metrics/seriesColumns.ts';
import type { FileTasks } from '../workers/fileProtocol.ts';
import type { RunCommand, RunReport } from '../workers/runProtocol.ts';
import type { RunFileTask } from './fileWorker.ts';
import type { RunThread } from './runHost.ts';
import { plainLab } from './plainLab.ts';

export function smallLab(name = 'Small'): LabDocument {
  return parseLab({ ...plainLab, name }, name);
}

export function labFile(lab: LabDocument, results: readonly RunResult[] = []): LabFile {
  return { lab, recordings: new Map(), runs: new Map(results.map((run) => [run.id, run])), unknown: new Map() };
}

export function resultOf(lab: LabDocument, comparisonId: string, partial = false): RunResult {
  const column = lab.comparison.find(({ id }) => id === comparisonId);
  if (column === undefined) throw new RangeError(comparisonId);
  const id = runId(lab, column, new Map());
  const histogram = { subBucketBits: 5, unitBits: 0, rangeBits: 40, count: 0, sum: 0, min: 0, max: 0, buckets: [] };
  return {
    id,
    comparisonId,
    label: comparisonId,
    engineVersion: '0.1.0',
    seed: lab.seed,
    partial,
    progress: { runId: id, virtualTimePs: 5, completed: 2, total: 2, events: 10 },
    summary: { rows: [{ key: 'requests', label: 'Requests', unit: 'count', value: 2, help: '' }] },
    counters: {},
    series: {
      windowPs: 1,
      count: 2,
      endPs: 2,
      columns: Object.fromEntries(
        SERIES_COLUMNS.map((name) => [name, Float64Array.of(1, 2)]),
      ) as RunResult['series']['columns'],
    },
    histograms: { mapLatency: histogram, unmapLatency: histogram, ioLatency: histogram },
    log: [],
  };
}

export const tasksInPlace: RunFileTask = async (name: string, request: unknown) => {
  if (name === 'read') {
    const { bytes, name: fileName } = request as FileTasks['read']['request'];
    const contents = await decodeLabFile(bytes, fileName);
    const ids = contents.lab.comparison.map((column) => [column.id, runId(contents.lab, column, new Map())] as const);
    return { contents, runIds: new Map(ids) };
  }
  const { path, contents } = request as FileTasks['write']['request'];
  const bytes = await encodeLabFile(contents);
  await atomicWrite(path, bytes);
  const { size, mtimeMs } = await stat(path);
  return { stamp: { size, modified: mtimeMs }, bytes };
};

/** A thread of a run whose reports the test writes. */
export class ScriptedThread implements RunThread {
  readonly commands: RunCommand[] = [];
  terminated = false;
  private readonly listeners = new Map<string, (value: never) => void>();

  postMessage(command: RunCommand): void {
    this.commands.push(command);
  }

  terminate(): Promise<unknown> {
    this.terminated = true;
    return Promise.resolve();
  }

  on(event: string, listener: (value: never) => void): void {
    this.listeners.set(event, listener);
  }

  report(report: RunReport): void {
    this.listeners.get('message')?.(report as never);
  }

  fail(event: 'error' | 'exit', value: unknown): void {
    this.listeners.get(event)?.(value as never);
  }
}
