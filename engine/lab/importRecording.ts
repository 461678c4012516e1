/**
 * A lab made from a recording: a machine large enough for what was recorded, the recording as its workload, and each mapping
 * scheme that the recorded kernel has, strict and lazy, side by side; passthrough too where that is what was recorded.
 */
import { kernelProfile } from '../dma/kernels/profiles.ts';
import type { Recording, RecordingFiles } from '../workloads/recordedRequest.ts';
import { parseLab } from './check.ts';
import type { LabFile } from './container.ts';
import { readRecording } from './recording.ts';
import type { Comparison, LabDocument } from './schema.ts';

const GIB = 2 ** 30;
const SECTOR_BYTES = 512;

export function labOfRecording(files: RecordingFiles): LabFile {
  const recording = readRecording(files);
  const id = recordingId(files.name);
  const lab = parseLab(documentOf(recording, id), files.name, new Set([id]));
  return { lab, recordings: new Map([[id, files]]), runs: new Map(), unknown: new Map() };
}

/** `.../7.3-lazy/w64k-rand-qd16-frag.txt.gz` becomes `7.3-lazy.w64k-rand-qd16-frag`. */
function recordingId(name: string): string {
  const [file = '', folder = ''] = name
    .replace(/(\.txt)?(\.gz)?$/, '')
    .split(/[\\/]/)
    .reverse();
  const joined = [folder, file].filter((part) => part !== '' && part !== '.').join('.');
  return (
    joined
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 64) || 'recording'
  );
}

function documentOf(recording: Recording, id: string): Partial<LabDocument> & Record<string, unknown> {
  let memoryEnd = 0;
  let mediumEnd = 0;
  for (const { vectors, lba, bytes } of recording.requests) {
    for (const { phys, length } of vectors) memoryEnd = Math.max(memoryEnd, phys + length);
    mediumEnd = Math.max(mediumEnd, lba * SECTOR_BYTES + bytes);
  }
  return {
    format: 1,
    name: `Replay of ${id}`,
    description: `${recording.requests.length} requests that Linux ${recording.kernelRelease} made of an NVMe drive, at most ${recording.queueDepth} in flight.`,
    kernelProfile: recording.kernelProfile,
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus: Math.min(64, Math.max(1, recording.cpus)) },
        {
          id: 'dram0',
          kind: 'memory',
          parent: 'cpu0',
          sizeGiB: Math.max(4, 2 ** Math.ceil(Math.log2(memoryEnd / GIB + 1))),
        },
        { id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0' },
        { id: 'nvme0', kind: 'nvme', parent: 'port0', capacityGiB: Math.max(1024, Math.ceil(mediumEnd / GIB)) },
      ],
    } as LabDocument['topology'],
    workloads: [{ id: 'replay0', kind: 'replay', device: 'nvme0', recording: id }],
    comparison: comparisonOf(recording),
  };
}

function comparisonOf(recording: Recording): Comparison[] {
  const schemes = kernelProfile(recording.kernelProfile).twoStepAvailable
    ? (['map_sg', 'two_step'] as const)
    : (['map_sg'] as const);
  const domains =
    recording.domain === 'passthrough' ? (['strict', 'lazy', 'passthrough'] as const) : (['strict', 'lazy'] as const);
  return schemes.flatMap((scheme) =>
    domains.map((domain) => ({ id: `${scheme}-${domain}`.replace('_', '-'), scheme, domain })),
  );
}
