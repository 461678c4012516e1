import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { traceText } from '../lab/recordingFiles.ts';
import { runJson, TestTrace } from '../lab/testTrace.ts';
import { RandomStream } from '../time/random.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { conformLinuxTrace, conformRecording } from './linuxTrace.ts';
import { NaiveKernel, type NaiveKernelOptions } from './naiveKernel.ts';
import type { FileResult } from './report.ts';

const FIXTURES = fileURLToPath(new URL('../../fixtures/recordings/', import.meta.url));
const LAZY = runJson({ commandLine: 'intel_iommu=on iommu.strict=0' });

function fixture(folder: string, name: string): RecordingFiles {
  return {
    name: `${folder}/${name}`,
    trace: readFileSync(`${FIXTURES}${folder}/${name}.txt.gz`),
    runJson: readFileSync(`${FIXTURES}${folder}/run.json`, 'utf8'),
  };
}

function fixtureNames(): string[] {
  return readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.txt.gz'))
    .map((path) => path.replaceAll('\\', '/').replace('.txt.gz', ''))
    .sort();
}

function files(text: string, run = runJson()): RecordingFiles {
  return { name: 'test', trace: Buffer.from(text), runJson: run };
}

describe('recordings of real kernels', () => {
  it.each(fixtureNames())('%s agrees request by request', (path) => {
    const [folder = '', name = ''] = path.split('/');
    const result = conformRecording(fixture(folder, name));
    expect(result.firstDifference).toBeNull();
    expect(result.skipped).toEqual([]);
    expect(result.agree).toBe(result.total);
    expect(result.total).toBeGreaterThanOrEqual(150);
  });

  it('hold every request that fio made (number_ios of the recorded command lines)', () => {
    const totals = [
      ['6.12-lazy', 'r4k-rand-qd16', 1500],
      ['7.3-lazy', 'w64k-rand-qd16-frag', 400],
      ['7.3-lazy', 'mix-rw-4k-128k-qd16', 800],
      ['7.3-strict-smp4', 'r4k-rand-qd16-j4', 4 * 400],
      // 60 reads of 1 MiB, eight requests each: the block layer cuts at 128 KiB behind an IOMMU.
      ['7.3-strict', 'r1m-seq-qd1-huge', 60 * 8],
      // 150 writes with five gaps inside: six requests each where the driver sets a virt boundary, one where it does not.
      ['6.12-strict', 'pio-gap', 150 * 6],
      ['7.3-strict', 'pio-gap', 150],
    ] as const;
    const suite = conformLinuxTrace(totals.map(([folder, name]) => fixture(folder, name)));
    expect(suite.files.map((file) => file.total)).toEqual(totals.map(([, , total]) => total));
  }, 20_000);
});

