/**
 * What a replay of API calls takes from the recording, and how far: the place of coherent memory, the place of the first
 * bounce buffer. Other choices of the recorded machine must agree too, impossible ones must not.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { conformApiRecording } from './linuxApi.ts';
import { bouncePools } from './linuxApiBounce.ts';
import { parseRecords } from './linuxApiRecord.ts';
import { readApiSystem } from './linuxApiSystem.ts';
import type { FileResult } from './report.ts';

const FIXTURES = fileURLToPath(new URL('../../fixtures/recordings/linux-api/', import.meta.url));

function replay(folder: string, name: string, change: (text: string) => string): FileResult {
  const file = (other: string): Buffer => readFileSync(`${FIXTURES}${folder}/${other}`);
  const text = gunzipSync(file(`${name}.jsonl.gz`)).toString();
  return conformApiRecording({
    name: `${folder}/${name}.jsonl`,
    recording: Buffer.from(change(text)),
    runJson: file('run.json').toString(),
    iomem: file('iomem.txt').toString(),
  });
}

interface Changeable {
  cmd: string;
  dma?: string;
  out?: [string, number][];
  phys?: unknown;
  iova?: unknown;
  from?: string;
  ev?: unknown[][];
}

/** Edits the records one by one. */
function edited(edit: (record: Changeable) => void): (text: string) => string {
  return (text) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => {
        const record = JSON.parse(line) as Changeable;
        const before = JSON.stringify(record);
        edit(record);
        const after = JSON.stringify(record);
        return after === before ? line : after;
      })
      .join('\n');
}

describe('coherent memory behind an IOMMU', () => {
  const moved = (phys: (old: string) => string): ((text: string) => string) =>
    edited((record) => {
      if (!record.cmd.startsWith('coh SCR')) return;
      for (const event of record.ev ?? []) if (event[0] === 'map') event[2] = phys(String(event[2]));
    });

  it('may lie anywhere in RAM', () => {
    const { agree, total } = replay(
      '7.3-edu',
      'DMA.edu',
      moved(() => '0x130000000'),
    );
    expect(agree).toBe(total);
  });

  it.each([
    ['half a page on', '0x130000800'],
    ['where a device has its registers', '0xfea00000'],
    ['beyond all memory', '0x900000000000'],
  ])('does not lie %s', (_where, phys) => {
    expect(
      replay(
        '7.3-edu',
        'DMA.edu',
        moved(() => phys),
      ).firstDifference?.unit,
    ).toMatch(/coh SCR/);
  });

  it('keeps its IOVA and its size, which follow', () => {
    const smaller = edited((record) => {
      if (record.cmd.startsWith('coh SCR'))
        record.ev = record.ev?.map((event) => (event[0] === 'map' ? [...event.slice(0, 3), 8192] : event)) ?? [];
    });
    expect(replay('7.3-edu', 'DMA.edu', smaller).firstDifference?.unit).toMatch(/coh SCR/);
  });
});

describe('coherent memory without translation', () => {
  const moved = (dma: string): ((text: string) => string) =>
    edited((record) => {
      if (record.cmd.startsWith('coh SCR')) record.dma = dma;
    });

  it('has the address at which it lies, anywhere in RAM', () => {
    const { agree, total } = replay('7.3-edu', 'identity.edu', moved('0x130000000'));
    expect(agree).toBe(total);
  });

  it.each(['0x130000010', '0xfea00000', '0x0'])('does not have the address %s', (dma) => {
    expect(replay('7.3-edu', 'identity.edu', moved(dma)).firstDifference?.unit).toMatch(/coh SCR/);
  });
});

