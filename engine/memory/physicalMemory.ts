/**
 * The machine's memory: 4 KiB frames with real bytes, present only where something was written. Page tables, queues and
 * data live here, and the IOMMU walks these bits. Storage is slabs of 256 frames; a two-level directory finds a frame's slot
 * with two array reads, which is what a page walk pays per level.
 * Leaves out: caches and time (engine/pcie and engine/iommu charge for accesses).
 */
import { PAGE_SIZE } from './addresses.ts';

const WORDS_PER_PAGE = PAGE_SIZE / 4;
/** `&` keeps the low bits of any whole number below 2^53, and spares a floating-point division. */
const PAGE_OFFSET_MASK = PAGE_SIZE - 1;
const SLAB_PAGES = 256;
const DIRECTORY_SHIFT = 10;
const DIRECTORY_SPAN = 1 << DIRECTORY_SHIFT;
const DIRECTORY_MASK = DIRECTORY_SPAN - 1;
const LARGEST_BYTES = 2 ** 43;
const SHORT_COPY_BYTES = 64;
const NO_WORDS = new Uint32Array(WORDS_PER_PAGE);
const UNTOUCHED = 0;

export class PhysicalMemory {
  readonly sizeBytes: number;
  readonly pages: number;
  /** Of the last `locate`: the array that holds the page's words. */
  words: Uint32Array<ArrayBuffer> = NO_WORDS;
  /** Slot + 1 of each page, by chunks of 1024 pages; 0 where a page was never written. */
  private readonly directory: (Int32Array | undefined)[];
  private readonly slabs: Uint32Array<ArrayBuffer>[] = [];
  private readonly slabBytes: Uint8Array<ArrayBuffer>[] = [];
  private readonly freeSlots: number[] = [];
  private usedSlots = 0;

  /** `sizeBytes`: whole pages, at most 8 TiB, so that page numbers fit the integer arithmetic of the directory. */
  constructor(sizeBytes: number) {
    if (sizeBytes > LARGEST_BYTES) throw new Error(`a memory of ${String(sizeBytes)} bytes is too large`);
    this.sizeBytes = sizeBytes;
    this.pages = sizeBytes / PAGE_SIZE;
    this.directory = new Array<Int32Array | undefined>(Math.ceil(this.pages / DIRECTORY_SPAN)).fill(undefined);
  }

  /** Frames that hold bytes of their own. */
  get touchedPages(): number {
    return this.usedSlots - this.freeSlots.length;
  }

  /** Where a page's words begin in `words`; a page that was never written is found as zeros. For reading only. */
  locate(page: number): number {
    const slot = this.slotOf(page);
    if (slot < 0) {
      this.words = NO_WORDS;
      return 0;
    }
    this.words = this.slabs[slot >>> 8]!;
    return (slot & 255) << 10;
  }

  /** The same for writing: the page has bytes of its own from now on. It must lie inside the memory. */
  locateForWriting(page: number): number {
    const slot = this.touch(page);
    if (slot < 0) throw new Error(`page 0x${page.toString(16)} lies outside the memory`);
    this.words = this.slabs[slot >>> 8]!;
    return (slot & 255) << 10;
  }

  /** One 32-bit word of a page, unsigned; 0 where nothing was written. `wordIndex` is 0 to 1023. */
  readWord(page: number, wordIndex: number): number {
    const slot = this.slotOf(page);
    return slot < 0 ? 0 : this.slabs[slot >>> 8]![((slot & 255) << 10) + wordIndex]!;
  }

  /** Writes one 32-bit word. A page outside the memory swallows it, as a bus without a target does. */
  writeWord(page: number, wordIndex: number, value: number): void {
    const slot = this.touch(page);
    if (slot >= 0) this.slabs[slot >>> 8]![((slot & 255) << 10) + wordIndex] = value;
  }

  /** Copies `length` bytes at a physical address into `target`. Outside the memory every byte reads as 0xff. */
  readBytes(phys: number, target: Uint8Array, targetOffset: number, length: number): void {
    let address = phys;
    let offset = targetOffset;
    let left = length;
    while (left > 0) {
      const inPage = address & PAGE_OFFSET_MASK;
      const step = Math.min(left, PAGE_SIZE - inPage);
      const page = Math.floor(address / PAGE_SIZE);
      const slot = this.slotOf(page);
      if (slot >= 0) {
        const start = (slot & 255) * PAGE_SIZE + inPage;
        copy(this.slabBytes[slot >>> 8]!, start, target, offset, step);
      } else {
        target.fill(page < this.pages ? 0 : 0xff, offset, offset + step);
      }
      address += step;
      offset += step;
      left -= step;
    }
  }

  /** Copies `length` bytes of `source` to a physical address. Bytes outside the memory are dropped. */
  writeBytes(phys: number, source: Uint8Array, sourceOffset: number, length: number): void {
    let address = phys;
    let offset = sourceOffset;
    let left = length;
    while (left > 0) {
      const inPage = address & PAGE_OFFSET_MASK;
      const step = Math.min(left, PAGE_SIZE - inPage);
      const slot = this.touch(Math.floor(address / PAGE_SIZE));
      if (slot >= 0) {
        copy(source, offset, this.slabBytes[slot >>> 8]!, (slot & 255) * PAGE_SIZE + inPage, step);
      }
      address += step;
      offset += step;
      left -= step;
    }
  }

  /** Forgets a page's bytes; it reads as zeros again. */
  releasePage(page: number): void {
    const slot = this.slotOf(page);
    if (slot < 0) return;
    this.directory[page >>> DIRECTORY_SHIFT]![page & DIRECTORY_MASK] = UNTOUCHED;
    this.slabs[slot >>> 8]!.fill(0, (slot & 255) * WORDS_PER_PAGE, ((slot & 255) + 1) * WORDS_PER_PAGE);
    this.freeSlots.push(slot);
  }

  private slotOf(page: number): number {
    if (!(page < this.pages)) return -1;
    const chunk = this.directory[page >>> DIRECTORY_SHIFT];
    return chunk === undefined ? -1 : chunk[page & DIRECTORY_MASK]! - 1;
  }

  private touch(page: number): number {
    if (!(page >= 0 && page < this.pages)) return -1;
    let chunk = this.directory[page >>> DIRECTORY_SHIFT];
    if (chunk === undefined) {
      chunk = new Int32Array(DIRECTORY_SPAN);
      this.directory[page >>> DIRECTORY_SHIFT] = chunk;
    }
    const entry = page & DIRECTORY_MASK;
    const known = chunk[entry]!;
    if (known !== UNTOUCHED) return known - 1;
    const slot = this.freeSlots.pop() ?? this.newSlot();
    chunk[entry] = slot + 1;
    return slot;
  }

  private newSlot(): number {
    const slot = this.usedSlots;
    if (slot % SLAB_PAGES === 0) {
      const buffer = new ArrayBuffer(SLAB_PAGES * PAGE_SIZE);
      this.slabs.push(new Uint32Array(buffer));
      this.slabBytes.push(new Uint8Array(buffer));
    }
    this.usedSlots += 1;
    return slot;
  }
}

/** Short copies go byte by byte: a view for each would cost more than the bytes. */
function copy(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length <= SHORT_COPY_BYTES) {
    for (let index = 0; index < length; index += 1) target[to + index] = source[from + index]!;
  } else if (from === 0 && length === source.length) {
    target.set(source, to);
  } else {
    target.set(source.subarray(from, from + length), to);
  }
}
