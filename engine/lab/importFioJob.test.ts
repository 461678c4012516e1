import { describe, expect, test } from 'vitest';
import { parseFioJobs } from '../formats/fioJob.ts';
import { labOfFioJobs } from './importFioJob.ts';

function imported(text: string) {
  return labOfFioJobs(parseFioJobs(text, 'jobs/a.fio'), 'jobs/a.fio');
}

describe('a lab of fio jobs', () => {
  test('has a drive for each device, and a workload for each job with the clones as CPUs', () => {
    const { file, notes } = imported(
      '[global]\nioengine=libaio\ndirect=1\niodepth=16\nsize=1g\n[a]\nfilename=/dev/x\nnumjobs=2\nrw=randread\nbs=64k\n[b]\nfilename=/dev/y\nrw=write\nnumber_ios=50',
    );
    const { lab } = file;
    expect(lab.topology.parts.map(({ id }) => id)).toEqual([
      'cpu0',
      'dram0',
      'iommu0',
      'port0',
      'nvme0',
      'port1',
      'nvme1',
    ]);
    expect(lab.workloads).toMatchObject([
      { device: 'nvme0', rw: 'randread', blockSize: 65_536, queueDepth: 32, cpus: 2, ioCount: 32_768, regionMiB: 1024 },
      { device: 'nvme1', rw: 'write', queueDepth: 16, cpus: 1, ioCount: 50 },
    ]);
    expect(notes).toEqual([]);
  });

  test('what ends by time ends by a number of I/Os here, and says so', () => {
    const { file, notes } = imported('[a]\ndirect=1\nruntime=60\ntime_based\nsize=1g');
    expect(file.lab.workloads[0]).toMatchObject({ ioCount: 10_000 });
    expect(notes).toEqual(['line 1: it ends by time: here after 10000 I/Os']);
  });

  test('registered buffers add the scheme that maps beforehand', () => {
    const { file } = imported('[a]\ndirect=1\nioengine=io_uring\nfixedbufs\nsize=1g');
    expect(file.lab.comparison.map(({ scheme }) => scheme)).toContain('premapped');
  });

  test('jobs on one drive go to functions of it', () => {
    const { file, notes } = imported('[global]\ndirect=1\nsize=1g\n[a]\n[b]\n[c]');
    expect(file.lab.workloads.map(({ device }) => device)).toEqual(['nvme0', 'nvme0.vf1', 'nvme0.vf2']);
    expect(notes).toHaveLength(2);
  });

  test('a depth that no drive has is refused with the product', () => {
    expect(() => imported('[a]\nioengine=libaio\nnumjobs=64\niodepth=128')).toThrow(/8192 I\/Os in flight/u);
  });
});
