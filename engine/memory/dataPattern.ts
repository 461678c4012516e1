/**
 * The deterministic contents of 512 bytes, one logical block: a function of a block number and a generation, so that they
 * can be made without storing them and recognised wherever they turn up. Generation 0 is what a never-written block reads
 * as; a workload writes higher ones. Our own invention: it gives the emulator real bytes at the price of 8.
 */
export const PATTERN_BYTES = 512;
const WORDS = PATTERN_BYTES / 4;
const LBA_LIMIT = 2 ** 41;
const TWO_32 = 2 ** 32;
/** The odd constant of a Weyl sequence: neighbouring words differ, and so does every block from its neighbours. */
const WEYL = 0x9e37_79b9;
const WEYL_2 = (2 * WEYL) | 0;
const WEYL_3 = (3 * WEYL) | 0;
const WEYL_4 = (4 * WEYL) | 0;
const WEYL_5 = (5 * WEYL) | 0;
const WEYL_6 = (6 * WEYL) | 0;

/** The highest generation whose tags stay exact with a little room above them. */
export const MAX_GENERATION = 4094;

/** The block's identity in one exact number. */
export function patternTag(lba: number, generation: number): number {
  return generation * LBA_LIMIT + lba;
}

/** The block number of a tag. */
export function tagBlock(tag: number): number {
  return tag % LBA_LIMIT;
}

function firstWord(tag: number): number {
  return (tag % TWO_32) | 0;
}

function secondWord(tag: number): number {
  return Math.floor(tag / TWO_32) | 0;
}

function seedWord(low: number, high: number): number {
  let mixed = Math.imul(low ^ (low >>> 16), 0x21f0_aaad) ^ Math.imul(high, 0x735a_2d97);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
  return mixed ^ (mixed >>> 15);
}

/** Writes the 128 words of a block at `offset` (in words). */
export function fillPattern(target: Uint32Array, offset: number, tag: number): void {
  const low = firstWord(tag);
  const high = secondWord(tag);
  let word = seedWord(low, high);
  target[offset] = low;
  target[offset + 1] = high;
  // six at a time, 126 in all: what a loop costs by itself is as much as one of them
  for (let at = offset + 2; at < offset + WORDS; at += 6) {
    target[at] = word + WEYL;
    target[at + 1] = word + WEYL_2;
    target[at + 2] = word + WEYL_3;
    target[at + 3] = word + WEYL_4;
    target[at + 4] = word + WEYL_5;
    word = (word + WEYL_6) | 0;
    target[at + 5] = word;
  }
}

/** The tag of the 128 words at `offset`, or -1 when they are no such block. */
export function recognisePattern(source: Uint32Array, offset: number): number {
  const low = source[offset]! | 0;
  const high = source[offset + 1]! | 0;
  let word = seedWord(low, high);
  for (let index = 2; index < WORDS; index += 1) {
    word = (word + WEYL) | 0;
    if ((source[offset + index]! | 0) !== word) return -1;
  }
  const tag = (high >>> 0) * TWO_32 + (low >>> 0);
  return tag < (MAX_GENERATION + 1) * LBA_LIMIT ? tag : -1;
}
