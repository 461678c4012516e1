/** Recorded page walks that hold nothing to compare: no request, or changes of the tables that no request can have made. */
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { replayVectors } from './riscvSv.ts';

const TABLE =
  '{"kind":"table","mode":"Sv39","sade":1,"root_ppn":1,"mem":[["1000","801"],["2000","c01"],["3000","140000017"]]}';
const READ = '{"kind":"req","iova":"8","w":0,"ok":1,"pa":"500000008","size":4096}';
const CHANGED = '{"kind":"after","diff":[["3000","140000057"]]}';
const UNCHANGED = '{"kind":"after","diff":[]}';

function content(...lines: readonly string[]): Buffer {
  return Buffer.from(lines.join('\n'));
}

describe('recorded page walks', () => {
  it.each([
    ['an empty file', content()],
    ['empty lines', content('', '  ', '')],
    ['nothing, compressed', gzipSync(content())],
    ['tables alone', content(TABLE, TABLE)],
    ['a table that nothing changed', content(TABLE, UNCHANGED)],
  ])('that are %s are refused: nothing was compared', (_, bytes) => {
    expect(() => replayVectors({ name: 'v.jsonl', content: bytes })).toThrow(
      'v.jsonl: no request is in it, so that nothing can be compared.',
    );
  });

  it('that say what changed before the first request are refused by line', () => {
    expect(() => replayVectors({ name: 'v.jsonl', content: content(TABLE, CHANGED, READ, CHANGED) })).toThrow(
      'v.jsonl, line 2: words changed before the first request.',
    );
    expect(replayVectors({ name: 'v', content: content(TABLE, UNCHANGED, READ, CHANGED) })).toMatchObject({ agree: 1 });
  });

  it('disagree where a word changed under a table that no request has used yet', () => {
    const result = replayVectors({ name: 'v', content: content(TABLE, READ, CHANGED, TABLE, CHANGED) });
    expect(result).toMatchObject({ agree: 0, total: 1, firstDifference: { line: 5 } });
  });
});
