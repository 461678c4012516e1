import { describe, expect, it } from 'vitest';
import { conformRecording } from './linuxTrace.ts';
import type { FileResult } from './report.ts';
import { fixture, fixtureNames, linesOf } from './testRecordings.ts';

describe('recordings of real kernels', () => {
  it.each(fixtureNames())('%s agrees request by request', (path) => {
    const [folder = '', name = ''] = path.split('/');
    const result = conformRecording(fixture(folder, name));
    expect(result.firstDifference).toBeNull();
    expect(result.skipped).toEqual([]);
    expect(result.agree).toBe(result.total);
    expect(result.total).toBeGreaterThanOrEqual(60);
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
    const files = totals.map(([folder, name]) => conformRecording(fixture(folder, name)));
    expect(files.map((file) => file.total)).toEqual(totals.map(([, , total]) => total));
  }, 20_000);
});

/** A line of a recording is changed, and the request that it belongs to must disagree there. */
describe('the comparison can fail', () => {
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
      'another size of the state in a link',
      two,
      / link: /,
      /ssize=0x\w+/,
      'ssize=0x9000',
      /^dma_iova_link .* ssize=0x9000/,
      /^dma_iova_link .* ssize=0x/,
    ],
    [
      'another size of the state in destroy',
      two,
      / destroy: /,
      /ssize=0x\w+/,
      'ssize=0x9000',
      /^dma_iova_destroy .* ssize=0x9000/,
      /^dma_iova_destroy .* ssize=0x/,
    ],
    [
      'another limit of a search of the tree',
      ['7.3-strict', 'mix-rw-4k-128k-qd16'],
      / alloc_slow: /,
      /limit_pfn=0xfffff/,
      'limit_pfn=0xffff',
      /searched below pfn 0xffff$/,
      /from the tree, \d+ pages: range \d$/,
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

  it.each([' alloc_fast: ', ' alloc_fast_ret: ', ' link: ', ' link_ret: ', ' sync: ', ' destroy: '])(
    'a probe that hits twice, or not at all: %s',
    (probe) => {
      const lines = linesOf(...two);
      const at = indexOf(lines, new RegExp(probe), 300);
      const doubled = conform(...two, lines.toSpliced(at, 0, lines[at] ?? ''));
      expect(doubled.agree).toBeLessThan(doubled.total);
      const missing = conform(...two, lines.toSpliced(at, 1));
      expect(missing.agree).toBeLessThan(missing.total);
    },
  );

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
