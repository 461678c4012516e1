/**
 * What mapping a request left behind: the address ranges that the device may use, and what the driver must keep to undo it
 * (`struct nvme_iod` of Linux drivers/nvme/host/pci.c: the scatterlist, or `dma_iova_state` and `dma_vecs`).
 * The object is reused from request to request.
 */
import { DmaIovaState } from '../dma/twoStep.ts';
import { ScatterList } from '../dma/scatterList.ts';
import type { P2pdmaMapType } from '../dma/p2pdmaState.ts';
import type { BlockStatus } from './scheme.ts';

/** Which calls mapped the request, and so which calls undo it; `bus`: none, since switches route it by its bus address. */
export type MappedBy = 'nothing' | 'single' | 'scatterlist' | 'iova' | 'vectors' | 'premapped' | 'bus' | 'transactions';

/** `sizeof(struct scatterlist)` on a 64-bit kernel. */
export const SCATTERLIST_ENTRY_BYTES = 32;
/** `sizeof(struct dma_iova_state)`. */
export const DMA_IOVA_STATE_BYTES = 16;
/** `sizeof(struct nvme_dma_vec)`. */
export const NVME_DMA_VEC_BYTES = 16;

export class MappedRequest {
  mappedBy: MappedBy = 'nothing';
  status: BlockStatus = 'ok';
  /** `DMA_ATTR_*` that the request came with: what undoes it names the same. */
  attributes = 0;
  /** Device ranges, in order. */
  count = 0;
  address: Float64Array;
  length: Float64Array;
  /** Vectors of the request that are mapped so far. */
  vectorsMapped = 0;
  /** Memory that the scheme holds for this request beyond the pages and the hardware's own lists. */
  bookkeepingBytes = 0;
  /** The address and length of each vector are kept by the driver (`dma_vecs`). */
  keepsVectors = false;
  /** Why the scheme cannot serve the request, for people; empty: it can. */
  refusal = '';
  /** The first vector of another kind than those before, where that is why the request was refused; else -1. */
  boundary = -1;
  /** Bytes of the range of IOVA that are entered: those of vectors that need translation. */
  enteredBytes = 0;
  /** Stretches of the range of IOVA that were entered with the same attributes: their lengths, and those attributes. */
  readonly stretchBytes: number[] = [];
  readonly stretchAttributes: number[] = [];
  /** How the device reaches each vector; empty on a machine without peers, where all is ordinary memory. */
  readonly ways: P2pdmaMapType[] = [];
  /** Lengths of what was entered piece by piece, for schemes that take it out so. */
  readonly pieces: number[] = [];
  /** Pieces that were mapped each by itself. */
  readonly transactions: MappedRequest[] = [];
  readonly iova: DmaIovaState;
  readonly list: ScatterList;

  constructor(iova: DmaIovaState, list: ScatterList, capacity = 256) {
    this.iova = iova;
    this.list = list;
    this.address = new Float64Array(capacity);
    this.length = new Float64Array(capacity);
  }

  static empty(capacity: number): MappedRequest {
    return new MappedRequest(new DmaIovaState(), new ScatterList(capacity), capacity);
  }

  reset(): void {
    this.mappedBy = 'nothing';
    this.status = 'ok';
    this.attributes = 0;
    this.count = 0;
    this.vectorsMapped = 0;
    this.bookkeepingBytes = 0;
    this.keepsVectors = false;
    this.refusal = '';
    this.boundary = -1;
    this.enteredBytes = 0;
    this.ways.length = 0;
    this.stretchBytes.length = 0;
    this.stretchAttributes.length = 0;
  }

  /** The next bytes of the range are entered. */
  noteEntered(bytes: number, attributes: number): void {
    const last = this.stretchBytes.length - 1;
    if (last >= 0 && this.stretchAttributes[last] === attributes) {
      this.stretchBytes[last]! += bytes;
      return;
    }
    this.stretchBytes.push(bytes);
    this.stretchAttributes.push(attributes);
  }

  refuse(reason: string): void {
    this.refusal = reason;
    this.status = 'inval';
  }

  addRange(address: number, length: number): void {
    if (this.count === this.address.length) {
      const address = new Float64Array(this.count * 2);
      const lengths = new Float64Array(this.count * 2);
      address.set(this.address);
      lengths.set(this.length);
      this.address = address;
      this.length = lengths;
    }
    this.address[this.count] = address;
    this.length[this.count] = length;
    this.count += 1;
  }

  /** Adds to the last range what follows it without a gap, else a range of its own. */
  extendRange(address: number, length: number): void {
    const last = this.count - 1;
    const end = last < 0 ? NaN : this.address[last]! + this.length[last]!;
    if (end === address) this.length[last]! += length;
    else this.addRange(address, length);
  }

  /** `blk_rq_dma_map_coalesce`: one range of the IOMMU holds the whole request. */
  get coalesced(): boolean {
    return this.mappedBy === 'iova';
  }
}
