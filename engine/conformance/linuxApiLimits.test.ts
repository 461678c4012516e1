/** Limits at the ends of what a device may be told, and words of which no recording at hand has an example. */
import { describe, expect, it } from 'vitest';
import { conformApiRecording } from './linuxApi.ts';
import type { FileResult } from './report.ts';

const IOMEM = '00000000-00000fff : Reserved\n00100000-7ffdffff : System RAM\n100000000-13fffffff : System RAM\n';

/** `exact`: texts to put in place of others, such as numbers that JSON.stringify cannot write. */
function replay(
  mode: string,
  records: readonly object[],
  run: object = {},
  exact: readonly (readonly [string, string])[] = [],
): FileResult {
  let text = records.map((record, i) => JSON.stringify({ i, ...record })).join('\n');
  for (const [from, to] of exact) text = text.replace(from, to);
  const machine = { kernel: '7.3.4', commandLine: '', iommu: 'intel-iommu', cpus: 1, ...run };
  return conformApiRecording({
    name: `run/${mode}.x.jsonl`,
    recording: Buffer.from(text),
    runJson: JSON.stringify(machine),
    iomem: IOMEM,
  });
}

function expectAgreement(result: FileResult, total: number): void {
  expect(result.firstDifference).toBeNull();
  expect(result).toMatchObject({ agree: total, total });
}

describe('the limits of a device (include/linux/dma-mapping.h)', () => {
  it('0 stands for the default segment, and for no boundary', () => {
    const none = '0xffffffffffffffff';
    const result = replay('DMA', [
      { cmd: 'segsize 0', fn: 'dma_set_max_seg_size', now: 65536, ev: [] },
      { cmd: 'segbound 0', fn: 'dma_set_seg_boundary', now: none, ev: [] },
      { cmd: `segbound ${none}`, fn: 'dma_set_seg_boundary', now: none, ev: [] },
      { cmd: 'segbound 0x12fff', fn: 'dma_set_seg_boundary', now: '0x12fff', ev: [] },
    ]);
    expectAgreement(result, 4);
  });

  it('dma_map_page refuses registers', () => {
    const fields = { fn: 'dma_map_page_attrs', phys: '0x200000', size: 4096, dir: 1, attrs: 1024 };
    const failed = { dma: '0xffffffffffffffff', err: -12, ev: [] };
    expectAgreement(
      replay('DMA', [{ cmd: 'map m phys=0x200000 size=4096 dir=1 attrs=0x400', ...fields, ...failed }]),
      1,
    );
  });
});

describe('sizes that no range of IOVA can have', () => {
  const refused = (size: string, ev: readonly unknown[]): FileResult => {
    const state = { addr: '0x0', size: 0, raw_size: '0x0', swiotlb: 0 };
    const fields = { fn: 'dma_iova_try_alloc', phys: '0x200000', size: 'SIZE', ret: 0, use_iova: 0, state, ev };
    return replay('DMA', [{ cmd: `alloc S phys=0x200000 size=${size}`, ...fields }], {}, [['"SIZE"', size]]);
  };

  it('bit 63 is a flag and refused at once', () => {
    expectAgreement(refused('9223372036854775808', []), 1);
  });

  it('less than that is searched for, in vain', () => {
    const pages = 2 ** 50;
    const search = (limit: string): unknown[] => ['iova_alloc_slow', pages, limit, 1];
    const low = [search('0xfffff'), ['iova_alloc', pages, '0xfffff', 0, '0x0']];
    const high = [search('0xfffffffff'), search('0xfffffffff'), ['iova_alloc', pages, '0xfffffffff', 1, '0x0']];
    expectAgreement(refused('4611686018427387904', [...low, ...high]), 1);
  });
});

describe('several CPUs in a lazy domain', () => {
  it('compare what needs no CPU', () => {
    const records = [{ cmd: 'segsize 4096', fn: 'dma_set_max_seg_size', now: 4096, ev: [] }];
    expectAgreement(replay('DMA-FQ', records, { cpus: 2 }), 1);
  });
});

describe('a timer armed on a CPU that has nothing more to do', () => {
  const fields = { fn: 'dma_map_page_attrs', phys: '0x200000', size: 4096, dir: 1, attrs: 0 };
  const gone = { fn: 'dma_unmap_page_attrs', dma: '0xfffff000', size: 4096, dir: 1 };
  const map = (iova: string, ...slow: unknown[][]): object => ({
    cmd: 'map m phys=0x200000 size=4096 dir=1',
    ...fields,
    dma: `${iova}000`,
    err: 0,
    ev: [...slow, ['iova_alloc', 1, '0xfffff', 0, iova], ['map', `${iova}000`, '0x200000', 4096]],
  });
  const tree = ['iova_alloc_slow', 1, '0xfffff', 1];
  const before = [
    { cmd: 'cpu 0', fn: 'cpu', ret: 0, now: 0 },
    map('0xfffff', tree),
    { cmd: 'unmap m', ...gone, ev: [['unmap', '0xfffff000', 4096, 4096]] },
    { cmd: 'cpu 1', fn: 'cpu', ret: 0, now: 1 },
    {
      cmd: 'delay 20',
      ev: [
        ['fq_timer*'],
        ['flush*', '0x0', '0xffffffffffffffff', '0x0', 52],
        ['qi*', '0x300e2', '0x0'],
        ['iova_free*', '0xfffff', 1],
      ],
    },
  ];
  const onTwoCpus = (last: object): FileResult => replay('DMA-FQ', [...before, last], { cpus: 2 });

  it('may run there or where the next call is made', () => {
    expectAgreement(onTwoCpus(map('0xffffe', tree)), 6);
    expectAgreement(onTwoCpus(map('0xfffff')), 6);
    expect(onTwoCpus(map('0xffffd')).agree).toBe(5);
  });
});

describe('a stand-alone IOVA domain with granules of 64 KiB', () => {
  it('has 4 GiB at granule 65536', () => {
    const alloc = (size: number, limit: string, lo: string | null, hi?: string): object => ({
      cmd: `ioda size=${size} limit=${limit} aligned=1`,
      fn: 'alloc_iova',
      size,
      limit_pfn: limit,
      size_aligned: 1,
      pfn_lo: lo,
      ...(hi === undefined ? {} : { pfn_hi: hi }),
      ev: [['iova_alloc_slow', size, limit, 1]],
    });
    const init = { fn: 'init_iova_domain', granule: 65536, start_pfn: 1, rcaches: 0, ret: 0, ev: [] };
    const result = replay('DMA', [
      { cmd: 'iod granule=65536 start=1 rcache=0', ...init },
      alloc(2, '0x100000', '0xffffe', '0xfffff'),
      alloc(1, '0xffff', '0xffff', '0xffff'),
      alloc(65536, '0xffff', null),
      alloc(1, '0x100000', '0xffffd', '0xffffd'),
    ]);
    expectAgreement(result, 5);
  });
});
