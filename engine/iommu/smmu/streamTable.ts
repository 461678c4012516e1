/**
 * The stream table of the SMMUv3: for each StreamID, which is the requester id of a PCIe function, one entry of 64 bytes (Arm SMMUv3
 * specification IHI 0070, 3.3.1, 5.1 and 5.2; Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_write_ste`). A linear table
 * is one array; a two-level table has descriptors of 8 bytes that point at arrays of 2^SPLIT entries. Here are both sides: what
 * software writes, and what the hardware reads.
 *
 * Level-1 descriptor: 4:0 Span (2^(Span-1) entries, 0 none), 51:6 L2Ptr.
 *
 * | bits    | name         | meaning                                                                        |
 * | ------- | ------------ | ------------------------------------------------------------------------------ |
 * | 0       | V            | the entry is valid                                                             |
 * | 3:1     | Config       | 0 abort, 4 bypass, 5 stage 1, 6 stage 2, 7 both                                |
 * | 5:4     | S1Fmt        | context descriptors: 0 linear, 1 leaf tables of 64, 2 leaf tables of 1024      |
 * | 51:6    | S1ContextPtr | the context descriptors                                                        |
 * | 63:59   | S1CDMax      | 2^S1CDMax of them                                                              |
 * | 65:64   | S1DSS        | without a SubstreamID: 0 terminate, 1 bypass stage 1, 2 descriptor 0           |
 * | 91      | S1STALLD     | stage 1 may not stall                                                          |
 * | 93:92   | EATS         | 1: translation requests are answered                                           |
 * | 143:128 | S2VMID       | tag of the guest                                                               |
 * | 165:160 | S2T0SZ       | stage 2 takes addresses of 64 - S2T0SZ bits                                    |
 * | 167:166 | S2SL0        | level at which stage 2 begins                                                  |
 * | 175:174 | S2TG         | its granule: 0 4 KiB, 1 64 KiB, 2 16 KiB                                       |
 * | 179     | S2AA64       | its tables are of the 64-bit format                                            |
 * | 184     | S2HA         | the hardware sets access flags                                                 |
 * | 185     | S2S          | faults of stage 2 stall                                                        |
 * | 186     | S2R          | faults of stage 2 are recorded                                                 |
 * | 243:196 | S2TTB        | the tables                                                                     |
 *
 * Leaves out: attributes and shareability, secure streams, StreamWorlds other than NS-EL1, STE.CONT.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { addressHigh, addressLow } from '../formats/pageTableFormat.ts';
import { C_BAD_STE, C_BAD_STREAMID, F_STE_FETCH } from './smmuEvents.ts';
import { readWordOf, tablePointer, writeWordOf } from './smmuWords.ts';

const STE_WORDS = 16;
const STE_BYTES = 64;
const DESCRIPTOR_WORDS = 2;
const DESCRIPTOR_BYTES = 8;
const PAGE_BYTES = 4096;
const WORDS_PER_PAGE = PAGE_BYTES / 4;
const VALID = 1;
const SPAN_MASK = 0x1f;
/** Bits 11:6 of a pointer, below the page number. */
const IN_PAGE_MASK = 0xfc0;
const S1CDMAX_SHIFT = 27;
const S1STALLD = 1 << 27;
const EATS_SHIFT = 28;
const S2AA64 = 1 << 19;
const S2HA = 1 << 24;
const S2S = 1 << 25;
const S2R = 1 << 26;

export const CONFIG_ABORT = 0;
export const CONFIG_BYPASS = 4;
export const CONFIG_STAGE_1 = 5;
export const CONFIG_STAGE_2 = 6;
export const CONFIG_NESTED = 7;
const STAGE_1_BIT = 1;
const STAGE_2_BIT = 2;

export const S1DSS_TERMINATE = 0;
export const S1DSS_BYPASS = 1;
export const S1DSS_FIRST = 2;

/** STRTAB_BASE_CFG: how the stream table is laid out. */
export interface StreamTableLayout {
  /** 2^log2Size StreamIDs. */
  readonly log2Size: number;
  /** Bits of a StreamID that index the second level: 6, 8 or 10; null: a linear table. */
  readonly split: number | null;
}

