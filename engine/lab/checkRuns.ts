/**
 * What shows only when the runs of a lab are prepared: whether memory and drive are large enough for what was recorded, and
 * whether every machine can be built. Nothing runs. Places are paths in the document, so that whoever reads them knows
 * which value to change.
 */
import { LabError } from '../time/labError.ts';
import type { Recording, RecordingFiles } from '../workloads/recordedRequest.ts';
import type { LabProblem } from './check.ts';
import { columnLab } from './columnLab.ts';
import { deviceFunctions } from './deviceFunctions.ts';
import { LabRun } from './run.ts';
import type { LabDocument, LabWorkload, Part, PartOf } from './schema.ts';

const GIB = 2 ** 30;
const SECTOR_BYTES = 512;

type Replay = Extract<LabWorkload, { kind: 'replay' }>;

/** Throws the first thing that would keep a column from running. `read`: the recordings by id. */
export function checkRuns(
  lab: LabDocument,
  recordings: ReadonlyMap<string, RecordingFiles>,
  read: ReadonlyMap<string, Recording>,
  where: string,
): void {
  for (const comparison of lab.comparison) {
    checkRecordings(columnLab(lab, comparison), read, where);
    prepareRun(lab, comparison.id, recordings, where);
  }
}

/** LabRun.prepare, with places as paths in the document. */
export function prepareRun(
  lab: LabDocument,
  comparisonId: string,
  recordings: ReadonlyMap<string, RecordingFiles>,
  where: string,
): LabRun {
  try {
    return LabRun.prepare(lab, comparisonId, recordings);
  } catch (error) {
    if (!(error instanceof LabError) || isRecordingFile(recordings, error.where)) throw error;
    throw new LabError(`${where}: ${placeIn(lab, error.where)}`, error.problem, error.remedy);
  }
}

/** A recording's own text is at fault, and the error names its file and line. */
function isRecordingFile(recordings: ReadonlyMap<string, RecordingFiles>, where: string): boolean {
  return [...recordings.values()].some(({ name }) => where.startsWith(name));
}

/** Throws when a recording does not fit the machine that is to replay it. */
export function checkRecordings(lab: LabDocument, read: ReadonlyMap<string, Recording>, where: string): void {
  for (const workload of lab.workloads) {
    if (workload.kind !== 'replay') continue;
    const recording = read.get(workload.recording);
    const problem = recording === undefined ? null : fitProblem(lab, workload, recording);
    if (problem) throw new LabError(`${where}: ${problem.path}`, problem.problem, problem.remedy);
  }
}

function fitProblem(lab: LabDocument, workload: Replay, recording: Recording): LabProblem | null {
  const { parts } = lab.topology;
  const memory = firstMemory(parts);
  const drive = deviceFunctions(parts).find(({ id }) => id === workload.device)?.part;
  let memoryEnd = 0;
  let mediumEnd = 0;
  for (const { vectors, lba, bytes } of recording.requests) {
    for (const { phys, length } of vectors) memoryEnd = Math.max(memoryEnd, phys + length);
    mediumEnd = Math.max(mediumEnd, lba * SECTOR_BYTES + bytes);
  }
  const name = workload.recording;
  if (memory && memoryEnd > memory.sizeGiB * GIB)
    return {
      path: `topology.parts[${memory.id}].sizeGiB`,
      problem: `the recording "${name}" uses memory up to the physical address 0x${memoryEnd.toString(16)}.`,
      remedy: `Use at least ${Math.ceil(memoryEnd / GIB) + 1}.`,
    };
  if (drive?.kind !== 'nvme') return null;
  if (mediumEnd > drive.capacityGiB * GIB)
    return {
      path: `topology.parts[${drive.id}].capacityGiB`,
      problem: `the recording "${name}" uses the drive up to byte ${mediumEnd}.`,
      remedy: `Use at least ${Math.ceil(mediumEnd / GIB)}.`,
    };
  const depth = workload.queueDepth ?? recording.queueDepth;
  if (depth >= drive.queueDepth)
    return {
      path: `topology.parts[${drive.id}].queueDepth`,
      problem: `the recording "${name}" has ${depth} requests in flight, and one entry of a submission queue stays free.`,
      remedy: `Use at least ${depth + 1}, or at most ${drive.queueDepth - 1} for workloads[${workload.id}].queueDepth.`,
    };
  return null;
}

/** Parts of the machine name themselves; the document has a path for what there is to change. */
function placeIn(lab: LabDocument, where: string): string {
  const { parts } = lab.topology;
  const named = parts.find(({ id }) => id === where);
  if (named === undefined) return where;
  return `topology.parts[${named.id}]${named.kind === 'memory' ? '.sizeGiB' : ''}`;
}

/** That of the first socket, where recordings have their pages. */
function firstMemory(parts: readonly Part[]): PartOf<'memory'> | undefined {
  const socket = parts.find(({ kind }) => kind === 'socket');
  return parts.find((part) => part.kind === 'memory' && part.parent === socket?.id) as PartOf<'memory'> | undefined;
}
