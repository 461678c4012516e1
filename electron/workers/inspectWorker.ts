/*
 * The thread of an inspection: holds the machine of one run, brought to the moment that was asked for last.
 */
import { setPriority } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { RunInspection } from '../../engine/lab/runInspection.ts';
import { LabError } from '../../engine/time/labError.ts';
import { InspectLoop } from './inspectLoop.ts';
import type { InspectCommand, InspectInput, InspectReport } from './inspectProtocol.ts';

const port = parentPort;
if (port === null) throw new Error('inspectWorker is started as a worker thread');

// The window comes first, as with runs.
const niceness = 10;
if (process.platform === 'linux') setPriority(niceness);

const report = (message: InspectReport): void => port.postMessage(message);
const { lab, comparisonId, recordings, of } = workerData as InspectInput;
const loop = new InspectLoop({
  prepare: (at) => RunInspection.prepare(lab, comparisonId, recordings, at, of),
  now: () => performance.now(),
  yieldToMessages: () => nextTurn(),
  report,
});
port.on('message', (command: InspectCommand) => {
  loop.inspect(command).catch((error: unknown) => {
    const forPeople = error instanceof LabError;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    report({ kind: 'failed', message: forPeople ? error.message : text, forPeople });
  });
});