/** A line of a recording is changed, and the request that it belongs to must disagree there. */
describe('the comparison can fail', () => {
  /** The text of a fixture without its header, which would notice a line that is missing. */
  function linesOf(folder: string, name: string): string[] {
    const { trace } = fixture(folder, name);
    return traceText(name, trace)
      .split('\n')
      .filter((line) => !line.startsWith('#'));
  }

  function conform(folder: string, name: string, lines: readonly string[]): FileResult {
    return conformRecording({ ...fixture(folder, name), trace: Buffer.from(lines.join('\n')) });
  }

  function indexOf(lines: readonly string[], pattern: RegExp, after = 0): number {
    const found = lines.findIndex((line, index) => index >= after && pattern.test(line));
    if (found < 0) throw new Error(`no line like ${pattern}`);
    return found;
  }

  const two = ['7.3-strict', 'pio-unal512'] as const;
  const sg = ['6.12-strict', 'pio-unal512'] as const;
  const single = ['6.17-strict', 'pio-gap'] as const;

  it.each([
    ['another size', two, / map: /, /size=4096/, 'size=8192', /^map .* size=8192/, /^map .* size=4096/],
    [
      'another physical address',
      sg,
      / map: /,
      /paddr=0x0000000(\w)/,
      'paddr=0x0000001$1',
      /^map .* paddr=0x1/,
      /^map /,
    ],
    [
      'another place in the range',
      sg,
      / map: /,
      /iova=0x(\w+)50000 -/,
      'iova=0x$151000 -',
      /range 0\+0x1000/,
      /range 0\+0x0/,
    ],
    [
      'another number of unmapped bytes',
      two,
      / unmap: /,
      /unmapped_size=\d+/,
      'unmapped_size=4096',
      /unmapped_size=4096/,
      /unmapped_size=36864/,
    ],
    ['no invalidation hint', single, / qi_submit: /, /(0x\w+)4([0-9a-f]) 0x0 0x0/, '$10$2 0x0 0x0', /hint 0/, /hint 1/],
    ['another address mask', sg, / cache_tag_flush_range: /, /mask 0x4/, 'mask 0x5', /mask 0x5/, /mask 0x4/],
    [
      'another number of flushed pages',
      sg,
      / cache_tag_flush_range: /,
      /pages 0x10/,
      'pages 0x20',
      /pages 0x20/,
      /pages 0x10/,
    ],
    [
      'a domain flush instead of a page flush',
      two,
      / qi_submit: /,
      /0x300f2 0x\w+/,
      '0x300e2 0x0',
      /iotlb_inv domain/,
      /iotlb_inv page/,
    ],
    [
      'another size of a free',
      two,
      / free_fast: /,
      /size=9/,
      'size=16',
      /free_fast range 0 size=16/,
      /free_fast range 0 size=9/,
    ],
    [
      'a free of another range',
      two,
      / free_fast: /,
      /pfn=0x\w+/,
      'pfn=0x77777',
      /before the recording/,
      /free_fast range 0 /,
    ],
    [
      'another limit of an allocation',
      two,
      / alloc_fast: /,
      /limit_pfn=0xfffff /,
      'limit_pfn=0xffffff ',
      /0xffffff /,
      /0xfffff /,
    ],
    ['another call', single, / dma_map_page: /, /dma_map_page/, 'dma_map_phys', /^dma_map_phys/, /^dma_map_page/],
    ['another direction of a link', two, / link: /, /dir=2/, 'dir=1', /^dma_iova_link/, /^dma_iova_link/],
    ['a failed sync', two, / sync_ret: /, /ret=0/, 'ret=-22', /ret=-22/, /ret=0/],
  ] as const)('%s', (_what, [folder, name], event, from, to, recorded, emulated) => {
    const lines = linesOf(folder, name);
    // The third request, so that the ones before it must still agree.
    const third = indexOf(
      lines,
      /nvme_setup_cmd/,
      indexOf(lines, /nvme_setup_cmd/, indexOf(lines, /nvme_setup_cmd/) + 1) + 1,
    );
    const changed = indexOf(lines, event, third);
    const before = lines[changed] ?? '';
    lines[changed] = before.replace(from, to);
    expect(lines[changed]).not.toBe(before);
    const result = conform(folder, name, lines);
    expect(result.total - result.agree).toBeGreaterThanOrEqual(1);
    expect(result.firstDifference?.recorded).toMatch(recorded);
    expect(result.firstDifference?.emulated).toMatch(emulated);
    expect(Math.abs((result.firstDifference?.line ?? 0) - (changed + 1))).toBeLessThanOrEqual(3);
  });

  it.each([
    ['a map is missing', two, / map: /, 1],
    ['a flush is missing', two, / cache_tag_flush_range: /, 1],
    ['an invalidation is missing', sg, / qi_submit: /, 1],
    // The next request gets a range that was not given back.
    ['a free is missing', sg, / free_fast: /, 2],
    ['an unmap call is missing', single, / dma_unmap_page: /, 1],
  ] as const)('%s', (_what, [folder, name], event, disagree) => {
    const lines = linesOf(folder, name);
    const dropped = indexOf(lines, event, 200);
    lines.splice(dropped, 1);
    const result = conform(folder, name, lines);
    expect(result.total - result.agree).toBe(disagree);
    expect(Math.abs((result.firstDifference?.line ?? 0) - (dropped + 1))).toBeLessThanOrEqual(4);
  });

  it('two calls in another order', () => {
    const lines = linesOf(...two);
    const first = indexOf(lines, / link: /, 200);
    const second = indexOf(lines, / link: /, first + 1);
    const [one = '', , , other = ''] = lines.slice(first, second + 1);
    lines[first] = other;
    lines[second] = one;
    const result = conform(...two, lines);
    expect(result.total - result.agree).toBe(1);
    expect(result.firstDifference?.line).toBe(first + 1);
  });

  it('a range that the timer gives back although it never was queued, and one that it keeps', () => {
    const [folder, name] = ['7.3-lazy', 'r4k-rand-qd16'] as const;
    const lines = linesOf(folder, name);
    const timer = indexOf(lines, / d\.s\d\. .* free_fast: /, 2000);
    lines.splice(timer, 1);
    const result = conform(folder, name, lines);
    expect(result.total - result.agree).toBeGreaterThanOrEqual(1);
    expect(result.firstDifference?.emulated).toMatch(/is given back by the timer/);
  });

  it('another size of a range that the timer gives back, and two in another order', () => {
    const [folder, name] = ['7.3-lazy', 'r4k-rand-qd16'] as const;
    const lines = linesOf(folder, name);
    // Well inside what one timer gives back, so that its neighbours are the recording's own too.
    const timer = indexOf(lines, / d\.s\d\. .* free_fast: /, 6000);
    const second = indexOf(lines, / d\.s\d\. .* free_fast: /, timer + 1);
    const [one = '', other = ''] = [lines[timer], lines[second]];
    lines[timer] = one.replace(/size=1$/, 'size=7');
    const resized = conform(folder, name, lines);
    expect(resized.total - resized.agree).toBe(1);
    expect(resized.firstDifference?.recorded).toMatch(/given back by the timer at line \d+, size=7/);
    lines[timer] = other;
    lines[second] = one;
    const swapped = conform(folder, name, lines);
    expect(swapped.total - swapped.agree).toBe(1);
    expect(swapped.firstDifference?.recorded).toMatch(/after one that was queued later/);
  });

  it('more than the emulator does', () => {
    const lines = linesOf(...single);
    const extra = indexOf(lines, / qi_submit: /, 100);
    lines.splice(extra, 0, lines[extra] ?? '');
    const result = conform(...single, lines);
    expect(result.total - result.agree).toBe(1);
    expect(result.firstDifference?.line).toBe(extra + 2);
  });
});

