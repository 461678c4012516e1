/**
 * Context descriptors of the SMMUv3: for each SubstreamID (a PASID on PCIe) of a stream one descriptor of 64 bytes that names the
 * stage 1 tables (Arm SMMUv3 specification IHI 0070, 3.3.2, 5.3 and 5.4; Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c
 * `arm_smmu_make_s1_cd`, `arm_smmu_alloc_cd_tables`). Here are both sides: what software writes, and what the hardware reads.
 *
 * Level-1 descriptor: 0 V, 51:12 L2Ptr, a table of 64 (S1Fmt 1) or 1024 (S1Fmt 2) descriptors.
 *
 * | bits    | name | meaning                                                             |
 * | ------- | ---- | ------------------------------------------------------------------- |
 * | 5:0     | T0SZ | addresses of 64 - T0SZ bits                                         |
 * | 7:6     | TG0  | granule: 0 4 KiB, 1 64 KiB, 2 16 KiB                                |
 * | 14      | EPD0 | no walks of these tables                                            |
 * | 30      | EPD1 | no walks of the tables of upper addresses                           |
 * | 31      | V    | the descriptor is valid                                             |
 * | 41      | AA64 | the tables are of the 64-bit format                                 |
 * | 42      | HD   | the hardware keeps the dirty state                                  |
 * | 43      | HA   | the hardware sets access flags                                      |
 * | 44      | S    | a faulting transaction stalls                                       |
 * | 45      | R    | faults are recorded                                                 |
 * | 46      | A    | a terminated transaction is aborted, not read as zero               |
 * | 47      | ASET | the ASID is not shared with CPUs                                    |
 * | 63:48   | ASID | tag of cached translations                                          |
 * | 115:68  | TTB0 | the tables                                                          |
 *
 * Leaves out: TTB1 and its fields, attributes (MAIR), output sizes (IPS), top-byte-ignore, privileged access.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { addressHigh, addressLow } from '../formats/pageTableFormat.ts';
import {
  C_BAD_CD,
  C_BAD_SUBSTREAMID,
  F_CD_FETCH,
  F_STREAM_DISABLED,
  F_TRANSLATION,
  NO_SUBSTREAM,
} from './smmuEvents.ts';
import { S1DSS_BYPASS, S1DSS_FIRST, S1DSS_TERMINATE, type StreamTableReader } from './streamTable.ts';
import { readWordOf, tablePointer, writeWordOf } from './smmuWords.ts';

const CD_WORDS = 16;
const CD_BYTES = 64;
const DESCRIPTOR_WORDS = 2;
const DESCRIPTOR_VALID = 1;
const PAGE_BYTES = 4096;
const EPD0 = 1 << 14;
const EPD1 = 1 << 30;
const VALID = 2 ** 31;
const AA64 = 1 << 9;
const HD = 1 << 10;
const HA = 1 << 11;
const STALL = 1 << 12;
const RECORD = 1 << 13;
const ABORT = 1 << 14;
const ASET = 1 << 15;
const ASID_SHIFT = 16;
/** Descriptors of a leaf table, by S1Fmt; 0: a linear table has none. */
const LEAF_BITS = [0, 6, 10] as const;

/** Pages of an intermediate address become pages of memory; -1 where stage 2 has none. The hardware reads tables through it. */
export type StageTwo = (page: number) => number;

export interface ContextDescriptor {
  readonly asid: number;
  readonly tablePage: number;
  readonly addressBits: number;
  /** TG0. */
  readonly granule: number;
  readonly setsAccessFlag?: boolean;
  readonly setsDirtyState?: boolean;
  readonly stalls?: boolean;
}

/** Where a stream's context descriptors are. */
export interface ContextTable {
  readonly page: number;
  readonly format: 0 | 1 | 2;
  readonly log2Contexts: number;
}

export function allocateContextTable(frames: FrameAllocator, format: 0 | 1 | 2, log2Contexts: number): ContextTable {
  const leafBits = LEAF_BITS[format];
  const bytes =
    format === 0 || log2Contexts === 0
      ? CD_BYTES * 2 ** log2Contexts
      : DESCRIPTOR_WORDS * 4 * 2 ** Math.max(0, log2Contexts - leafBits);
  const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
  return { page: frames.allocateContiguous(pages, pages), format, log2Contexts };
}

