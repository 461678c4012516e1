/*
 * Hands one task to a thread of its own and waits for its answer, with a limit on time and memory: what the thread reads may
 * have been written to exhaust both.
 */
import { Worker } from 'node:worker_threads';
import type { FileAnswer, FileTaskName, FileTasks } from '../workers/fileProtocol.ts';
import { DesktopError } from './failures.ts';

export type RunFileTask = <Name extends FileTaskName>(
  name: Name,
  request: FileTasks[Name]['request'],
) => Promise<FileTasks[Name]['reply']>;

const limitMilliseconds = 120_000;
const limitMegabytes = 2048;

export function fileTasks(worker: URL, log: (message: string) => void): RunFileTask {
  return async <Name extends FileTaskName>(name: Name, request: FileTasks[Name]['request']) => {
    const thread = new Worker(worker, {
      workerData: { name, request },
      resourceLimits: { maxOldGenerationSizeMb: limitMegabytes },
    });
    try {
      const answer = await answerOf(thread);
      if (answer.ok) return answer.value as FileTasks[Name]['reply'];
      if (answer.forPeople) throw new DesktopError(name === 'read' ? 'bad-file' : 'cannot-write', answer.message);
      log(`${name}: ${answer.message}`);
      throw new DesktopError('internal', 'The file could not be worked on. The log has the details.');
    } finally {
      void thread.terminate();
    }
  };
}

function answerOf(thread: Worker): Promise<FileAnswer> {
  return new Promise((resolve) => {
    const timer = setTimeout(
      () => resolve({ ok: false, message: 'The file takes too long to work on, so it was given up.', forPeople: true }),
      limitMilliseconds,
    );
    const finish = (answer: FileAnswer): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    thread.once('message', finish);
    thread.once('error', (error) => {
      const outOfMemory = 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
      finish({
        ok: false,
        message: outOfMemory ? 'The file needs more memory than a lab may take.' : (error.stack ?? error.message),
        forPeople: outOfMemory,
      });
    });
    thread.once('exit', (code) =>
      finish({ ok: false, message: `the thread ended with code ${code}`, forPeople: false }),
    );
  });
}
