/**
 * The medium of a drive: what every logical block holds. A block costs nothing while it holds the pattern that it had before
 * it was ever written (which is what a workload writes that does not verify), 8 bytes when it holds another pattern of
 * memory/dataPattern.ts or zeros, 512 when it holds anything else; so a run's memory depends on the region it changes, never on
 * how often. Leaves out: flash, wear, caches.
 */
import { fillPattern, patternTag, recognisePattern } from '../memory/dataPattern.ts';
import { LOGICAL_BLOCK_BYTES } from './nvmeSpecification.ts';

const WORDS_PER_BLOCK = LOGICAL_BLOCK_BYTES / 4;
/** 4 KiB of tags for 256 KiB of the medium: random writes touch many places and little in each. */
const CHUNK_BLOCKS = 512;
/** A chunk starts as zeros, and tag 0 would be a valid one (block 0, generation 0): tags are stored plus three. */
const TAG_BIAS = 3;
const UNWRITTEN = 0;
const ZEROS = 1;
const RAW = 2;

export class NvmeMedia {
  private readonly chunks = new Map<number, Float64Array>();
  private readonly rawBlocks = new Map<number, Uint32Array>();

  /** Stretches of the medium that take memory. */
  get chunkCount(): number {
    return this.chunks.size;
  }

  /** Blocks that hold neither a pattern nor zeros. */
  get rawBlockCount(): number {
    return this.rawBlocks.size;
  }

  read(lba: number, blocks: number, target: Uint32Array): void {
    for (let index = 0; index < blocks; index += 1) {
      const block = lba + index;
      const offset = index * WORDS_PER_BLOCK;
      const stored = this.chunks.get(Math.floor(block / CHUNK_BLOCKS))?.[block % CHUNK_BLOCKS] ?? UNWRITTEN;
      if (stored === UNWRITTEN) fillPattern(target, offset, patternTag(block, 0));
      else if (stored === ZEROS) target.fill(0, offset, offset + WORDS_PER_BLOCK);
      else if (stored === RAW) target.set(this.rawBlocks.get(block)!, offset);
      else fillPattern(target, offset, stored - TAG_BIAS);
    }
  }

  write(lba: number, blocks: number, source: Uint32Array): void {
    for (let index = 0; index < blocks; index += 1) {
      const block = lba + index;
      const offset = index * WORDS_PER_BLOCK;
      const tag = recognisePattern(source, offset);
      let stored = RAW;
      if (tag === patternTag(block, 0)) stored = UNWRITTEN;
      else if (tag >= 0) stored = tag + TAG_BIAS;
      else if (isZero(source, offset)) stored = ZEROS;
      const known = this.chunks.get(Math.floor(block / CHUNK_BLOCKS));
      if (known === undefined && stored === UNWRITTEN) continue;
      const chunk = known ?? this.newChunk(block);
      const before = chunk[block % CHUNK_BLOCKS]!;
      if (stored === RAW) this.rawBlocks.set(block, source.slice(offset, offset + WORDS_PER_BLOCK));
      else if (before === RAW) this.rawBlocks.delete(block);
      chunk[block % CHUNK_BLOCKS] = stored;
    }
  }

  private newChunk(block: number): Float64Array {
    const chunk = new Float64Array(CHUNK_BLOCKS);
    this.chunks.set(Math.floor(block / CHUNK_BLOCKS), chunk);
    return chunk;
  }
}

function isZero(source: Uint32Array, offset: number): boolean {
  for (let index = 0; index < WORDS_PER_BLOCK; index += 1) if (source[offset + index] !== 0) return false;
  return true;
}