/** Writes a substream's descriptor, with the leaf table made as needed. */
export function writeContextDescriptor(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  table: ContextTable,
  substreamId: number,
  descriptor: ContextDescriptor,
): void {
  const leafBits = LEAF_BITS[table.format];
  let { page } = table;
  let word = substreamId * CD_WORDS;
  if (table.format !== 0 && table.log2Contexts > 0) {
    const pointer = Math.floor(substreamId / 2 ** leafBits) * DESCRIPTOR_WORDS;
    if ((readWordOf(memory, table.page, pointer) & DESCRIPTOR_VALID) === 0) {
      const pages = (CD_BYTES * 2 ** leafBits) / PAGE_BYTES;
      const leaf = frames.allocateContiguous(pages, pages);
      writeWordOf(memory, table.page, pointer + 1, addressHigh(leaf));
      writeWordOf(memory, table.page, pointer, (addressLow(leaf) | DESCRIPTOR_VALID) >>> 0);
    }
    page = tablePointer(memory, table.page, pointer);
    word = (substreamId % 2 ** leafBits) * CD_WORDS;
  }
  const updates = (descriptor.setsAccessFlag === true ? HA : 0) | (descriptor.setsDirtyState === true ? HD : 0);
  const faults = RECORD | ABORT | (descriptor.stalls === true ? STALL : 0);
  writeWordOf(memory, page, word + 2, addressLow(descriptor.tablePage) >>> 0);
  writeWordOf(memory, page, word + 3, addressHigh(descriptor.tablePage));
  writeWordOf(memory, page, word + 1, (AA64 | updates | faults | ASET | (descriptor.asid << ASID_SHIFT)) >>> 0);
  const low = (64 - descriptor.addressBits) | (descriptor.granule << 6) | EPD1;
  writeWordOf(memory, page, word, VALID + low);
}

/** What the hardware reads of a substream; fields are valid after `read` returned true. */
export class ContextDescriptorReader {
  reads = 0;
  event = 0;
  /** The event is stage 2's, which had no page for the descriptor. */
  stage2 = false;
  /** S1DSS says that stage 1 is passed by. */
  bypass = false;
  asid = 0;
  tablePage = 0;
  addressBits = 0;
  granule = 0;
  setsAccessFlag = false;
  setsDirtyState = false;
  stalls = false;
  recordsFaults = false;
  private readonly memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** `stageTwo`: null where the pointers of the stream table entry are physical. */
  read(stream: StreamTableReader, substreamId: number, stageTwo: StageTwo | null): boolean {
    this.reads = 0;
    this.bypass = false;
    this.stage2 = false;
    let index = substreamId;
    if (substreamId === NO_SUBSTREAM) {
      index = 0;
      if (stream.log2Contexts > 0 && stream.withoutSubstream !== S1DSS_FIRST) {
        if (stream.withoutSubstream === S1DSS_TERMINATE) return this.refuse(F_STREAM_DISABLED);
        this.bypass = stream.withoutSubstream === S1DSS_BYPASS;
        return true;
      }
    } else if (stream.log2Contexts === 0 || substreamId >= 2 ** stream.log2Contexts) {
      return this.refuse(C_BAD_SUBSTREAMID);
    } else if (substreamId === 0 && stream.withoutSubstream === S1DSS_FIRST) {
      // descriptor 0 is that of transactions without a SubstreamID
      return this.refuse(C_BAD_SUBSTREAMID);
    }
    return this.find(stream, index, stageTwo);
  }

  private find(stream: StreamTableReader, index: number, stageTwo: StageTwo | null): boolean {
    const { memory } = this;
    let word = stream.contextOffset / 4 + index * CD_WORDS;
    let first = stream.contextPage;
    if (stream.contextFormat !== 0 && stream.log2Contexts > 0) {
      const leafBits = LEAF_BITS[stream.contextFormat]!;
      const pointer = stream.contextOffset / 4 + Math.floor(index / 2 ** leafBits) * DESCRIPTOR_WORDS;
      const page = through(stageTwo, first + (pointer >>> 10));
      if (page < 0) return this.refuseStage2();
      if (page >= memory.pages) return this.refuse(F_CD_FETCH);
      this.reads += 1;
      if ((memory.readWord(page, pointer & 1023) & DESCRIPTOR_VALID) === 0) return this.refuse(C_BAD_SUBSTREAMID);
      first = tablePointer(memory, page, pointer & 1023);
      word = (index % 2 ** leafBits) * CD_WORDS;
    }
    const page = through(stageTwo, first + (word >>> 10));
    if (page < 0) return this.refuseStage2();
    if (page >= memory.pages) return this.refuse(F_CD_FETCH);
    this.reads += 1;
    return this.decode(page, word & 1023);
  }

  private decode(page: number, word: number): boolean {
    const { memory } = this;
    const low = memory.readWord(page, word);
    const high = memory.readWord(page, word + 1);
    if (low < VALID || (high & AA64) === 0) return this.refuse(C_BAD_CD);
    this.event = 0;
    this.addressBits = 64 - (low & 0x3f);
    this.granule = (low >>> 6) & 3;
    if (this.granule === 3 || (low & EPD0) !== 0) return this.refuse(C_BAD_CD);
    this.setsAccessFlag = (high & HA) !== 0;
    this.setsDirtyState = (high & HD) !== 0;
    this.stalls = (high & STALL) !== 0;
    this.recordsFaults = (high & RECORD) !== 0;
    this.asid = high >>> ASID_SHIFT;
    this.tablePage = tablePointer(memory, page, word + 2);
    return true;
  }

  private refuse(event: number): false {
    this.event = event;
    return false;
  }

  private refuseStage2(): false {
    this.stage2 = true;
    return this.refuse(F_TRANSLATION);
  }
}

function through(stageTwo: StageTwo | null, page: number): number {
  return stageTwo === null ? page : stageTwo(page);
}
