import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { LabError } from '../time/labError.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { readRecording } from './recording.ts';
import { LARGEST_RECORDING_BYTES, readRunJson } from './recordingFiles.ts';
import { runJson, TestTrace } from './testTrace.ts';

function files(trace: TestTrace | Uint8Array, run = runJson()): RecordingFiles {
  const bytes = trace instanceof TestTrace ? gzipSync(trace.text()) : trace;
  return { name: 'test/a.txt.gz', trace: bytes, runJson: run };
}

function problem(action: () => unknown): LabError {
  try {
    action();
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const twoStep = (trace: TestTrace, links: readonly (readonly [number, number])[]): TestTrace => {
  const total = links.reduce((sum, [, size]) => sum + size, 0);
  trace
    .setup(1, {}, 'nvme_cmd_write')
    .event(`try_alloc: (f) state=0xff phys=0x${links[0]?.[0].toString(16) ?? '0'} size=${total}`);
  trace
    .alloc(0x200, Math.ceil(total / 4096))
    .event(`try_alloc_ret: (f) ret=1 addr=0x200000 ssize=0x${total.toString(16)}`);
  let offset = 0;
  for (const [phys, size] of links) {
    trace.event(
      `link: (f) addr=0x200000 ssize=0x${total.toString(16)} phys=0x${phys.toString(16)} off=${offset} size=${size} dir=1`,
    );
    trace.map(0x200 + offset / 4096, phys, size).event('link_ret: (f) ret=0');
    offset += size;
  }
  return trace.event(`sync: (f) addr=0x200000 off=0 size=${total}`).event('sync_ret: (f) ret=0').issue(total);
};

describe('a recording as input of a replay', () => {
  it('gives requests in order of submission with order of completion and depth', () => {
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .submitPage(2, 0x101, 0x6000, { cpu: 1, pid: 7 })
      .completePage(2, 0x101)
      .completePage(1, 0x100, { flag: 'h', cpu: 1 })
      .submitPage(3, 0x100, 0x7000);
    const recording = readRecording(files(trace));
    expect(recording).toMatchObject({ kernelProfile: '7.3', domain: 'strict', queueDepth: 2, cpus: 1 });
    expect(
      recording.requests.map(({ cpu, completionCpu, completeOrder }) => [cpu, completionCpu, completeOrder]),
    ).toEqual([
      [0, 1, 1],
      [1, 0, 0],
      [0, 0, 2],
    ]);
    expect(recording.requests[0]).toMatchObject({
      write: false,
      lba: 8,
      bytes: 4096,
      segments: 1,
      vectors: [{ phys: 0x5000, length: 4096 }],
    });
  });

  it('infers several segments from the two-step path, even with a single link', () => {
    const request = readRecording(files(twoStep(new TestTrace(), [[0x8000, 8192]]))).requests[0];
    expect(request).toMatchObject({ write: true, segments: 2, vectors: [{ phys: 0x8000, length: 8192 }] });
  });

  it('takes one vector for each link', () => {
    const request = readRecording(
      files(
        twoStep(new TestTrace(), [
          [0x8000, 4096],
          [0x20000, 8192],
        ]),
      ),
    ).requests[0];
    expect(request).toMatchObject({
      segments: 2,
      bytes: 12288,
      vectors: [
        { phys: 0x8000, length: 4096 },
        { phys: 0x20000, length: 8192 },
      ],
    });
  });

  it('infers a gapped request from several dma_map_phys', () => {
    const trace = new TestTrace().setup(1);
    for (const index of [0, 1, 2]) {
      const phys = 0x5000 + index * 0x3000 + 0x400;
      trace
        .alloc(0x100 + index, 1)
        .map(0x100 + index, phys - 0x400, 4096)
        .mapped(0x100 + index, phys, 1024);
    }
    const request = readRecording(files(trace.issue(3072))).requests[0];
    expect(request).toMatchObject({ segments: 3, bytes: 3072 });
    expect(request?.vectors.map((vector) => vector.phys % 4096)).toEqual([0x400, 0x400, 0x400]);
  });

  it('reads the lengths of scatterlist entries from the maps: unaligned ends, and neighbours in one map', () => {
    const trace = new TestTrace()
      .setup(1)
      .alloc(0x100, 5)
      .map(0x100, 0x5000, 4096)
      .map(0x101, 0x8000, 12288)
      .map(0x104, 0x20000, 4096)
      .event(
        'dma_map_sg: 0000:00:03.0 dir=TO_DEVICE nents=4/4 ents=1/1 dma_addrs={0x100200} sizes={0x4200} phys_addrs={0x5200,0x8000,0x9000,0x20000} attrs=NO_WARN',
      )
      .issue(0x4200);
    const request = readRecording(files(trace)).requests[0];
    expect(request?.segments).toBe(4);
    expect(request?.vectors).toEqual([
      { phys: 0x5200, length: 0xe00 },
      { phys: 0x8000, length: 0x1000 },
      { phys: 0x9000, length: 0x2000 },
      { phys: 0x20000, length: 0x400 },
    ]);
  });

  it('reads them from the sizes in passthrough', () => {
    const trace = new TestTrace()
      .setup(1)
      .event(
        'dma_map_sg: 0000:00:03.0 dir=TO_DEVICE nents=2/2 ents=2/2 dma_addrs={0x5200,0x8000} sizes={0xe00,0x2000} phys_addrs={0x5200,0x8000} attrs=NO_WARN',
      )
      .issue(0x2e00);
    const request = readRecording(files(trace, runJson({ commandLine: 'intel_iommu=on iommu.passthrough=1' })))
      .requests[0];
    expect(request?.vectors.map((vector) => vector.length)).toEqual([0xe00, 0x2000]);
  });

  it('counts the pages that the driver’s pools take inside a request', () => {
    const trace = twoStep(new TestTrace(), [
      [0x8000, 4096],
      [0x20000, 4096],
    ]);
    const lines = trace.text().trimEnd().split('\n');
    const issue = lines.pop() ?? '';
    const pool = new TestTrace()
      .alloc(0x300, 1)
      .map(0x300, 0x77000, 4096)
      .event(
        'dma_alloc: 0000:00:03.0 dir=BIDIRECTIONAL dma_addr=300000 size=4096 virt_addr=0001 flags=GFP_ATOMIC attrs=',
      )
      .text();
    const text = `${lines.join('\n')}\n${pool}${issue}\n`;
    const request = readRecording(files(gzipSync(text))).requests[0];
    expect(request).toMatchObject({ poolPages: 1, bytes: 8192, segments: 2 });
  });

  it('leaves out commands without data', () => {
    const trace = new TestTrace().submitPage(1, 0x100, 0x5000).setup(2, {}, 'nvme_cmd_flush').issue(0);
    expect(readRecording(files(trace)).requests).toHaveLength(1);
  });
});

describe('run.json', () => {
  it.each([
    ['intel_iommu=on iommu.strict=1', 'strict'],
    ['intel_iommu=on iommu.strict=0', 'lazy'],
    ['iommu.strict=0 iommu.strict=1', 'strict'],
    ['intel_iommu=on', 'lazy'],
    ['intel_iommu=on iommu.passthrough=1', 'passthrough'],
    ['intel_iommu=on iommu=pt', 'passthrough'],
    ['intel_iommu=on,strict', 'strict'],
  ])('tells the kind of domain from "%s"', (commandLine, domain) => {
    expect(readRunJson('a', runJson({ commandLine })).domain).toBe(domain);
  });

  it.each([
    ['6.12.107+deb13-amd64', '6.12'],
    ['6.17.13', '6.17'],
    ['7.3', '7.3'],
  ])('gives %s the profile %s', (kernel, profile) => {
    expect(readRunJson('a', runJson({ kernel })).kernelProfile).toBe(profile);
  });

  it('refuses a kernel without a profile by name', () => {
    expect(problem(() => readRunJson('a', runJson({ kernel: '7.30.1' }))).problem).toContain('Linux 7.30.1');
  });

  it('refuses what is not emulated', () => {
    expect(problem(() => readRunJson('a', runJson({ iommu: 'amd-iommu' }))).problem).toContain('amd-iommu');
    expect(problem(() => readRunJson('a', runJson({ iommu: 'intel-iommu,caching-mode=on' }))).problem).toContain(
      'caching mode',
    );
  });

  it('names the field that is wrong', () => {
    expect(problem(() => readRunJson('a', runJson({ cpus: -1 }))).problem).toMatch(/^cpus: /);
    expect(problem(() => readRunJson('a', 'hello')).where).toBe('a (run.json)');
  });
});

describe('bad input', () => {
  const good = gzipSync(new TestTrace().submitPage(1, 0x100, 0x5000).text());

  it('a gzip file that is cut off', () => {
    expect(problem(() => readRecording(files(good.subarray(0, good.length - 20)))).problem).toContain('cut off');
  });

  it('a gzip file that is damaged', () => {
    const damaged = Uint8Array.from(good);
    damaged.fill(0x55, 12, 40);
    expect(problem(() => readRecording(files(damaged))).problem).toContain('damaged');
  });

  it('a file that inflates to more than anyone recorded', () => {
    const bomb = gzipSync(Buffer.alloc(LARGEST_RECORDING_BYTES + 1));
    expect(problem(() => readRecording(files(bomb))).problem).toContain('inflates to more than');
  });

  it('a binary file', () => {
    expect(problem(() => readRecording(files(Uint8Array.from([0x7f, 0x45, 0, 1])))).problem).toContain('binary');
  });

  it('a trace without NVMe commands, and one that maps nothing', () => {
    expect(problem(() => readRecording(files(new TestTrace().event('sched_switch: x')))).problem).toContain(
      'no NVMe command',
    );
    expect(problem(() => readRecording(files(new TestTrace().setup(1).issue(0)))).problem).toContain('maps any memory');
  });

  it('an empty file', () => {
    expect(problem(() => readRecording(files(new Uint8Array(0)))).problem).toContain('no NVMe command');
  });
});
