/*
 * The thread of one run: holds one whole machine, and speaks with main between slices.
 */
import { setPriority } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { LabRun } from '../../engine/lab/run.ts';
import { LabError } from '../../engine/time/labError.ts';
import { RunLoop } from './runLoop.ts';
import type { RunCommand, RunInput, RunReport } from './runProtocol.ts';

const port = parentPort;
if (port === null) throw new Error('runWorker is started as a worker thread');

// More runs than cores must not make the window wait. On Linux niceness belongs to the thread; elsewhere this would slow main.
const niceness = 10;
if (process.platform === 'linux') setPriority(niceness);

function report(message: RunReport): void {
  // A frame's arrays are its own, so they move; a result's are kept by the run until the thread ends, so they are copied.
  const moved =
    message.kind === 'frame' ? Object.values(message.frame.columns).map((column) => column.buffer as ArrayBuffer) : [];
  port?.postMessage(message, moved);
}

try {
  const { lab, comparisonId, recordings } = workerData as RunInput;
  const loop = new RunLoop(LabRun.prepare(lab, comparisonId, recordings), {
    now: () => performance.now(),
    yieldToMessages: () => nextTurn(),
    report,
  });
  port.on('message', (command: RunCommand) => loop.command(command));
  await loop.drive();
} catch (error) {
  const forPeople = error instanceof LabError;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  report({ kind: 'failed', message: forPeople ? error.message : text, forPeople });
}
port.unref();
