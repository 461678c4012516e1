import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fillPattern, patternTag } from '../memory/dataPattern.ts';
import { NvmeMedia } from './nvmeMedia.ts';

/** One block of each kind that a medium stores in its own way. */
function contents(kind: number, lba: number, salt: number): Uint32Array {
  const words = new Uint32Array(128);
  if (kind === 1) fillPattern(words, 0, patternTag(lba, 1 + (salt % 4000)));
  if (kind === 3) fillPattern(words, 0, patternTag(lba, 0));
  if (kind === 2) words.forEach((_, index) => (words[index] = salt + index * index));
  return words;
}

describe('the medium of a drive', () => {
  it('reads a never-written block as the pattern of its number', () => {
    const media = new NvmeMedia();
    const words = new Uint32Array(256);
    media.read(77, 2, words);
    const expected = new Uint32Array(256);
    fillPattern(expected, 0, patternTag(77, 0));
    fillPattern(expected, 128, patternTag(78, 0));
    expect(words).toEqual(expected);
  });

  it('gives back what was written last, whatever it was, as an array of blocks would', () => {
    const write = fc.record({
      lba: fc.integer({ min: 8185, max: 8199 }),
      kind: fc.integer({ min: 0, max: 3 }),
      salt: fc.integer({ min: 1, max: 2 ** 31 }),
    });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
        const media = new NvmeMedia();
        const model = new Map<number, Uint32Array>();
        for (const { lba, kind, salt } of writes) {
          const words = contents(kind, lba, salt);
          media.write(lba, 1, words);
          model.set(lba, words);
        }
        const got = new Uint32Array(128);
        for (const [lba, words] of model) {
          media.read(lba, 1, got);
          expect(got).toEqual(words);
        }
      }),
    );
  });

  it('holds no bytes for patterns and zeros, and forgets bytes that are overwritten by them', () => {
    const media = new NvmeMedia();
    media.write(5, 1, contents(2, 5, 9));
    expect(media.rawBlockCount).toBe(1);
    media.write(5, 1, contents(1, 5, 9));
    media.write(6, 1, contents(0, 6, 0));
    expect(media.rawBlockCount).toBe(0);
  });

  it('takes no memory for blocks that are written with what they held, however far apart they lie', () => {
    const media = new NvmeMedia();
    for (let lba = 0; lba < 1e9; lba += 9_999_991) media.write(lba, 1, contents(3, lba, 0));
    expect(media.groupCount).toBe(0);
    media.write(1000, 1, contents(2, 1000, 5));
    media.write(1000, 1, contents(3, 1000, 0));
    expect([media.groupCount, media.rawBlockCount]).toEqual([1, 0]);
    const got = new Uint32Array(128);
    media.read(1000, 1, got);
    expect(got).toEqual(contents(3, 1000, 0));
  });

  it('keeps a page of patterns that follow each other as one number, wherever the page lies', () => {
    const media = new NvmeMedia();
    const page = new Uint32Array(1024);
    const got = new Uint32Array(1024);
    const places = Array.from({ length: 3000 }, (_, index) => index * 99_992);
    const fill = (lba: number) => {
      for (let block = 0; block < 8; block += 1) fillPattern(page, block * 128, patternTag(lba * 3 + block, 1));
    };
    for (const lba of places) {
      fill(lba);
      media.write(lba, 8, page);
    }
    for (const lba of places) {
      fill(lba);
      media.read(lba, 8, got);
      expect(got).toEqual(page);
    }
    expect([media.groupCount, media.rawBlockCount]).toEqual([3000, 0]);
    expect(media.tableBytes).toBeLessThan(3000 * 48);
  });

  it('gives back writes of many blocks that begin and end inside a group', () => {
    const write = fc.record({
      lba: fc.integer({ min: 0, max: 40 }),
      kinds: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 30 }),
      salt: fc.integer({ min: 1, max: 2 ** 31 }),
    });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
        const media = new NvmeMedia();
        const model = new Uint32Array(80 * 128);
        for (let lba = 0; lba < 80; lba += 1) model.set(contents(3, lba, 0), lba * 128);
        for (const { lba, kinds, salt } of writes) {
          const words = new Uint32Array(kinds.length * 128);
          kinds.forEach((kind, index) => words.set(contents(kind, lba + index, salt), index * 128));
          media.write(lba, kinds.length, words);
          model.set(words, lba * 128);
        }
        const got = new Uint32Array(80 * 128);
        media.read(0, 80, got);
        expect(got).toEqual(model);
      }),
    );
  });
});
