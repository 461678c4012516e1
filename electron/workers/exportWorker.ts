/*
 * The thread for one task on files. Threads have no Electron and no page, so what is read, written and drawn here is the
 * same as on the command line.
 */
import { stat } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { atomicWrite } from '../../engine/lab/atomicWrite.ts';
import { decodeLabFile, encodeLabFile } from '../../engine/lab/container.ts';
import { chartRuns, exportAll, exportChart } from '../../engine/lab/exportFiles.ts';
import { runId } from '../../engine/lab/runIdentity.ts';
import { LabError } from '../../engine/time/labError.ts';
import type { FileAnswer, FileTask, FileTasks } from './fileProtocol.ts';

async function perform({ name, request }: FileTask): Promise<unknown> {
  switch (name) {
    case 'read':
      return readLab(request.bytes, request.name);
    case 'write': {
      const bytes = await encodeLabFile(request.contents);
      await atomicWrite(request.path, bytes);
      const { size, mtimeMs } = await stat(request.path);
      return { stamp: { size, modified: mtimeMs }, bytes };
    }
    case 'exportChart': {
      const { lab, results, chart, format, scale, fontFiles, path } = request;
      await atomicWrite(path, await exportChart(chart, chartRuns(lab, results), format, fontFiles, scale));
      return null;
    }
    case 'exportAll': {
      const { folder, contents, results, name: fileName, fontFiles } = request;
      return exportAll(folder, contents, results, { name: fileName, fontFiles });
    }
  }
}

async function readLab(bytes: Uint8Array, name: string): Promise<FileTasks['read']['reply']> {
  const contents = await decodeLabFile(bytes, name);
  const { lab, recordings } = contents;
  return { contents, runIds: new Map(lab.comparison.map((column) => [column.id, runId(lab, column, recordings)])) };
}

function failure(error: unknown): FileAnswer {
  if (error instanceof LabError) return { ok: false, message: error.message, forPeople: true };
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const sentence = writingProblems.get(code);
  if (sentence !== undefined) return { ok: false, message: sentence, forPeople: true };
  return {
    ok: false,
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    forPeople: false,
  };
}

const writingProblems: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'The disk is full. Free some space, or save to another disk.'],
  ['EDQUOT', 'Your share of the disk is used up. Free some space, or save to another disk.'],
  ['EACCES', 'You may not write there. Choose another folder.'],
  ['EPERM', 'You may not write there. Choose another folder.'],
  ['EROFS', 'That disk cannot be written to. Choose another folder.'],
  ['ENOENT', 'That folder is not there any more. Choose another one.'],
  ['ENOTDIR', 'That folder is not there any more. Choose another one.'],
]);

const answer = await perform(workerData as FileTask).then((value): FileAnswer => ({ ok: true, value }), failure);
parentPort?.postMessage(answer);
