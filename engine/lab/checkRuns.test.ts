/** What `run` would refuse is found without running, and named by its path in the document. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Recording } from '../workloads/recordedRequest.ts';
import { checkRuns } from './checkRuns.ts';
import { parseLab } from './check.ts';
import type { LabFile } from './container.ts';
import { withValueAt } from './documentPath.ts';
import { labOfRecording } from './importRecording.ts';
import { readRecording } from './recording.ts';
import { sampleLab } from './testing/sampleLab.ts';

const folder = join(import.meta.dirname, '../../fixtures/recordings/7.3-lazy');
let file: LabFile;
let read: Map<string, Recording>;

beforeAll(async () => {
  const name = join(folder, 'w64k-rand-qd16-frag.txt.gz');
  const runJson = await readFile(join(folder, 'run.json'), 'utf8');
  file = labOfRecording({ name, trace: await readFile(name), runJson });
  read = new Map([...file.recordings].map(([id, files]) => [id, readRecording(files)]));
});

describe('the runs of a lab that carries a recording', () => {
  it('can be prepared as import made it', () => {
    expect(() => {
      checkRuns(file.lab, file.recordings, read, 'x');
    }).not.toThrow();
  });

  it.each([
    ['topology.parts[dram0].sizeGiB', 1, /^x: topology\.parts\[dram0\]\.sizeGiB: the recording .* Use at least \d+\.$/],
    ['topology.parts[nvme0].queueDepth', 16, /^x: topology\.parts\[nvme0\]\.queueDepth: .* 16 requests in flight/],
  ])('are refused with %s = %d', (path, value, message) => {
    const lab = parseLab(withValueAt(file.lab, path, value), 'x');
    expect(() => {
      checkRuns(lab, file.recordings, read, 'x');
    }).toThrow(message);
  });

  it('are refused on a drive that ends before the recording', () => {
    const far = new Map(
      [...read].map(([id, recording]): [string, Recording] => [
        id,
        { ...recording, requests: recording.requests.map((request) => ({ ...request, lba: 2 ** 33 })) },
      ]),
    );
    expect(() => {
      checkRuns(file.lab, file.recordings, far, 'x');
    }).toThrow(/^x: topology\.parts\[nvme0\]\.capacityGiB: .* Use at least 4097\.$/);
  });
});

it('a machine whose memory does not hold its queues and buffers is found by preparing it', () => {
  const { topology } = sampleLab();
  const parts = topology.parts.map((part) =>
    part.kind === 'memory'
      ? { ...part, sizeGiB: 1 }
      : part.kind === 'socket'
        ? { ...part, cpus: 64 }
        : part.kind === 'nvme'
          ? { ...part, queueDepth: 4096 }
          : part,
  );
  const workloads = [{ id: 'w', kind: 'bio', device: 'nvme0', queueDepth: 4095, blockSize: 2 ** 24, ioCount: 4095 }];
  const lab = sampleLab({ topology: { parts }, workloads });
  expect(() => {
    checkRuns(lab, new Map(), new Map(), 'x');
  }).toThrow(/^x: topology\.parts\[dram0\]\.sizeGiB: the machine is out of memory/);
});