/** What Linux chooses where the hardware has two-level tables (`arm_smmu_init_strtab_2lvl`, STRTAB_SPLIT). */
export const LINUX_STREAM_TABLE: StreamTableLayout = { log2Size: 16, split: 8 };

export interface StageOneEntry {
  readonly contextPage: number;
  readonly format: 0 | 1 | 2;
  readonly log2Contexts: number;
  readonly withoutSubstream?: number;
  readonly stallDisabled?: boolean;
}

export interface StageTwoEntry {
  readonly vmid: number;
  readonly tablePage: number;
  /** Bits of an address that stage 2 takes. */
  readonly addressBits: number;
  /** S2SL0 and S2TG as the specification counts them. */
  readonly startLevel: number;
  readonly granule: number;
  readonly setsAccessFlag?: boolean;
  readonly stalls?: boolean;
}

export interface StreamTableEntry {
  readonly config: number;
  readonly ats?: boolean;
  readonly stage1?: StageOneEntry;
  readonly stage2?: StageTwoEntry;
}

/** An empty table: every stream is invalid until software says otherwise. Returns its first page. */
export function allocateStreamTable(frames: FrameAllocator, layout: StreamTableLayout): number {
  const { log2Size, split } = layout;
  const bytes = split === null ? STE_BYTES * 2 ** log2Size : DESCRIPTOR_BYTES * 2 ** Math.max(0, log2Size - split);
  const pages = Math.ceil(bytes / PAGE_BYTES);
  return frames.allocateContiguous(pages, pages);
}

/** Writes a stream's entry, with the second level made as needed. The half with V comes last, as hardware may read at any moment. */
export function writeStreamTableEntry(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  tablePage: number,
  layout: StreamTableLayout,
  streamId: number,
  entry: StreamTableEntry,
): void {
  const { split } = layout;
  let page = tablePage;
  let word = streamId * STE_WORDS;
  if (split !== null) {
    const descriptor = Math.floor(streamId / 2 ** split) * DESCRIPTOR_WORDS;
    if ((readWordOf(memory, tablePage, descriptor) & SPAN_MASK) === 0) {
      const pages = (STE_BYTES * 2 ** split) / PAGE_BYTES;
      const second = frames.allocateContiguous(pages, pages);
      writeWordOf(memory, tablePage, descriptor + 1, addressHigh(second));
      writeWordOf(memory, tablePage, descriptor, (addressLow(second) | (split + 1)) >>> 0);
    }
    page = tablePointer(memory, tablePage, descriptor);
    word = (streamId % 2 ** split) * STE_WORDS;
  }
  const { stage1, stage2 } = entry;
  const pointer = stage1?.contextPage ?? 0;
  for (let clear = 0; clear < STE_WORDS; clear += 1) writeWordOf(memory, page, word + clear, 0);
  if (stage2 !== undefined) {
    const control = (64 - stage2.addressBits) | (stage2.startLevel << 6) | (stage2.granule << 14);
    const flags = S2AA64 | S2R | (stage2.setsAccessFlag === true ? S2HA : 0) | (stage2.stalls === true ? S2S : 0);
    writeWordOf(memory, page, word + 4, stage2.vmid);
    writeWordOf(memory, page, word + 5, (control | flags) >>> 0);
    writeWordOf(memory, page, word + 6, addressLow(stage2.tablePage) >>> 0);
    writeWordOf(memory, page, word + 7, addressHigh(stage2.tablePage));
  }
  const stalls = stage1?.stallDisabled === true ? S1STALLD : 0;
  const ats = entry.ats === true ? 1 << EATS_SHIFT : 0;
  writeWordOf(memory, page, word + 2, ((stage1?.withoutSubstream ?? S1DSS_FIRST) | stalls | ats) >>> 0);
  writeWordOf(memory, page, word + 1, (addressHigh(pointer) | ((stage1?.log2Contexts ?? 0) << S1CDMAX_SHIFT)) >>> 0);
  const low = addressLow(pointer) | ((stage1?.format ?? 0) << 4) | (entry.config << 1) | VALID;
  writeWordOf(memory, page, word, low >>> 0);
}