describe('the pool of bounce buffers', () => {
  const system = readApiSystem(
    'x/keep.x.jsonl',
    JSON.stringify({ kernel: '7.3.4', commandLine: 'swiotlb=force intel_iommu=off', iommu: null, cpus: 1 }),
    '00100000-7ffdffff : System RAM\n100000000-13fffffff : System RAM\n',
  );

  it('may begin at any of the pages before the first buffer, up to a segment away', () => {
    const records = parseRecords(
      'x',
      '{"i":0,"cmd":"map m phys=0x1000 size=1 dir=0","dma":"0x7a653800","ev":[["bounce","0x1000",1]]}',
    );
    const pools = bouncePools(system, records);
    expect(pools).toHaveLength(64);
    expect(pools[0]).toEqual({ firstPage: 0x7a653, areas: 1, startIndex: [1] });
    expect(pools[63]).toEqual({ firstPage: 0x7a653 - 63, areas: 1, startIndex: [127] });
  });

  it('has an area for each CPU, each with a first buffer of its own', () => {
    const records = parseRecords(
      'x',
      [
        '{"i":0,"cmd":"map m phys=0x1000 size=1 dir=0","dma":"0x7a010000","ev":[["bounce","0x1000",1]]}',
        '{"i":1,"cmd":"cpu 1","fn":"cpu"}',
        '{"i":2,"cmd":"map n phys=0x1000 size=1 dir=0","dma":"0x7c000800","ev":[["bounce","0x1000",1]]}',
      ].join('\n'),
    );
    const pools = bouncePools({ ...system, cpus: 2 }, records);
    // 32 MiB for each: the pool begins at 7a000000 at the latest, or area 1 could not reach down to its first buffer
    expect(pools[0]).toEqual({ firstPage: 0x7a000, areas: 2, startIndex: [32, 1] });
    expect(pools).toHaveLength(64);
  });

  it('is found from the entry of a list that was bounced, not from one that was not', () => {
    const [pool] = bouncePools(
      system,
      parseRecords(
        'x',
        '{"i":0,"cmd":"sg g dir=0 list=A[0]:1,A[1]:1","in":[["0x1000",1],["0x100001000",1]],"out":[["0x1000",1],["0x7a010000",1]],"ev":[["bounce","0x100001000",1]]}',
      ),
    );
    expect(pool).toEqual({ firstPage: 0x7a010, areas: 1, startIndex: [0] });
  });

  it('lies at the end of the RAM below 4 GiB where the recording never bounces', () => {
    const [pool, ...others] = bouncePools(system, parseRecords('x', '{"i":0,"cmd":"env","ev":[]}'));
    expect(others).toEqual([]);
    expect(pool?.firstPage).toBeLessThan(0x7ffe0);
    expect((pool?.firstPage ?? 0) + 16_384).toBeGreaterThan(0x7ffe0 - 64);
  });

  /** The addresses of all buffers, moved by the same distance: another boot's choice. */
  const movedBy = (distance: number): ((text: string) => string) => {
    const moved = (address: unknown): string => `0x${(Number(address) + distance).toString(16)}`;
    const inPool = (address: unknown): boolean => Number(address) >= 0x7a00_0000 && Number(address) < 0x7f00_0000;
    return edited((record) => {
      for (const key of ['dma', 'from'] as const) if (inPool(record[key])) record[key] = moved(record[key]);
      if (record.out !== undefined)
        record.out = record.out.map(([dma, size]) => [inPool(dma) ? moved(dma) : dma, size]);
    });
  };

  it.each([0x4_0000, -0x4_0000, 0x1_0000, 0x1000])('may lie elsewhere, by %s bytes, segments and all', (distance) => {
    const { agree, total, firstDifference } = replay('7.3-noiommu-swiotlbforce', 'keep.map_basic', movedBy(distance));
    expect(firstDifference).toBeNull();
    expect(agree).toBe(total);
  });

  it('does not move between two calls', () => {
    let seen = 0;
    const jump = edited((record) => {
      if (record.dma?.startsWith('0x7a') !== true || !record.cmd.startsWith('map ')) return;
      seen += 1;
      if (seen === 20) record.dma = `0x${(Number(record.dma) + 0x1000).toString(16)}`;
    });
    const { firstDifference } = replay('7.3-noiommu-swiotlbforce', 'keep.map_basic', jump);
    expect(firstDifference?.recorded).toMatch(/^dma = /);
  });
});
