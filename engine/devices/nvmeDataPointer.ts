/**
 * How a drive reads a command's data pointer: PRP entries and lists (NVM Express Base Specification 2.0, 4.1.1) and SGLs
 * (4.1.2), turned step by step into bus address ranges. The walk says what to fetch next and takes what was fetched, so that
 * every list really travels over the bus. Neighbouring ranges join, as a drive joins them into one burst.
 * Leaves out: bit bucket, keyed and transport SGL descriptors, which a memory-based read or write does not use here.
 */
import {
  NVME_CMD_SGL_ALL,
  NVME_CTRL_PAGE_SIZE,
  NVME_SC_INVALID_FIELD,
  NVME_SC_PRP_INVALID_OFFSET,
  NVME_SC_SGL_INVALID_DATA,
  NVME_SC_SGL_INVALID_LAST,
  NVME_SC_SGL_INVALID_TYPE,
  NVME_SC_SUCCESS,
  NVME_SGL_FMT_DATA_DESC,
  NVME_SGL_FMT_LAST_SEG_DESC,
  NVME_SGL_FMT_SEG_DESC,
  PRP_ENTRY_BYTES,
  SGL_DESCRIPTOR_BYTES,
  SQE_DPTR,
} from './nvmeSpecification.ts';

const TWO_32 = 2 ** 32;
/** A drive reads a long SGL segment in parts of one page. */
export const LIST_FETCH_BYTES = 4096;

export class NvmeDataPointerWalk {
  /** False for a drive that handles every entry by itself. */
  joinsNeighbours = true;
  status = NVME_SC_SUCCESS;
  count = 0;
  address = new Float64Array(4);
  length = new Float64Array(4);
  /** What to fetch next; 0 bytes: the walk has ended. */
  fetchAddress = 0;
  fetchBytes = 0;

  private remaining = 0;
  private sgl = false;
  /** PRP: the fetched page ends in a pointer to the next list page. */
  private chained = false;
  /** SGL: bytes of the present segment that lie beyond the present fetch. */
  private segmentLeft = 0;
  private lastSegment = true;

  /** Reads the data pointer of the submission queue entry at dword `entry` of `dwords`. */
  start(dwords: Uint32Array, entry: number, transferBytes: number, sglSupport: boolean): void {
    this.status = NVME_SC_SUCCESS;
    this.count = 0;
    this.fetchBytes = 0;
    this.remaining = transferBytes;
    this.segmentLeft = 0;
    const flags = (dwords[entry]! >>> 8) & NVME_CMD_SGL_ALL;
    this.sgl = flags !== 0;
    if (this.sgl && !sglSupport) return this.fail(NVME_SC_INVALID_FIELD);
    if (this.sgl) this.startSgl(dwords, entry + SQE_DPTR);
    else this.startPrp(dwords, entry + SQE_DPTR);
  }

  /** Takes the bytes that `fetchAddress` and `fetchBytes` asked for. */
  consume(fetched: Uint32Array): void {
    const bytes = this.fetchBytes;
    this.fetchBytes = 0;
    if (this.sgl) this.consumeSgl(fetched, bytes);
    else this.consumePrp(fetched, bytes);
  }

  private startPrp(dwords: Uint32Array, offset: number): void {
    const prp1 = wide(dwords, offset);
    const prp2 = wide(dwords, offset + 2);
    if (prp1 % 4 !== 0) return this.fail(NVME_SC_PRP_INVALID_OFFSET);
    this.add(prp1, Math.min(this.remaining, NVME_CTRL_PAGE_SIZE - (prp1 % NVME_CTRL_PAGE_SIZE)));
    if (this.remaining === 0) return;
    if (this.remaining <= NVME_CTRL_PAGE_SIZE) {
      if (prp2 % NVME_CTRL_PAGE_SIZE !== 0) return this.fail(NVME_SC_PRP_INVALID_OFFSET);
      this.add(prp2, this.remaining);
      return;
    }
    if (prp2 % PRP_ENTRY_BYTES !== 0) return this.fail(NVME_SC_PRP_INVALID_OFFSET);
    this.fetchPrpList(prp2);
  }