/** What the hardware reads of a stream; fields are valid after `read` returned true. */
export class StreamTableReader {
  config = CONFIG_ABORT;
  /** Entries read. */
  reads = 0;
  event = 0;
  contextFormat = 0;
  contextPage = 0;
  /** Where in its page the array of context descriptors begins, in bytes. */
  contextOffset = 0;
  log2Contexts = 0;
  withoutSubstream = 0;
  stallDisabled = false;
  atsEnabled = false;
  vmid = 0;
  secondTablePage = 0;
  secondAddressBits = 0;
  secondStart = 0;
  secondGranule = 0;
  secondSetsAccessFlag = false;
  secondStalls = false;
  private readonly memory: PhysicalMemory;
  private readonly layout: StreamTableLayout;

  constructor(memory: PhysicalMemory, layout: StreamTableLayout) {
    this.memory = memory;
    this.layout = layout;
  }

  get hasStage1(): boolean {
    return this.config >= CONFIG_BYPASS && (this.config & STAGE_1_BIT) !== 0;
  }

  get hasStage2(): boolean {
    return this.config >= CONFIG_BYPASS && (this.config & STAGE_2_BIT) !== 0;
  }

  read(tablePage: number, streamId: number): boolean {
    const { memory, layout } = this;
    const { split } = layout;
    this.reads = 0;
    if (tablePage < 0 || streamId >= 2 ** layout.log2Size) return this.refuse(C_BAD_STREAMID);
    let page = tablePage;
    let index = streamId;
    if (split !== null) {
      const descriptor = Math.floor(streamId / 2 ** split) * DESCRIPTOR_WORDS;
      const span = readWordOf(memory, tablePage, descriptor) & SPAN_MASK;
      this.reads += 1;
      index = streamId % 2 ** split;
      if (span === 0 || index >= 2 ** (span - 1)) return this.refuse(C_BAD_STREAMID);
      page = tablePointer(memory, tablePage, descriptor);
    }
    this.reads += 1;
    return this.decode(page, index * STE_WORDS);
  }

  private decode(page: number, word: number): boolean {
    const { memory } = this;
    if (page + Math.floor(word / WORDS_PER_PAGE) >= memory.pages) return this.refuse(F_STE_FETCH);
    const low = readWordOf(memory, page, word);
    if ((low & VALID) === 0) return this.refuse(C_BAD_STE);
    this.config = (low >>> 1) & 7;
    // without its highest bit Config means abort, whatever else it says
    if (this.config < CONFIG_BYPASS) this.config = CONFIG_ABORT;
    this.event = 0;
    this.vmid = 0;
    const flags = readWordOf(memory, page, word + 2);
    this.atsEnabled = ((flags >>> EATS_SHIFT) & 3) === 1;
    if (this.hasStage1) {
      this.contextFormat = (low >>> 4) & 3;
      this.contextPage = tablePointer(memory, page, word);
      this.contextOffset = low & IN_PAGE_MASK;
      this.log2Contexts = readWordOf(memory, page, word + 1) >>> S1CDMAX_SHIFT;
      this.withoutSubstream = flags & 3;
      this.stallDisabled = (flags & S1STALLD) !== 0;
      if (this.log2Contexts > 0 && (this.contextFormat === 3 || this.withoutSubstream === 3)) {
        return this.refuse(C_BAD_STE);
      }
    }
    return this.hasStage2 ? this.decodeStage2(page, word) : true;
  }

  private decodeStage2(page: number, word: number): boolean {
    const { memory } = this;
    const control = readWordOf(memory, page, word + 5);
    this.vmid = readWordOf(memory, page, word + 4) & 0xffff;
    this.secondAddressBits = 64 - (control & 0x3f);
    this.secondStart = (control >>> 6) & 3;
    this.secondGranule = (control >>> 14) & 3;
    this.secondSetsAccessFlag = (control & S2HA) !== 0;
    this.secondStalls = (control & S2S) !== 0;
    this.secondTablePage = tablePointer(memory, page, word + 6);
    const legal = (control & S2AA64) !== 0 && this.secondGranule !== 3 && this.secondStart !== 3;
    return legal ? true : this.refuse(C_BAD_STE);
  }

  private refuse(event: number): false {
    this.event = event;
    return false;
  }
}
