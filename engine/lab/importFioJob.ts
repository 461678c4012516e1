/**
 * A lab made from a job file of fio: a drive for each device that the jobs name, a workload for each job, and the mapping schemes to compare.
 * What the file leaves to time (`runtime`) gets a number of I/Os instead, since a run here ends with its work.
 */
import { LabError } from '../time/labError.ts';
import type { FioJob, FioJobFile } from '../formats/fioJob.ts';
import { parseLab } from './check.ts';
import type { LabFile } from './container.ts';
import { LIMITS } from './limits.ts';
import type { LabDocument } from './schema.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const IOS_WITHOUT_END = 10_000;
const REGION_WITHOUT_SIZE_MIB = 1024;
const MOST_CPUS = 64;
const MOST_DEPTH = 4096;

export interface ImportedJobs {
  readonly file: LabFile;
  /** What of the job file is otherwise in the lab, for people. */
  readonly notes: readonly string[];
}

export function labOfFioJobs(jobFile: FioJobFile, name: string): ImportedJobs {
  const notes = jobFile.warnings.map(({ line, text }) => `line ${line}: ${text}`);
  const drives = drivesOf(jobFile.jobs);
  const workloads = jobFile.jobs.map((job, index) =>
    workloadOf(job, index, functionOf(job, drives, name, notes), name, notes),
  );
  const largestRegion = Math.max(...workloads.map(({ regionMiB }) => regionMiB)) * MIB;
  const cpus = Math.min(
    MOST_CPUS,
    workloads.reduce((sum, workload) => sum + workload.cpus, 0),
  );
  const registered = jobFile.jobs.some((job) => job.registeredBuffers);
  const title = name.split(/[\\/]/u).at(-1) ?? name;
  const document: Partial<LabDocument> & Record<string, unknown> = {
    format: 1,
    kernelProfile: '7.3',
    name: `fio: ${title}`.slice(0, LIMITS.nameLength),
    description: `Jobs ${jobFile.jobs.map((job) => job.name).join(', ')}`.slice(0, 1000),
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus },
        { id: 'dram0', kind: 'memory', parent: 'cpu0' },
        { id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
        ...[...drives.values()].flatMap(({ id, jobs }, index) => [
          { id: `port${index}`, kind: 'rootPort', parent: 'cpu0' },
          {
            id,
            kind: 'nvme',
            parent: `port${index}`,
            capacityGiB: Math.max(1024, Math.ceil(largestRegion / GIB)),
            ...(jobs > 1 ? { virtualFunctions: jobs - 1 } : {}),
          },
        ]),
      ],
    } as LabDocument['topology'],
    workloads: workloads as unknown as LabDocument['workloads'],
    comparison: [
      { id: 'map-sg-strict', scheme: 'map_sg', domain: 'strict' },
      { id: 'two-step-strict', scheme: 'two_step', domain: 'strict' },
      { id: 'two-step-lazy', scheme: 'two_step', domain: 'lazy' },
      ...(registered ? ([{ id: 'premapped-strict', scheme: 'premapped', domain: 'strict' }] as const) : []),
    ],
  };
  const lab = parseLab(document, name, new Set());
  return { file: { lab, recordings: new Map(), runs: new Map(), unknown: new Map() }, notes };
}

interface Drive {
  readonly id: string;
  /** Jobs that it has so far. */
  jobs: number;
}

/** By the file name in the job: the drive of the lab. Jobs without one share the first drive. */
function drivesOf(jobs: readonly FioJob[]): Map<string, Drive> {
  const drives = new Map<string, Drive>();
  for (const { files } of jobs) {
    const file = files[0] ?? '';
    if (!drives.has(file)) drives.set(file, { id: `nvme${drives.size}`, jobs: 0 });
  }
  return drives;
}

/** A drive serves one workload, so jobs that share one go to functions of it, which share its medium and its link. */
function functionOf(job: FioJob, drives: ReadonlyMap<string, Drive>, name: string, notes: string[]): string {
  const drive = drives.get(job.files[0] ?? '')!;
  const index = drive.jobs;
  drive.jobs += 1;
  if (index === 0) return drive.id;
  if (index >= LIMITS.driveFunctions) {
    throw new LabError(
      `${name}:${job.line}`,
      `more than ${LIMITS.driveFunctions} jobs share one drive.`,
      'Give some of them another filename.',
    );
  }
  notes.push(
    `line ${job.line}: it shares a drive with other jobs, through a virtual function with an IOMMU domain of its own`,
  );
  return `${drive.id}.vf${index}`;
}

function workloadOf(
  job: FioJob,
  index: number,
  device: string,
  name: string,
  notes: string[],
): { readonly regionMiB: number; readonly cpus: number } & Record<string, unknown> {
  const place = `${name}:${job.line}`;
  const note = (text: string): void => void notes.push(`line ${job.line}: ${text}`);
  if (job.files.length > 1) note(`the job has ${job.files.length} files; its I/Os go to ${job.files[0]!}`);
  if (job.queueDepth * job.clones > MOST_DEPTH) {
    throw new LabError(
      place,
      `${job.clones} clones of the job with iodepth=${job.queueDepth} have ${job.queueDepth * job.clones} I/Os in flight.`,
      `Keep the product of numjobs and iodepth at ${MOST_DEPTH} or less.`,
    );
  }
  if (job.clones > MOST_CPUS) note(`${job.clones} clones share ${MOST_CPUS} CPUs`);
  if (job.hugeBuffers) note('huge pages: buffers lie side by side in memory, and are mapped as such');
  const regionMiB = regionOf(job, note);
  return {
    id: `job${index}`,
    kind: 'bio',
    device,
    rw: job.pattern,
    readPercent: job.readPercent,
    blockSize: job.blockSizes[0]!.bytes,
    ...(job.blockSizes.length > 1 ? { blockSizeMix: job.blockSizes } : {}),
    queueDepth: job.queueDepth * job.clones,
    ioCount: ioCountOf(job, regionMiB, note),
    regionMiB,
    contiguity: job.hugeBuffers ? 'contiguous' : 'scattered',
    cpus: Math.min(MOST_CPUS, job.clones),
  };
}

function regionOf(job: FioJob, note: (text: string) => void): number {
  if (job.regionBytes !== null) return Math.max(1, Math.ceil(job.regionBytes / MIB));
  note(
    job.regionPercent === null
      ? `without size the I/Os fall into ${REGION_WITHOUT_SIZE_MIB} MiB`
      : `size=${job.regionPercent}% of a drive that the file does not describe: the I/Os fall into ${REGION_WITHOUT_SIZE_MIB} MiB`,
  );
  return REGION_WITHOUT_SIZE_MIB;
}

/** Of all clones together. */
function ioCountOf(job: FioJob, regionMiB: number, note: (text: string) => void): number {
  const weights = job.blockSizes.reduce((sum, { weight }) => sum + weight, 0);
  const meanBytes = job.blockSizes.reduce((sum, { bytes, weight }) => sum + bytes * weight, 0) / weights;
  const bytes = job.ioBytes ?? (job.regionBytes === null ? null : regionMiB * MIB);
  const each = job.timeBased ? null : (job.ioCount ?? (bytes === null ? null : Math.ceil(bytes / meanBytes)));
  if (each === null) {
    note(`it ends by time: here after ${IOS_WITHOUT_END} I/Os`);
    return IOS_WITHOUT_END;
  }
  const all = each * job.clones;
  if (all <= LIMITS.ioCount) return all;
  note(`${all} I/Os are more than one run makes: here after ${LIMITS.ioCount}`);
  return LIMITS.ioCount;
}
