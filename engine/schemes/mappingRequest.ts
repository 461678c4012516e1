/**
 * A request as the block layer hands it to a driver for mapping: physically contiguous vectors, the number of segments that the
 * block layer counted, and the gap mask (Linux block/blk-mq-dma.c `blk_map_iter_next`, block/blk-merge.c `bvec_seg_gap`,
 * `req_phys_gap_mask`). The object is reused from request to request.
 * A region of memory that a driver registers is such a request too, and may be a hodgepodge of RAM and peers' memory.
 * Leaves out: integrity payloads.
 */
import { DMA_FROM_DEVICE, type DmaDirection } from '../dma/attributes.ts';

/** `BLK_SEG_BOUNDARY_MASK`: no vector crosses a multiple of 4 GiB (include/linux/blkdev.h). */
const SEGMENT_BOUNDARY_BYTES = 0x1_0000_0000;

export class MappingRequest {
  direction: DmaDirection = DMA_FROM_DEVICE;
  /** `blk_rq_nr_phys_segments`: an input, because since 7.x it counts folios and not contiguous runs. */
  segments = 0;
  /** `blk_rq_payload_bytes`. */
  payloadBytes = 0;
  /** The low bits of every junction between vectors (`req_phys_gap_mask`). */
  gapMask = 0;
  /** The driver takes its single-segment shortcut: one segment that PRP1 and PRP2, or one inline SGL, describe. */
  singleSegment = false;
  /** Whoever built it knows that all its memory is of one kind: the block layer always does. */
  uniform = false;
  /** Of every mapping call (`DMA_ATTR_*`), besides what each vector's kind of memory asks for. */
  attributes = 0;
  /** Physically contiguous vectors. */
  vectorCount = 0;
  vectorPhys: Float64Array;
  vectorLength: Float64Array;

  constructor(capacity = 256) {
    this.vectorPhys = new Float64Array(capacity);
    this.vectorLength = new Float64Array(capacity);
  }

  reset(direction: DmaDirection): void {
    this.direction = direction;
    this.segments = 0;
    this.payloadBytes = 0;
    this.gapMask = 0;
    this.singleSegment = false;
    this.uniform = false;
    this.attributes = 0;
    this.vectorCount = 0;
  }

  /** Appends memory; joins it to the previous vector when it follows it physically (`biovec_phys_mergeable`). */
  addVector(phys: number, length: number): void {
    const last = this.vectorCount - 1;
    if (last >= 0) {
      const end = this.vectorPhys[last]! + this.vectorLength[last]!;
      if (end === phys && phys % SEGMENT_BOUNDARY_BYTES !== 0) {
        this.payloadBytes += length;
        this.vectorLength[last]! += length;
        return;
      }
    }
    this.addSeparateVector(phys, length);
  }

  /** Appends memory of another kind than what lies before it, wherever that ends. */
  addSeparateVector(phys: number, length: number): void {
    const last = this.vectorCount - 1;
    this.payloadBytes += length;
    if (last >= 0) this.gapMask |= ((this.vectorPhys[last]! + this.vectorLength[last]!) | phys) & 0xfff_ffff;
    if (this.vectorCount === this.vectorPhys.length) this.grow();
    this.vectorPhys[this.vectorCount] = phys;
    this.vectorLength[this.vectorCount] = length;
    this.vectorCount += 1;
  }

  copyFrom(other: MappingRequest): void {
    this.direction = other.direction;
    this.segments = other.segments;
    this.payloadBytes = other.payloadBytes;
    this.gapMask = other.gapMask;
    this.singleSegment = other.singleSegment;
    this.uniform = other.uniform;
    this.attributes = other.attributes;
    this.vectorCount = other.vectorCount;
    while (this.vectorPhys.length < other.vectorCount) this.grow();
    for (let index = 0; index < other.vectorCount; index += 1) {
      this.vectorPhys[index] = other.vectorPhys[index]!;
      this.vectorLength[index] = other.vectorLength[index]!;
    }
  }

  private grow(): void {
    const phys = new Float64Array(this.vectorPhys.length * 2);
    const length = new Float64Array(this.vectorPhys.length * 2);
    phys.set(this.vectorPhys);
    length.set(this.vectorLength);
    this.vectorPhys = phys;
    this.vectorLength = length;
  }
}
