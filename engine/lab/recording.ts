/**
 * A recording of a real kernel as input for a replay: its requests in order of submission, with the memory of each. The
 * public face of the recording files of this folder for workloads, `lab import` and the conformance suites.
 * Leaves out: commands without data (a flush), commands that were given up, and those that were in flight when the
 * recording began, because nothing in them moves data that we know.
 */
import { readFtrace } from '../formats/ftrace.ts';
import { LabError } from '../time/labError.ts';
import type { RecordedRequest, Recording, RecordingFiles } from '../workloads/recordedRequest.ts';
import { openRecording, type RecordedSystem } from './recordingFiles.ts';
import { type TiedTrace, tieTrace, type TracedCommand } from './recordingTie.ts';
import { checkRecordedMemory, checkRecordedTransfer } from './recordingLimits.ts';
import { readMemory } from './recordingVectors.ts';

export interface TiedRecording {
  readonly name: string;
  readonly system: RecordedSystem;
  readonly trace: TiedTrace;
}

/** The commands of a recording with the calls of each. */
export function tieRecording(files: RecordingFiles): TiedRecording {
  const { system, text } = openRecording(files);
  const trace = tieTrace(readFtrace(files.name, text));
  if (trace === null) {
    throw new LabError(
      files.name,
      'no NVMe command is in it.',
      'Record with the events nvme:*, block:*, dma:* and iommu:* enabled while an NVMe drive is busy.',
    );
  }
  for (const command of trace.commands) {
    const memory = command.issue === null ? '' : readMemory(command);
    if (typeof memory !== 'string') checkRecordedMemory(memory, `${files.name}:${command.setup.line}`);
  }
  return { name: files.name, system, trace };
}

function deepest(commands: readonly TracedCommand[]): number {
  const edges = commands.flatMap((command) => {
    if (command.issue === null) return [];
    const begin = { line: command.setup.line, change: 1 };
    return command.completed === null ? [begin] : [begin, { line: command.completed.line, change: -1 }];
  });
  edges.sort((a, b) => a.line - b.line);
  let depth = 0;
  let most = 0;
  for (const edge of edges) {
    depth += edge.change;
    most = Math.max(most, depth);
  }
  return most;
}

export function readRecording(files: RecordingFiles): Recording {
  const { system, trace } = tieRecording(files);
  const requests: RecordedRequest[] = [];
  const completions: { readonly request: number; readonly order: number }[] = [];
  for (const command of trace.commands) {
    if (command.issue === null) continue;
    const memory = readMemory(command);
    if (typeof memory === 'string' || memory.bytes === 0) continue;
    checkRecordedTransfer(memory, `${files.name}:${command.setup.line}`);
    const index = requests.length;
    completions.push({ request: index, order: command.completed === null ? Infinity : command.completeOrder });
    requests.push({
      index,
      cpu: command.setup.cpu,
      completionCpu: command.completed?.cpu ?? command.setup.cpu,
      write: memory.write,
      lba: command.lba,
      bytes: memory.bytes,
      vectors: memory.vectors,
      segments: memory.segments,
      poolPages: memory.poolPages.length,
      completeOrder: index,
    });
  }
  if (requests.length === 0) {
    throw new LabError(
      files.name,
      'none of its NVMe commands maps any memory.',
      'Record with the events of dma:* and the dma_iova_* probes enabled.',
    );
  }
  completions.sort((a, b) => (a.order === b.order ? a.request - b.request : a.order - b.order));
  const ordered = [...requests];
  for (const [completeOrder, { request }] of completions.entries()) {
    const recorded = requests[request];
    if (recorded !== undefined) ordered[request] = { ...recorded, completeOrder };
  }
  return {
    id: files.name,
    kernelRelease: system.kernelRelease,
    kernelProfile: system.kernelProfile,
    domain: system.domain,
    cpus: system.cpus,
    queueDepth: deepest(trace.commands),
    requests: ordered,
  };
}