describe('requests that are not whole', () => {
  it('are outside the count, with a reason', () => {
    const trace = new TestTrace()
      .completePage(7, 0x500)
      .submitPage(1, 0x100, 0x5000)
      .completePage(1, 0x100)
      .setup(4, { pid: 9 }, 'nvme_cmd_read', 'nvme1')
      .event('block_rq_issue: 259,1 R 4096 () 8 + 8 be,0,4 [fio]', { pid: 9 })
      .submitPage(2, 0x100, 0x5000)
      .setup(3)
      .alloc(0x101, 1);
    const result = conformRecording(files(trace.text()));
    expect(result).toMatchObject({ agree: 1, total: 1, firstDifference: null });
    expect(result.skipped).toEqual(
      expect.arrayContaining([
        { reason: 'in flight when the recording began', count: 1 },
        { reason: 'a request of another drive', count: 1 },
        { reason: 'in flight when the recording ended', count: 1 },
        { reason: 'preparing it was given up, or the recording ends inside it', count: 1 },
      ]),
    );
  });

  it('but a command without data is a request that makes no call', () => {
    const trace = new TestTrace().submitPage(1, 0x100, 0x5000).completePage(1, 0x100);
    trace.setup(2, {}, 'nvme_cmd_flush').issue(0).complete(2, { flag: 'h' });
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 2, total: 2 });
    trace.setup(4, {}, 'nvme_cmd_write_zeroes').issue(65536).complete(4, { flag: 'h' });
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 3, total: 3 });
    trace.setup(3, {}, 'nvme_cmd_flush').issue(0).unmap(0x100, 4096, { flag: 'h' }).complete(3, { flag: 'h' });
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 3, total: 4 });
  });
});

