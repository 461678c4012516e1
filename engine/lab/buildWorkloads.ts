/** The workloads of a lab, each on the machine as its drive's socket sees it. */
import { BioWorkload, type WorkloadMachine } from '../workloads/bio.ts';
import type { Recording, RecordingFiles } from '../workloads/recordedRequest.ts';
import { ReplayWorkload } from '../workloads/replay.ts';
import type { Workload } from '../workloads/workload.ts';
import { LabError } from '../time/labError.ts';
import type { RandomStream } from '../time/random.ts';
import { readRecording } from './recording.ts';
import type { LabWorkload } from './schema.ts';

const MIB = 2 ** 20;

export function buildWorkload(
  workload: LabWorkload,
  machine: WorkloadMachine,
  recordings: ReadonlyMap<string, RecordingFiles>,
  random: RandomStream,
): Workload {
  const name = `workloads[${workload.id}]`;
  if (workload.kind === 'replay') {
    const files = recordings.get(workload.recording);
    if (!files)
      throw new LabError(
        `${name}.recording`,
        `the lab carries no recording "${workload.recording}".`,
        'Make the lab with "import".',
      );
    const { queueDepth } = workload;
    return new ReplayWorkload(machine, recordingOf(files), queueDepth === undefined ? { name } : { name, queueDepth });
  }
  const { rw, readPercent, blockSize, blockSizeMix, queueDepth, ioCount, regionMiB, contiguity, cpus } = workload;
  return new BioWorkload(
    machine,
    {
      name,
      rw,
      readPercent,
      blockSizes: blockSizeMix ?? [{ bytes: blockSize, weight: 1 }],
      regionBytes: regionMiB * MIB,
      queueDepth,
      ioCount,
      contiguity,
      cpus,
      verify: false,
    },
    random,
  );
}

/** Runs side by side read one recording once. */
const readBefore = new WeakMap<RecordingFiles, Recording>();

function recordingOf(files: RecordingFiles): Recording {
  const recording = readBefore.get(files) ?? readRecording(files);
  readBefore.set(files, recording);
  return recording;
}
