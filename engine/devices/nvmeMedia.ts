/**
 * The medium of a drive: what every logical block holds. Blocks are kept in groups of 4 KiB. A group costs nothing while it holds
 * the patterns that it had before it was ever written, one entry of a table when its eight blocks are zeros or patterns that
 * follow each other (whole pages are written that way), 64 bytes more when they differ; a block that holds anything else costs
 * 512. So a run's memory depends on what it changes, never on how far apart that lies or how often it is written.
 * Leaves out: flash, wear, caches.
 */
import { fillPattern, patternTag, recognisePattern } from '../memory/dataPattern.ts';
import { MediaGroups } from './mediaGroups.ts';
import { LOGICAL_BLOCK_BYTES } from './nvmeSpecification.ts';

const WORDS_PER_BLOCK = LOGICAL_BLOCK_BYTES / 4;
const GROUP_BLOCKS = 8;
/** What a block holds is a number: one of these, or the tag of its pattern plus the bias. */
const ZEROS = 1;
const RAW = 2;
const TAG_BIAS = 3;
/** What stands for a group is such a number for its first block, the others following, or this: they are kept one by one. */
const MIXED = 0;

export class NvmeMedia {
  private readonly groups = new MediaGroups();
  private readonly mixedGroups = new Map<number, Float64Array>();
  private readonly rawBlocks = new Map<number, Uint32Array>();
  /** The blocks of the group at hand. */
  private readonly blocks = new Float64Array(GROUP_BLOCKS);

  /** Groups that take memory. */
  get groupCount(): number {
    return this.groups.size;
  }

  /** Bytes of the table of groups. */
  get tableBytes(): number {
    return this.groups.bytes;
  }

  /** Blocks that hold neither a pattern nor zeros. */
  get rawBlockCount(): number {
    return this.rawBlocks.size;
  }

  read(lba: number, blocks: number, target: Uint32Array): void {
    for (let index = 0; index < blocks; index += 1) {
      const block = lba + index;
      if (index === 0 || block % GROUP_BLOCKS === 0) this.load(Math.floor(block / GROUP_BLOCKS));
      const offset = index * WORDS_PER_BLOCK;
      const stored = this.blocks[block % GROUP_BLOCKS]!;
      if (stored === ZEROS) target.fill(0, offset, offset + WORDS_PER_BLOCK);
      else if (stored === RAW) target.set(this.rawBlocks.get(block)!, offset);
      else fillPattern(target, offset, stored - TAG_BIAS);
    }
  }

  write(lba: number, blocks: number, source: Uint32Array): void {
    for (let index = 0; index < blocks; index += 1) {
      const block = lba + index;
      const place = block % GROUP_BLOCKS;
      if (index === 0 || place === 0) this.load(Math.floor(block / GROUP_BLOCKS));
      const offset = index * WORDS_PER_BLOCK;
      const tag = recognisePattern(source, offset);
      let stored = RAW;
      if (tag >= 0) stored = tag + TAG_BIAS;
      else if (isZero(source, offset)) stored = ZEROS;
      if (stored === RAW) this.rawBlocks.set(block, source.slice(offset, offset + WORDS_PER_BLOCK));
      else if (this.blocks[place] === RAW) this.rawBlocks.delete(block);
      this.blocks[place] = stored;
      if (place === GROUP_BLOCKS - 1 || index === blocks - 1) this.store(Math.floor(block / GROUP_BLOCKS));
    }
  }

  private load(group: number): void {
    const stored = this.groups.get(group) ?? neverWritten(group);
    if (stored === MIXED) {
      this.blocks.set(this.mixedGroups.get(group)!);
      return;
    }
    for (let place = 0; place < GROUP_BLOCKS; place += 1) this.blocks[place] = follower(stored, place);
  }

  private store(group: number): void {
    const { blocks, groups, mixedGroups } = this;
    const before = groups.get(group);
    const first = blocks[0]!;
    let stored = first;
    for (let place = 1; place < GROUP_BLOCKS; place += 1) {
      if (blocks[place] !== follower(first, place)) stored = MIXED;
    }
    if (before === undefined && stored === neverWritten(group)) return;
    if (stored === MIXED) mixedGroups.set(group, blocks.slice());
    else if (before === MIXED) mixedGroups.delete(group);
    groups.set(group, stored);
  }
}

/** What a block holds that many places behind one that holds `stored`, if the group is uniform. */
function follower(stored: number, places: number): number {
  return stored < TAG_BIAS ? stored : stored + places;
}

function neverWritten(group: number): number {
  return patternTag(group * GROUP_BLOCKS, 0) + TAG_BIAS;
}

function isZero(source: Uint32Array, offset: number): boolean {
  for (let index = 0; index < WORDS_PER_BLOCK; index += 1) if (source[offset + index] !== 0) return false;
  return true;
}
