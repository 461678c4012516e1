/**
 * What a GPU's memory and copy engine take, each with its source and how sure it is. Peers see the memory's latency behind all links;
 * its rate is far above any link's, so that it matters for copies inside the device only.
 * Leaves out: caches of the device, banks and refresh, what its shaders take of the rate.
 */
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';

interface GpuParameter {
  readonly value: number;
  readonly unit: 'ps' | 'bytes/s' | 'bytes';
  readonly source: string;
  readonly mark: 'measured' | 'derived' | 'assumed';
  readonly help: string;
}

export interface GpuParameters {
  /** From a request's arrival at the device to its data. */
  readonly memoryLatency: Picoseconds;
  /** Of all accesses together. */
  readonly memoryBytesPerSecond: number;
  /** From the doorbell to the first request. */
  readonly copyOverhead: Picoseconds;
  /** Of one request of the copy engine, and how many of them are under way at once. */
  readonly copyRequestBytes: number;
  readonly copyBytesInFlight: number;
}

const GPU_PARAMETERS: Readonly<Record<keyof GpuParameters, GpuParameter>> = {
  memoryLatency: {
    value: 500_000,
    unit: 'ps',
    source:
      'pointer chases on data-centre GPUs find 400 to 600 ns for a miss of all caches; none is known from the BAR',
    mark: 'assumed',
    help: "the device's memory, read by a peer or by the copy engine",
  },
  memoryBytesPerSecond: {
    value: 1.555e12,
    unit: 'bytes/s',
    source: 'NVIDIA A100 40 GB data sheet: 1555 GB/s of HBM2',
    mark: 'derived',
    help: 'all accesses to the memory together',
  },
  copyOverhead: {
    value: 1_500_000,
    unit: 'ps',
    source: 'no published figure for a copy engine alone; an empty copy seen by a program takes several microseconds',
    mark: 'assumed',
    help: 'each command, before its first request',
  },
  copyRequestBytes: {
    value: 4096,
    unit: 'bytes',
    source: 'one page, since host memory need not go on beyond it',
    mark: 'assumed',
    help: 'what the copy engine asks for at a time',
  },
  copyBytesInFlight: {
    value: 65536,
    unit: 'bytes',
    source: 'enough to fill 32 GB/s over a round trip of 2 us',
    mark: 'derived',
    help: 'requests of the copy engine under way at once',
  },
};

/** The parameters' values, with some of them replaced. */
export function gpuParameters(replaced: Partial<GpuParameters> = {}): GpuParameters {
  const value = (name: keyof GpuParameters): number => GPU_PARAMETERS[name].value;
  return {
    memoryLatency: picoseconds(value('memoryLatency')),
    memoryBytesPerSecond: value('memoryBytesPerSecond'),
    copyOverhead: picoseconds(value('copyOverhead')),
    copyRequestBytes: value('copyRequestBytes'),
    copyBytesInFlight: value('copyBytesInFlight'),
    ...replaced,
  };
}