describe('lines that cannot all be true are a disagreement, not a request cut off by the recording', () => {
  const strict = ['7.3-strict', 'pio-unal512'] as const;
  const passthrough = ['6.12-pt', 'r4k-rand-qd16'] as const;
  const deep = ['6.12-lazy', 'r4k-rand-qd16'] as const;

  function mutate(
    [folder, name]: readonly [string, string],
    pattern: RegExp,
    change: (line: string) => readonly string[],
  ): FileResult {
    const all = fixture(folder, name);
    const lines = traceText(name, all.trace)
      .split('\n')
      .filter((line) => !line.startsWith('#'));
    const matching = lines.flatMap((line, index) => (pattern.test(line) ? [index] : []));
    const chosen = matching[Math.floor(matching.length / 2)] ?? -1;
    lines.splice(chosen, 1, ...change(lines[chosen] ?? ''));
    return conformRecording({ ...all, trace: Buffer.from(lines.join('\n')) });
  }

  const changed = (from: RegExp, to: string) => (line: string) => [line.replace(from, to)];
  const cases = [
    ['no nvme_setup_cmd', / nvme_setup_cmd: /, () => []],
    ['no block_rq_issue', / block_rq_issue: /, () => []],
    ['nvme_setup_cmd twice', / nvme_setup_cmd: /, (line: string) => [line, line]],
    ['nvme_complete_rq twice', / nvme_complete_rq: /, (line: string) => [line, line]],
    ['another cmdid at setup', / nvme_setup_cmd: /, changed(/cmdid=\d+/, 'cmdid=4095')],
    ['another cmdid at completion', / nvme_complete_rq: /, changed(/cmdid=\d+/, 'cmdid=4095')],
    ['another qid at setup', / nvme_setup_cmd: /, changed(/qid=\d+/, 'qid=7')],
    ['another qid at completion', / nvme_complete_rq: /, changed(/qid=\d+/, 'qid=7')],
    ['another use of the tag at completion', / nvme_complete_rq: /, changed(/cmdid=\d/, 'cmdid=9')],
    ['another drive at setup', / nvme_setup_cmd: /, changed(/nvme0:/, 'nvme1:')],
  ] as const;

  it.each(cases)('%s', (_what, pattern, change) => {
    for (const recording of [strict, deep, passthrough]) {
      const result = mutate(recording, pattern, change);
      expect(result.agree).toBeLessThan(result.total);
      expect(result.firstDifference).not.toBeNull();
    }
  });

  it('every request lacks its block_rq_issue', () => {
    const all = fixture(...strict);
    const text = traceText('test', all.trace)
      .split('\n')
      .filter((line) => !line.startsWith('#') && !line.includes(' block_rq_issue: '))
      .join('\n');
    expect(conformRecording({ ...all, trace: Buffer.from(text) })).toMatchObject({ agree: 0, total: 150 });
  });

  it('while a command that took back its mapping and was tried again is only skipped', () => {
    const trace = new TestTrace()
      .setup(1)
      .alloc(0x100, 1)
      .map(0x100, 0x5000, 4096)
      .mapped(0x100, 0x5000, 4096)
      .unmap(0x100, 4096)
      .flushPage(0x100)
      .free(0x100, 1)
      .unmapped(0x100, 4096)
      .submitPage(0x1001, 0x100, 0x5000)
      .completePage(0x1001, 0x100);
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 1, total: 1 });
  });

  it('and a recording in which nothing can be compared is bad input', () => {
    const trace = new TestTrace().completePage(7, 0x500).submitPage(1, 0x100, 0x5000);
    expect(() => conformRecording(files(trace.text()))).toThrow(/no request in it can be compared/);
  });
});

describe('direction and size are what the block layer asked for, not what the driver did', () => {
  const recordings = [
    ['6.12-strict', 'pio-unal512', 150],
    ['7.3-strict', 'pio-unal512', 150],
    ['6.12-pt', 'pio-scat32', 150],
    ['7.3-lazy', 'w64k-rand-qd16-frag', 400],
  ] as const;

  function replaced(folder: string, name: string, change: (text: string) => string): FileResult {
    const all = fixture(folder, name);
    return conformRecording({ ...all, trace: Buffer.from(change(traceText(name, all.trace))) });
  }

  it.each(recordings)('%s/%s with opcodes or sizes changed', (folder, name, total) => {
    const flipped = replaced(folder, name, (text) =>
      text.replace(/nvme_cmd_(read|write)/g, (_all, which) => (which === 'read' ? 'nvme_cmd_write' : 'nvme_cmd_read')),
    );
    expect(flipped).toMatchObject({ agree: 0, total });
    expect(flipped.firstDifference?.recorded).toMatch(/ dir=(TO|FROM)_DEVICE /);
    const resized = replaced(folder, name, (text) => text.replace(/(block_rq_issue: \S+ \S+) \d+/g, '$1 1536'));
    expect(resized).toMatchObject({ agree: 0, total });
    expect(resized.firstDifference?.emulated).toBe('1536 bytes mapped');
  });
});

