/**
 * A `struct bio`: one I/O of a workload, with the vectors that the kernel makes of its pages (Linux block/bio.c,
 * `bio_iov_iter_get_pages`). Up to 6.17 physically adjacent pages join; since 7.x only pages of one folio that one
 * extraction yielded, and an extraction yields at most as many pages as vector slots are free.
 * Leaves out: the chain of bios beyond BIO_MAX_VECS vectors (the vectors then stand in one bio), and plug merging.
 */
import type { EventHandler } from '../time/eventQueue.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import type { KernelProfile } from '../dma/kernels/profiles.ts';

/** `BIO_MAX_VECS`. */
const BIO_MAX_VECS = 256;
const NO_FOLIO = -1;

export class Bio {
  write = false;
  /** First block, in 512-byte sectors (`bi_iter.bi_sector`). */
  sector = 0;
  bytes = 0;
  vectorCount = 0;
  phys = new Float64Array(16);
  length = new Float64Array(16);
  /** `bi_nr_segments` as recorded, for a bio that becomes exactly one request; 0: count the vectors. */
  recordedSegments = 0;

  /** Called when the last request of the bio has ended, in the context of the CPU that handled it. */
  readonly done: EventHandler;
  readonly kind: number;
  readonly argument: number;
  /** Filled when the bio ends. */
  failed = false;
  completedAt = 0 as Picoseconds;

  /** Block layer: requests under way, and how far the bio has been cut. */
  requestsLeft = 0;
  cursorVector = 0;
  cursorOffset = 0;
  cursorBytes = 0;

  private savedVector = 0;
  private savedOffset = 0;
  private savedBytes = 0;
  private lastFolio = NO_FOLIO;
  private extractionLeft = 0;

  constructor(done: EventHandler, kind: number, argument: number) {
    this.done = done;
    this.kind = kind;
    this.argument = argument;
  }

  reset(write: boolean, sector: number): void {
    this.write = write;
    this.sector = sector;
    this.bytes = 0;
    this.vectorCount = 0;
    this.recordedSegments = 0;
    this.failed = false;
    this.requestsLeft = 0;
    this.cursorVector = 0;
    this.cursorOffset = 0;
    this.cursorBytes = 0;
    this.lastFolio = NO_FOLIO;
    this.extractionLeft = 0;
  }

  /** Adds bytes of one page that belongs to `folio` (any number that names it). */
  addPage(phys: number, length: number, folio: number, profile: KernelProfile): void {
    const last = this.vectorCount - 1;
    const end = last < 0 ? -1 : this.phys[last]! + this.length[last]!;
    const adjacent = end === phys;
    const newExtraction = this.extractionLeft === 0;
    if (newExtraction) this.extractionLeft = Math.max(1, BIO_MAX_VECS - this.vectorCount);
    this.extractionLeft -= 1;
    const joins = profile.segmentsJoin === 'physically_adjacent' || (folio === this.lastFolio && !newExtraction);
    this.lastFolio = folio;
    if (adjacent && joins) {
      this.length[last]! += length;
      this.bytes += length;
    } else {
      this.addVector(phys, length);
    }
  }

  /** Adds a vector as it is. */
  addVector(phys: number, length: number): void {
    if (this.vectorCount === this.phys.length) this.grow();
    this.phys[this.vectorCount] = phys;
    this.length[this.vectorCount] = length;
    this.vectorCount += 1;
    this.bytes += length;
  }

  /** Whether every byte has become part of a request; a bio without data is one request too. */
  get cut(): boolean {
    return this.cursorBytes === this.bytes;
  }

  /** Before a request is cut off that may turn out not to start. */
  saveCursor(): void {
    this.savedVector = this.cursorVector;
    this.savedOffset = this.cursorOffset;
    this.savedBytes = this.cursorBytes;
  }

  restoreCursor(): void {
    this.cursorVector = this.savedVector;
    this.cursorOffset = this.savedOffset;
    this.cursorBytes = this.savedBytes;
  }

  /** Gives up on what has not become a request. */
  skipRest(): void {
    this.cursorVector = this.vectorCount;
    this.cursorOffset = 0;
    this.cursorBytes = this.bytes;
  }

  private grow(): void {
    const phys = new Float64Array(this.phys.length * 2);
    const length = new Float64Array(this.length.length * 2);
    phys.set(this.phys);
    length.set(this.length);
    this.phys = phys;
    this.length = length;
  }
}
