import { describe, expect, it } from 'vitest';
import { LabError } from '../time/labError.ts';
import { type FtraceRecord, readFtrace } from './ftrace.ts';

const PREFIX = '             fio-202     [003] d.h1.    11.637342: ';

function read(text: string): FtraceRecord[] {
  return [...readFtrace('a.txt', text)];
}

function problem(text: string): LabError {
  try {
    read(text);
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a line of a trace (Documentation/trace/ftrace.rst)', () => {
  it('gives process, CPU, context and line number', () => {
    const [record] = read(`# tracer: nop\n\n${PREFIX}free_fast: (free_iova_fast+0x4/0x1b0) pfn=0xfffcd size=2\n`);
    expect(record).toEqual({
      line: 3,
      pid: 202,
      cpu: 3,
      context: 'hardirq',
      event: { name: 'free_fast', pfn: 0xfffcd, pages: 2 },
    });
  });

  it.each([
    ['.....', 'task'],
    ['d.s2.', 'softirq'],
    ['dNh1.', 'hardirq'],
    ['d.H1.', 'hardirq'],
  ])('reads the context of the flags %s', (flags, context) => {
    const [record] = read(`          <idle>-0       [000] ${flags}     1.000001: anything: at all\n`);
    expect(record?.context).toBe(context);
    expect(record?.event).toEqual({ name: 'other', event: 'anything' });
  });

  it.each(['kworker/0:1H-115', 'a name-7-12', 'x [001] y-9'])('reads the process name %s', (task) => {
    const [record] = read(`${task}     [000] .....     1.000001: sync: (f+0x4/0x50) addr=0x1000 off=0 size=4096\n`);
    expect(record?.pid).toBe(Number(task.split('-').at(-1)));
    expect(record?.event.name).toBe('sync');
  });

  it('accepts Windows line ends and a last line without an end', () => {
    expect(read(`${PREFIX}foo: bar\r\n${PREFIX}free_fast: (f) pfn=0x10 size=1`)).toHaveLength(2);
  });
});

describe('events', () => {
  it('decodes an invalidation descriptor (VT-d specification 6.5.2)', () => {
    const [page, domain, other] = read(
      [
        `${PREFIX}qi_submit: iotlb_inv dmar0: 0x300f2 0xfffd8045 0x0 0x0`,
        `${PREFIX}qi_submit: iotlb_inv dmar0: 0x300e2 0x0 0x0 0x0`,
        `${PREFIX}qi_submit: iec_inv dmar0: 0x2500000014 0x0 0x0 0x0`,
      ].join('\n'),
    ).map((record) => record.event);
    expect(page).toMatchObject({ granularity: 'page', domainId: 3, address: 0xfffd8000, mask: 5, hint: true });
    expect(domain).toMatchObject({ granularity: 'domain', domainId: 3, hint: false });
    expect(other).toMatchObject({ granularity: 'other' });
  });

  it('reads flushes of kernels that print pages and of those that do not', () => {
    const [old, whole] = read(
      [
        `${PREFIX}cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 3 [0xfff50000-0xfff58fff] addr 0xfff50000 pages 0x10 mask 0x4`,
        `${PREFIX}cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 3 [0x0-0xffffffffffffffff] addr 0x0 mask 0x34`,
      ].join('\n'),
    ).map((record) => record.event);
    expect(old).toMatchObject({ start: 0xfff50000, end: 0xfff58fff, pages: 16, mask: 4, wholeDomain: false });
    expect(whole).toMatchObject({ pages: null, mask: 52, wholeDomain: true });
  });

  it('reads a scatterlist with all its arrays', () => {
    const [record] = read(
      `${PREFIX}dma_map_sg: 0000:00:03.0 dir=TO_DEVICE nents=2/2 ents=1/1 dma_addrs={0xfef70000} sizes={0x7000} phys_addrs={0x10d1ff000,0x10cf80000} attrs=NO_WARN\n`,
    );
    expect(record?.event).toMatchObject({
      entries: 2,
      dmaAddresses: [0xfef70000],
      sizes: [0x7000],
      physAddresses: [0x10d1ff000, 0x10cf80000],
      attributes: 'NO_WARN',
    });
  });

  it('does not mistake names that every object has for events', () => {
    expect(read(`${PREFIX}constructor: x\n`)[0]?.event).toEqual({ name: 'other', event: 'constructor' });
  });
});

describe('what is not a trace', () => {
  it('is named by file and line', () => {
    expect(problem(`${PREFIX}foo: bar\nhello\n`).where).toBe('a.txt:2');
  });

  it('is refused when an event is cut short', () => {
    expect(problem(`${PREFIX}map: IOMMU: iova=0x00000000ffe`).problem).toContain('map is cut short');
  });

  it('is refused when lines are missing that the header promises', () => {
    const error = problem(`# entries-in-buffer/entries-written: 3/3   #P:1\n${PREFIX}foo: bar\n`);
    expect(error.problem).toContain('promises 3 events, and 1 are here');
  });

  it('is refused when the kernel lost events', () => {
    expect(problem(`${PREFIX}foo: bar\nCPU:2 [LOST 17 EVENTS]\n`).problem).toContain('lost 17 events');
  });

  it('is refused when a line has no end', () => {
    expect(problem('x'.repeat(100_000)).problem).toContain('longer than');
  });

  it('is refused when a CPU number would exhaust memory', () => {
    expect(problem('fio-1 [9999] ..... 1.000001: foo: bar\n').problem).toContain('CPU 9999');
  });
});
