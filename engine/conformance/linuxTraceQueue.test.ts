import { describe, expect, it } from 'vitest';
import { runJson, TestTrace } from '../lab/testTrace.ts';
import { RandomStream } from '../time/random.ts';
import { conformRecording } from './linuxTrace.ts';
import { NaiveKernel, type NaiveKernelOptions } from './naiveKernel.ts';
import { files, LAZY } from './testRecordings.ts';

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
