/** The workloads of a lab, each on the machine as its device's socket sees it. */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { CpuWork } from '../drivers/cpuWork.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { BioWorkload } from '../workloads/bio.ts';
import type { Recording, RecordingFiles } from '../workloads/recordedRequest.ts';
import { ReplayWorkload } from '../workloads/replay.ts';
import type { Workload } from '../workloads/workload.ts';
import { LabError } from '../time/labError.ts';
import type { RandomStream } from '../time/random.ts';
import type { MachineDevice } from './buildDevices.ts';
import type { MachineDrive } from './buildDrives.ts';
import { buildDmabuf, buildOdp, buildRdma } from './buildRdmaWorkloads.ts';
import type { resolveCosts } from './presets.ts';
import { readRecording } from './recording.ts';
import type { BioWorkload as BioLab, Comparison, LabWorkload } from './schema.ts';

const MIB = 2 ** 20;

export interface WorkloadSurroundings {
  readonly devices: readonly MachineDevice[];
  readonly events: EventQueue;
  readonly work: CpuWork;
  /** Null: all memory is RAM. */
  readonly pageKinds: PageKinds | null;
  readonly metrics: Metrics;
  readonly costs: ReturnType<typeof resolveCosts>;
  readonly comparison: Comparison;
  readonly recordings: ReadonlyMap<string, RecordingFiles>;
}

/** Where a workload runs, and where its buffers lie. */
export interface WorkloadPlace {
  readonly frames: FrameAllocator;
  /** Those near its device first. */
  readonly cpus: readonly Cpu[];
  readonly wrote?: (phys: number, bytes: number) => void;
}

export function buildWorkload(
  workload: LabWorkload,
  device: MachineDevice,
  place: WorkloadPlace,
  surroundings: WorkloadSurroundings,
  random: RandomStream,
): Workload {
  if (workload.kind === 'bio' || workload.kind === 'replay') {
    if (device.kind !== 'nvme') throw new Error(`"${device.id}" is no drive`);
    return workload.kind === 'bio'
      ? buildBio(workload, device, place, surroundings, random)
      : buildReplay(workload, device, place, surroundings);
  }
  if (device.kind !== 'nic') throw new Error(`"${device.id}" is no adapter`);
  switch (workload.kind) {
    case 'rdma':
      return buildRdma(workload, device, place, surroundings, random);
    case 'odp':
      return buildOdp(workload, device, place, surroundings, random);
    case 'dmabuf':
      return buildDmabuf(workload, device, place, surroundings, random);
  }
}

function buildReplay(
  workload: Extract<LabWorkload, { kind: 'replay' }>,
  { driver, host }: MachineDrive,
  place: WorkloadPlace,
  { work, recordings }: WorkloadSurroundings,
): Workload {
  const name = `workloads[${workload.id}]`;
  const files = recordings.get(workload.recording);
  if (!files)
    throw new LabError(
      `${name}.recording`,
      `the lab carries no recording "${workload.recording}".`,
      'Make the lab with "import".',
    );
  const { queueDepth } = workload;
  const machine = { ...place, driver, work, memory: host.cpuMemory };
  return new ReplayWorkload(machine, recordingOf(files), queueDepth === undefined ? { name } : { name, queueDepth });
}

function buildBio(
  workload: BioLab,
  { driver, host }: MachineDrive,
  place: WorkloadPlace,
  { work }: WorkloadSurroundings,
  random: RandomStream,
): Workload {
  const { id, rw, readPercent, blockSize, blockSizeMix, queueDepth, ioCount, regionMiB, contiguity, cpus } = workload;
  return new BioWorkload(
    { ...place, driver, work, memory: host.cpuMemory },
    {
      name: `workloads[${id}]`,
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
