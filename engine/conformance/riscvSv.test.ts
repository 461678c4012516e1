import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { replayVectors } from './riscvSv.ts';
import type { FileResult } from './report.ts';

const FILE = new URL('../../fixtures/recordings/riscv-sv/vectors.jsonl.gz', import.meta.url);
const COMPRESSED = readFileSync(FILE);
const LINES = gunzipSync(COMPRESSED).toString('utf8').trim().split('\n');

function replay(lines: readonly string[]): FileResult {
  return replayVectors({ name: 'vectors', content: Buffer.from(lines.join('\n')) });
}

/** A table of one 4 KiB leaf at address 0, its pointers, and a request. */
const TABLE =
  '{"kind":"table","mode":"Sv39","sade":1,"root_ppn":1,"mem":[["1000","801"],["2000","c01"],["3000","140000017"]]}';

describe('page walks of the RISC-V IOMMU reference model', () => {
  it('come out as recorded, all of them', () => {
    const result = replayVectors({ name: 'vectors', content: COMPRESSED });
    expect(result.firstDifference).toBeNull();
    expect([result.agree, result.total]).toEqual([6000, 6000]);
  });

  it('disagree when an answer was changed', () => {
    const requests = LINES.flatMap((line, index) => (line.includes('"kind":"req"') ? [index] : []));
    const changes: ((request: Record<string, unknown>) => object | null)[] = [
      (request) => (request['ok'] === 1 ? Object.assign(request, { size: 4096 * 512 * 512 * 512 }) : null),
      (request) => (request['ok'] === 1 ? Object.assign(request, { pa: `1${String(request['pa'])}` }) : null),
      (request) => (request['ok'] === 1 ? Object.assign(request, { ok: 0, cause: 13 }) : null),
      (request) => (request['ok'] === 0 ? Object.assign(request, { cause: request['cause'] === 13 ? 15 : 13 }) : null),
      (request) => (request['ok'] === 0 ? Object.assign(request, { ok: 1, pa: '0', size: 4096 }) : null),
    ];
    for (const [number, change] of changes.entries()) {
      const at = requests
        .slice(number * 100)
        .find((index) => change(JSON.parse(LINES[index]!) as Record<string, unknown>) !== null)!;
      const request = JSON.parse(LINES[at]!) as Record<string, unknown>;
      change(request);
      const result = replay(LINES.with(at, JSON.stringify(request)));
      expect(result.agree).toBe(5999);
      expect(result.firstDifference?.line).toBe(at + 1);
    }
  });

  it('disagree when what hardware wrote was changed, left out or invented', () => {
    const after = LINES.findIndex((line) => line.includes('"after"') && line.includes('[["'));
    const { diff } = JSON.parse(LINES[after]!) as { diff: [string, string][] };
    const variants = [diff.slice(1), diff.with(0, [diff[0]![0], 'd7']), [...diff, ['9000', '1']]];
    for (const changed of variants) {
      const result = replay(LINES.with(after, JSON.stringify({ kind: 'after', diff: changed })));
      expect(result.agree).toBe(5999);
      expect(result.firstDifference?.line).toBe(after + 1);
    }
  });

  it('see accessed and dirty bits set by one request and found by the next', () => {
    const write = '{"kind":"req","iova":"8","w":1,"ok":1,"pa":"500000008","size":4096}';
    const changed = '{"kind":"after","diff":[["3000","1400000d7"]]}';
    expect(replay([TABLE, write, changed, write, '{"kind":"after","diff":[]}'])).toMatchObject({ agree: 2, total: 2 });
    expect(replay([TABLE, write, changed, write, changed])).toMatchObject({ agree: 1, total: 2 });
  });

  it.each([
    ['{"kind":"req","iova":"8","w":1,"ok":1,"pa":"0","size":4096}', 'line 1: there is no table yet'],
    ['{"kind":"other"}', 'line 1'],
    ['nonsense', 'line 1: this is not JSON'],
    [TABLE.replace('"1000"', '"1001"'), 'is no place of a table'],
    [TABLE.replace('"3000"', '"ffffffffff000"'), 'below 8 TiB'],
    [TABLE.replace('"801"', '"xyz"'), 'a number in hex'],
    [`${TABLE}\n{"kind":"req","iova":"8","w":1,"ok":1}`, 'line 2: the answer is incomplete'],
  ])('refuse %s', (text, problem) => {
    expect(() => replay([text])).toThrow(problem);
  });
});