  private fetchPrpList(address: number): void {
    const entriesToPageEnd = (NVME_CTRL_PAGE_SIZE - (address % NVME_CTRL_PAGE_SIZE)) / PRP_ENTRY_BYTES;
    const entriesNeeded = Math.ceil(this.remaining / NVME_CTRL_PAGE_SIZE);
    this.chained = entriesNeeded > entriesToPageEnd;
    this.fetchAddress = address;
    this.fetchBytes = Math.min(entriesNeeded, entriesToPageEnd) * PRP_ENTRY_BYTES;
  }

  private consumePrp(fetched: Uint32Array, bytes: number): void {
    const entries = bytes / PRP_ENTRY_BYTES - (this.chained ? 1 : 0);
    for (let index = 0; index < entries; index += 1) {
      const entry = wide(fetched, index * 2);
      if (entry % NVME_CTRL_PAGE_SIZE !== 0) return this.fail(NVME_SC_PRP_INVALID_OFFSET);
      this.add(entry, Math.min(this.remaining, NVME_CTRL_PAGE_SIZE));
    }
    if (this.chained) this.fetchPrpList(wide(fetched, entries * 2));
  }

  private startSgl(dwords: Uint32Array, offset: number): void {
    const type = dwords[offset + 3]! >>> 28;
    if (type === NVME_SGL_FMT_DATA_DESC) {
      this.addSglData(dwords, offset);
      this.checkSglEnd();
      return;
    }
    this.followSegment(dwords, offset, type);
  }

  private followSegment(dwords: Uint32Array, offset: number, type: number): void {
    if (type !== NVME_SGL_FMT_SEG_DESC && type !== NVME_SGL_FMT_LAST_SEG_DESC) {
      return this.fail(NVME_SC_SGL_INVALID_TYPE);
    }
    const bytes = dwords[offset + 2]!;
    if (bytes === 0 || bytes % SGL_DESCRIPTOR_BYTES !== 0) return this.fail(NVME_SC_SGL_INVALID_LAST);
    this.lastSegment = type === NVME_SGL_FMT_LAST_SEG_DESC;
    this.segmentLeft = bytes;
    this.fetchSegmentPart(wide(dwords, offset));
  }

  private fetchSegmentPart(address: number): void {
    this.fetchAddress = address;
    this.fetchBytes = Math.min(this.segmentLeft, LIST_FETCH_BYTES);
    this.segmentLeft -= this.fetchBytes;
  }

  private consumeSgl(fetched: Uint32Array, bytes: number): void {
    const descriptors = bytes / SGL_DESCRIPTOR_BYTES;
    for (let index = 0; index < descriptors; index += 1) {
      const offset = index * 4;
      const type = fetched[offset + 3]! >>> 28;
      const endOfSegment = this.segmentLeft === 0 && index === descriptors - 1;
      if (type === NVME_SGL_FMT_DATA_DESC) this.addSglData(fetched, offset);
      else if (endOfSegment && !this.lastSegment) return this.followSegment(fetched, offset, type);
      else return this.fail(NVME_SC_SGL_INVALID_TYPE);
      if (this.status !== NVME_SC_SUCCESS) return;
    }
    if (this.segmentLeft > 0) this.fetchSegmentPart(this.fetchAddress + bytes);
    else this.checkSglEnd();
  }

  private addSglData(dwords: Uint32Array, offset: number): void {
    const length = dwords[offset + 2]!;
    if (length > this.remaining) return this.fail(NVME_SC_SGL_INVALID_DATA);
    if (length > 0) this.add(wide(dwords, offset), length);
  }

  private checkSglEnd(): void {
    if (this.status === NVME_SC_SUCCESS && this.remaining > 0) this.fail(NVME_SC_SGL_INVALID_DATA);
  }

  private fail(status: number): void {
    this.status = status;
    this.fetchBytes = 0;
    this.count = 0;
  }

  private add(address: number, length: number): void {
    this.remaining -= length;
    const last = this.count - 1;
    const end = last < 0 ? -1 : this.address[last]! + this.length[last]!;
    if (end === address && this.joinsNeighbours) {
      this.length[last]! += length;
      return;
    }
    if (this.count === this.address.length) {
      this.address = grown(this.address);
      this.length = grown(this.length);
    }
    this.address[this.count] = address;
    this.length[this.count] = length;
    this.count += 1;
  }
}

function wide(dwords: Uint32Array, offset: number): number {
  return dwords[offset + 1]! * TWO_32 + dwords[offset]!;
}

function grown(values: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(values.length * 2);
  larger.set(values);
  return larger;
}
