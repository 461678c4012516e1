import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fillPattern, MAX_GENERATION, patternTag, recognisePattern, tagBlock } from './dataPattern.ts';

const block = fc.integer({ min: 0, max: 2 ** 41 - 1 });
const generation = fc.integer({ min: 0, max: MAX_GENERATION });

describe('the pattern of a block', () => {
  it('is recognised wherever it stands', () => {
    fc.assert(
      fc.property(block, generation, fc.integer({ min: 0, max: 3 }), (lba, version, place) => {
        const words = new Uint32Array(128 * 4);
        fillPattern(words, place * 128, patternTag(lba, version));
        const tag = recognisePattern(words, place * 128);
        expect(tag).toBe(patternTag(lba, version));
        expect(tagBlock(tag)).toBe(lba);
      }),
    );
  });

  it('is not recognised when one word differs', () => {
    fc.assert(
      fc.property(block, generation, fc.integer({ min: 0, max: 127 }), (lba, version, index) => {
        const words = new Uint32Array(128);
        fillPattern(words, 0, patternTag(lba, version));
        words[index] = ~words[index]!;
        expect(recognisePattern(words, 0)).not.toBe(patternTag(lba, version));
      }),
    );
  });

  it('is never all zeros, which untouched memory is', () => {
    expect(recognisePattern(new Uint32Array(128), 0)).toBe(-1);
  });
});
