/**
 * The medium of a drive: what every logical block holds. A block costs 8 bytes when its contents are a pattern of
 * memory/dataPattern.ts or zeros, 512 when they are anything else, nothing when it was never written; so a run's memory depends on
 * the region it writes, never on how often. Leaves out: flash, wear, caches.
 */
import { fillPattern, patternTag, recognisePattern } from '../memory/dataPattern.ts';
import { LOGICAL_BLOCK_BYTES } from './nvmeSpecification.ts';

const WORDS_PER_BLOCK = LOGICAL_BLOCK_BYTES / 4;
const CHUNK_BLOCKS = 8192;
/** A chunk starts as zeros, and tag 0 would be a valid one (block 0, generation 0): tags are stored plus three. */
const TAG_BIAS = 3;
const UNWRITTEN = 0;
const ZEROS = 1;
const RAW = 2;

export class NvmeMedia {
  private readonly chunks = new Map<number, Float64Array>();
  private readonly rawBlocks = new Map<number, Uint32Array>();

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
      const chunk = this.chunkOf(block);
      const before = chunk[block % CHUNK_BLOCKS]!;
      const tag = recognisePattern(source, offset);
      let stored = RAW;
      if (tag >= 0) stored = tag + TAG_BIAS;
      else if (isZero(source, offset)) stored = ZEROS;
      if (stored === RAW) this.rawBlocks.set(block, source.slice(offset, offset + WORDS_PER_BLOCK));
      else if (before === RAW) this.rawBlocks.delete(block);
      chunk[block % CHUNK_BLOCKS] = stored;
    }
  }

  private chunkOf(block: number): Float64Array {
    const number = Math.floor(block / CHUNK_BLOCKS);
    let chunk = this.chunks.get(number);
    if (chunk === undefined) {
      chunk = new Float64Array(CHUNK_BLOCKS);
      this.chunks.set(number, chunk);
    }
    return chunk;
  }
}

function isZero(source: Uint32Array, offset: number): boolean {
  for (let index = 0; index < WORDS_PER_BLOCK; index += 1) if (source[offset + index] !== 0) return false;
  return true;
}