describe('the flush queue in a replay (drivers/iommu/dma-iommu.c)', () => {
  function lazyReads(count: number, overflowAfter: number, history: number): TestTrace {
    const hard = { flag: 'h' } as const;
    const trace = new TestTrace();
    for (let index = 0; index < count; index += 1) {
      trace.submitPage(index, 0x1000 + index, 0x1_0000_0000 + index * 4096);
      trace.unmap(0x1000 + index, 4096, hard);
      if (index === overflowAfter) {
        trace.flushDomain(hard);
        for (let before = 0; before < history; before += 1) trace.free(0x9000 + before, 1, hard);
        for (let queued = 0; queued < index; queued += 1) trace.free(0x1000 + queued, 1, hard);
      }
      trace.unmapped(0x1000 + index, 4096, hard).complete(index, hard);
    }
    return trace;
  }

  it('overflows at the 256th unmap', () => {
    expect(conformRecording(files(lazyReads(300, 255, 0).text(), LAZY))).toMatchObject({ agree: 300, total: 300 });
  });

  it('overflows earlier by what waited before the recording, which its first release shows', () => {
    expect(conformRecording(files(lazyReads(300, 200, 55).text(), LAZY))).toMatchObject({ agree: 300, total: 300 });
  });

  it('disagrees when it overflows at another moment', () => {
    const result = conformRecording(files(lazyReads(300, 254, 0).text(), LAZY));
    expect(result.total - result.agree).toBeGreaterThan(0);
    expect(result.firstDifference?.recorded).toMatch(/whole domain/);
    expect(result.firstDifference?.emulated).toMatch(/^dma_unmap_phys/);
  });

  const quiet = { inFlight: 0, queued: 0, flushed: 0 };
  const busy = { inFlight: 3, queued: 120, flushed: 0 };
  const cases: readonly (readonly [string, number, Omit<NaiveKernelOptions, 'below'>])[] = [
    ['one CPU, overflowing', 1, { cpus: 1, requests: 900, timerRate: 0, queueDepth: 16, before: quiet, unfinished: 0 }],
    [
      'one CPU with a past and timers',
      2,
      { cpus: 1, requests: 900, timerRate: 2, queueDepth: 16, before: { ...busy, flushed: 20 }, unfinished: 3 },
    ],
    [
      'two CPUs, overflowing',
      3,
      { cpus: 2, requests: 1200, timerRate: 0, queueDepth: 16, before: busy, unfinished: 0 },
    ],
    ['four CPUs with timers', 4, { cpus: 4, requests: 1500, timerRate: 1, queueDepth: 8, before: busy, unfinished: 2 }],
  ];

  it.each(cases)('interrupts, timers and CPUs that run into each other: %s', (_name, seed, options) => {
    const random = new RandomStream(seed);
    const kernel = new NaiveKernel({ ...options, below: (n) => random.below(n) });
    const text = kernel.run();
    const { cpus } = options;
    const result = conformRecording(files(text, runJson({ commandLine: 'intel_iommu=on iommu.strict=0', cpus })));
    expect(result.firstDifference).toBeNull();
    expect(result.agree).toBe(result.total);
    expect(kernel.overflows + kernel.timers).toBeGreaterThan(0);
  });
});

describe('coherent memory inside a request', () => {
  it('agrees in passthrough, where its address is the allocator’s choice', () => {
    const trace = new TestTrace()
      .setup(1)
      .event('try_alloc: (f) state=0x1 phys=0x100005000 size=16384')
      .event('try_alloc_ret: (f) ret=0 addr=0x0 ssize=0x0');
    const direct = (index: number): void => {
      const phys = 0x1_0000_5000 + index * 0x3000;
      trace.mapped(phys / 4096, phys, 4096);
    };
    direct(0);
    direct(1);
    trace.event(
      'dma_alloc: 0000:00:03.0 dir=BIDIRECTIONAL dma_addr=10abc000 size=4096 virt_addr=0001 flags=GFP_ATOMIC attrs=',
    );
    direct(2);
    direct(3);
    trace.issue(16384).complete(1, { flag: 'h' });
    const result = conformRecording(
      files(trace.text(), runJson({ commandLine: 'intel_iommu=on iommu.passthrough=1' })),
    );
    expect(result.firstDifference).toBeNull();
    expect(result).toMatchObject({ agree: 1, total: 1 });
  });
});
