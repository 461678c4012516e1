/**
 * Root, context and PASID tables of VT-d's scalable mode, which first-stage translation needs (VT-d specification 3.4.3, 9.4 to
 * 9.6; Linux drivers/iommu/intel/pasid.c `intel_pasid_setup_first_level`). Requests of a device carry no PASID; its context
 * entry names the one that stands for them. Here is what software writes; what the hardware reads is pasidReader.ts.
 *
 * Root entry, 128 bits, one for each bus: 0 LP and 63:12 LCTP (context table of devices 0 to 15), 64 UP and 127:76 UCTP (16 to 31).
 * Context entry, 256 bits: 0 P, 63:12 PASIDDIRPTR, 83:64 RID_PASID.
 * PASID directory entry, 64 bits: 0 P, 63:12 SMPTBLPTR (table of 64 PASIDs).
 * PASID table entry, 512 bits: 0 P, 8:6 PGTT (1 first stage, 4 pass-through), 79:64 DID, 131:130 FSPM (levels - 4), 191:140
 * FSPTPTR (root of the first-stage table).
 * Leaves out: requests with a PASID, second-stage and nested translation, page requests, supervisor requests.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { addressHigh, addressLow, addressPage } from '../formats/pageTableFormat.ts';

const PRESENT = 1;
/** DTE, of the context entry. */
const DEVICE_TLB_ENABLE = 1 << 2;
const ROOT_WORDS = 4;
const CONTEXT_WORDS = 8;
const CONTEXTS_PER_TABLE = 128;
const PASID_ENTRY_WORDS = 16;
const PASIDS_PER_TABLE = 64;
const PGTT_SHIFT = 6;
const PGTT_FIRST_STAGE = 1;
const PGTT_PASS_THROUGH = 4;
const PAGING_MODE_SHIFT = 2;
/** FSPM counts from here. */
const FEWEST_LEVELS = 4;
/** `IOMMU_NO_PASID`: the PASID that Linux lets stand for requests without one. */
const NO_PASID = 0;

export type ScalableEntry =
  | { readonly domainId: number; readonly passthrough: true; readonly ats?: boolean }
  | {
      readonly domainId: number;
      readonly tablePage: number;
      readonly levels: number;
      readonly passthrough?: false;
      readonly ats?: boolean;
    };

/** Writes the PASID entry of a device's plain requests, with the tables above it made as needed. */
export function writeScalableEntry(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  rootPage: number,
  sourceId: number,
  entry: ScalableEntry,
): void {
  const context = makeTable(memory, frames, rootPage, rootWord(sourceId));
  const directory = makeTable(memory, frames, context, contextWord(sourceId));
  if (entry.ats === true) {
    const word = contextWord(sourceId);
    memory.writeWord(context, word, (memory.readWord(context, word) | DEVICE_TLB_ENABLE) >>> 0);
  }
  memory.writeWord(context, contextWord(sourceId) + 2, NO_PASID);
  const table = makeTable(memory, frames, directory, directoryWord(NO_PASID));
  const word = pasidWord(NO_PASID);
  memory.writeWord(table, word + 2, entry.domainId);
  if (entry.passthrough !== true) {
    const mode = (entry.levels - FEWEST_LEVELS) << PAGING_MODE_SHIFT;
    memory.writeWord(table, word + 4, (addressLow(entry.tablePage) | mode) >>> 0);
    memory.writeWord(table, word + 5, addressHigh(entry.tablePage));
  }
  const type = entry.passthrough === true ? PGTT_PASS_THROUGH : PGTT_FIRST_STAGE;
  memory.writeWord(table, word, PRESENT | (type << PGTT_SHIFT));
}

/** The half of a bus's root entry that a device and function falls into. */
function rootWord(sourceId: number): number {
  return (sourceId >> 8) * ROOT_WORDS + ((sourceId & 0xff) >= CONTEXTS_PER_TABLE ? 2 : 0);
}

function contextWord(sourceId: number): number {
  return (sourceId % CONTEXTS_PER_TABLE) * CONTEXT_WORDS;
}

function directoryWord(pasid: number): number {
  return Math.floor(pasid / PASIDS_PER_TABLE) * 2;
}

function pasidWord(pasid: number): number {
  return (pasid % PASIDS_PER_TABLE) * PASID_ENTRY_WORDS;
}

function pageAt(memory: PhysicalMemory, page: number, word: number): number {
  return addressPage(memory.readWord(page, word), memory.readWord(page, word + 1));
}

/** The table that an entry points at, made if there is none. */
function makeTable(memory: PhysicalMemory, frames: FrameAllocator, page: number, word: number): number {
  if ((memory.readWord(page, word) & PRESENT) !== 0) return pageAt(memory, page, word);
  const table = frames.allocatePage();
  memory.writeWord(page, word + 1, addressHigh(table));
  memory.writeWord(page, word, (addressLow(table) | PRESENT) >>> 0);
  return table;
}
