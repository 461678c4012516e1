/**
 * Root and context tables, legacy mode (VT-d specification 3.4, 9.1, 9.3): the root table has a 16-byte entry per bus, a
 * context table one per device and function. Here are both sides: what software writes, and what the hardware reads.
 *
 * Context entry, 128 bits: 0 P (present), 3:2 TT (translation type: 0 second stage, 1 second stage and translation
 * requests, 2 pass-through), 63:12 SSPTPTR (root of
 * the second-stage table), 66:64 AW (levels - 2), 87:72 DID (domain). Reserved: 11:4, 71, 127:88. Root entry: 0 P, 63:12 CTP, all else reserved.
 * Leaves out: scalable mode, FPD, tables that lie where there is no memory.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { DeviceContextReader } from '../deviceContext.ts';
import { FAULT_CONTEXT_INVALID, FAULT_CONTEXT_NOT_PRESENT, FAULT_ROOT_NOT_PRESENT, NO_FAULT } from '../faults.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';

const PRESENT = 1;
const TRANSLATION_TYPE_SHIFT = 2;
const TRANSLATION_TYPE_MASK = 3;
const TT_MULTI_LEVEL = 0;
const TT_DEVICE_TLB = 1;
const TT_PASS_THROUGH = 2;
const ADDRESS_WIDTH_BASE = 2;
const ADDRESS_WIDTH_MASK = 7;
const FEWEST_LEVELS = 3;
const MOST_LEVELS = 5;
const DOMAIN_SHIFT = 8;
const DOMAIN_MASK = 0xffff;
const WORDS_PER_ENTRY = 4;
const LOW_PAGES = 2 ** 20;
const ROOT_RESERVED = 0xffe;
const CONTEXT_RESERVED = 0xff0;
/** Of the third word. */
const CONTEXT_RESERVED_HIGH = 0xff00_0080;
export const ROOT_RESERVED_BITS = 0xa;
export const CONTEXT_RESERVED_BITS = 0xb;
/** A request with a PASID, while the root table is of legacy mode. */
export const LEGACY_REQUEST_WITH_PASID = 0x31;
/** The root entry, and the context entry. */
const LOOKUP_READS = 2;
export type ContextEntry =
  | { readonly domainId: number; readonly passthrough: true }
  | {
      readonly domainId: number;
      readonly tablePage: number;
      readonly levels: number;
      readonly passthrough?: false;
      readonly ats?: boolean;
    };

/** Writes the context entry of a device, with the context table of its bus made as needed. */
export function writeContextEntry(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  rootPage: number,
  sourceId: number,
  entry: ContextEntry,
): void {
  const rootWord = (sourceId >> 8) * WORDS_PER_ENTRY;
  let contextPage = pageAt(memory, rootPage, rootWord);
  if ((memory.readWord(rootPage, rootWord) & PRESENT) === 0) {
    contextPage = frames.allocatePage();
    writePointer(memory, rootPage, rootWord, contextPage, PRESENT);
  }
  const word = (sourceId & 0xff) * WORDS_PER_ENTRY;
  const passthrough = entry.passthrough === true;
  const type = passthrough ? TT_PASS_THROUGH : entry.ats === true ? TT_DEVICE_TLB : TT_MULTI_LEVEL;
  const width = (passthrough ? MOST_LEVELS : entry.levels) - ADDRESS_WIDTH_BASE;
  memory.writeWord(contextPage, word + 2, width | (entry.domainId << DOMAIN_SHIFT));
  const pointer = passthrough ? 0 : entry.tablePage;
  writePointer(memory, contextPage, word, pointer, PRESENT | (type << TRANSLATION_TYPE_SHIFT));
}

/** What the hardware reads for a device; requests with a PASID are refused, which are for scalable mode. */
export class ContextReader extends DeviceContextReader {
  constructor(memory: PhysicalMemory) {
    super(memory, VTD_SECOND_STAGE);
  }

  read(rootPage: number, sourceId: number, pasid: number): boolean {
    const { memory } = this;
    const rootWord = (sourceId >> 8) * WORDS_PER_ENTRY;
    this.lookupReads = LOOKUP_READS;
    if (pasid !== NO_PASID) return this.refuse(LEGACY_REQUEST_WITH_PASID);
    if (rootPage < 0 || (memory.readWord(rootPage, rootWord) & PRESENT) === 0)
      return this.refuse(FAULT_ROOT_NOT_PRESENT);
    const rootHigh = memory.readWord(rootPage, rootWord + 2) | memory.readWord(rootPage, rootWord + 3);
    if ((memory.readWord(rootPage, rootWord) & ROOT_RESERVED) !== 0 || rootHigh !== 0) {
      return this.refuse(ROOT_RESERVED_BITS);
    }
    const contextPage = pageAt(memory, rootPage, rootWord);
    const word = (sourceId & 0xff) * WORDS_PER_ENTRY;
    const low = memory.readWord(contextPage, word);
    if ((low & PRESENT) === 0) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    const high = memory.readWord(contextPage, word + 2);
    const highest = memory.readWord(contextPage, word + 3);
    if ((low & CONTEXT_RESERVED) !== 0 || (high & CONTEXT_RESERVED_HIGH) !== 0 || highest !== 0) {
      return this.refuse(CONTEXT_RESERVED_BITS);
    }
    const type = (low >> TRANSLATION_TYPE_SHIFT) & TRANSLATION_TYPE_MASK;
    const levels = (high & ADDRESS_WIDTH_MASK) + ADDRESS_WIDTH_BASE;
    if (type > TT_PASS_THROUGH || levels < FEWEST_LEVELS || levels > MOST_LEVELS) {
      return this.refuse(FAULT_CONTEXT_INVALID);
    }
    this.fault = NO_FAULT;
    this.passthrough = type === TT_PASS_THROUGH;
    this.atsEnabled = type === TT_DEVICE_TLB;
    this.tablePage = pageAt(memory, contextPage, word);
    this.levels = levels;
    this.domainId = (high >>> DOMAIN_SHIFT) & DOMAIN_MASK;
    return true;
  }
}

function pageAt(memory: PhysicalMemory, page: number, word: number): number {
  return (memory.readWord(page, word) >>> 12) + memory.readWord(page, word + 1) * LOW_PAGES;
}

function writePointer(memory: PhysicalMemory, page: number, word: number, target: number, low: number): void {
  memory.writeWord(page, word + 1, Math.floor(target / LOW_PAGES));
  memory.writeWord(page, word, (((target % LOW_PAGES) << 12) | low) >>> 0);
}
