/**
 * The sequence of I/Os of a job, in the manner of fio: direction, offset and size of I/O number n, drawn in order from a
 * seeded stream, so that every mapping scheme under comparison gets the same sequence (fio's HOWTO: rw, bs, bsrange,
 * bssplit, rwmixread, size). Leaves out: file systems, distributions other than uniform, think time.
 */
import type { RandomStream } from '../time/random.ts';

export type IoPattern = 'read' | 'write' | 'randread' | 'randwrite' | 'readwrite' | 'randrw';

export interface BlockSizeShare {
  readonly bytes: number;
  readonly weight: number;
}

export interface BioPatternOptions {
  readonly rw: IoPattern;
  /** Reads among 100 I/Os of readwrite and randrw. */
  readonly readPercent: number;
  readonly blockSizes: readonly BlockSizeShare[];
  readonly regionBytes: number;
}

const SECTOR_BYTES = 512;

export class BioPattern {
  /** The I/O that `next` drew. */
  write = false;
  sector = 0;
  bytes = 0;
  private readonly options: BioPatternOptions;
  private readonly random: RandomStream;
  private readonly sequential: boolean;
  private readonly alignment: number;
  private readonly totalWeight: number;
  private cursor = 0;

  constructor(options: BioPatternOptions, random: RandomStream) {
    this.options = options;
    this.random = random;
    this.sequential = options.rw === 'read' || options.rw === 'write' || options.rw === 'readwrite';
    // As fio does: random offsets are multiples of the smallest block size.
    this.alignment = Math.min(...options.blockSizes.map((share) => share.bytes));
    this.totalWeight = options.blockSizes.reduce((sum, share) => sum + share.weight, 0);
  }

  next(): void {
    this.bytes = this.drawBytes();
    this.write = this.drawWrite();
    const { regionBytes } = this.options;
    let offset = this.cursor;
    if (!this.sequential) {
      const places = Math.floor((regionBytes - this.bytes) / this.alignment) + 1;
      offset = this.random.below(places) * this.alignment;
    } else if (offset + this.bytes > regionBytes) {
      offset = 0;
    }
    this.cursor = offset + this.bytes;
    this.sector = offset / SECTOR_BYTES;
  }

  private drawBytes(): number {
    const { blockSizes } = this.options;
    if (blockSizes.length === 1) return blockSizes[0]!.bytes;
    let ticket = this.random.below(this.totalWeight);
    for (const { bytes, weight } of blockSizes) {
      if (ticket < weight) return bytes;
      ticket -= weight;
    }
    return blockSizes[blockSizes.length - 1]!.bytes;
  }

  private drawWrite(): boolean {
    const { rw, readPercent } = this.options;
    if (rw === 'readwrite' || rw === 'randrw') return this.random.below(100) >= readPercent;
    return rw === 'write' || rw === 'randwrite';
  }
}

/** `bsrange`: every multiple of the smallest size up to the largest, equally likely. */
export function blockSizeRange(smallest: number, largest: number): BlockSizeShare[] {
  const shares: BlockSizeShare[] = [];
  for (let bytes = smallest; bytes <= largest; bytes += smallest) shares.push({ bytes, weight: 1 });
  return shares;
}
