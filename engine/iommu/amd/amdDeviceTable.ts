/**
 * The device table of AMD's IOMMU: one entry of 32 bytes for each requester id (AMD specification 48882, 2.2.2.1). Here is what
 * software writes; what the hardware reads is deviceTableReader.ts.
 *
 * | bit     | name     | meaning                                                    |
 * | ------- | -------- | ---------------------------------------------------------- |
 * | 0       | V        | the entry is valid; without it addresses are not translated |
 * | 1       | TV       | the translation fields are valid                           |
 * | 11:9    | Mode     | levels of the page table; 0: addresses are not translated  |
 * | 51:12   | ROOT     | page of the root table                                     |
 * | 61, 62  | IR, IW   | read and write allowed                                     |
 * | 79:64   | DomainID | tag of cached translations                                 |
 *
 * An empty table would let every device reach all memory. Software closes it first (Linux drivers/iommu/amd/init.c,
 * `init_device_table_dma`): V and TV alone, mode 0, nothing allowed.
 * Leaves out: interrupt remapping, guest translation (GCR3), ATS and PPR, segments, and entries that allow reading or writing only.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { addressHigh, addressLow, READ_WRITE } from '../formats/pageTableFormat.ts';

const VALID = 1 << 0;
const TRANSLATION_VALID = 1 << 1;
const MODE_SHIFT = 9;
/** Bits 61 and 62, in the high word. */
const PERMISSION_SHIFT = 29;
/** I, bit 96. */
const DEVICE_TLB = 1 << 0;
const ENTRY_BYTES = 32;
const ENTRY_WORDS = ENTRY_BYTES / 4;
const ENTRIES_PER_PAGE = PAGE_SIZE / ENTRY_BYTES;
const REQUESTER_IDS = 2 ** 16;
/** Pages of a table for every requester id: 2 MiB. */
const DEVICE_TABLE_PAGES = (REQUESTER_IDS * ENTRY_BYTES) / PAGE_SIZE;

export interface DeviceTableEntry {
  readonly domainId: number;
  readonly tablePage: number;
  /** Levels of the page table; 0: pass-through. */
  readonly levels: number;
  /** It may ask for translations. */
  readonly ats?: boolean;
}

/** A table in which no device may do anything; returns its first page. */
export function allocateDeviceTable(memory: PhysicalMemory, frames: FrameAllocator): number {
  const tableBase = frames.allocateContiguous(DEVICE_TABLE_PAGES, DEVICE_TABLE_PAGES);
  for (let page = tableBase; page < tableBase + DEVICE_TABLE_PAGES; page += 1) {
    for (let entry = 0; entry < ENTRIES_PER_PAGE; entry += 1) {
      memory.writeWord(page, entry * ENTRY_WORDS, VALID | TRANSLATION_VALID);
    }
  }
  return tableBase;
}

export function writeDeviceTableEntry(
  memory: PhysicalMemory,
  tableBase: number,
  sourceId: number,
  entry: DeviceTableEntry,
): void {
  const page = tableBase + Math.floor(sourceId / ENTRIES_PER_PAGE);
  const word = (sourceId % ENTRIES_PER_PAGE) * ENTRY_WORDS;
  const low = addressLow(entry.tablePage) | VALID | TRANSLATION_VALID | (entry.levels << MODE_SHIFT);
  memory.writeWord(page, word + 1, (addressHigh(entry.tablePage) | (READ_WRITE << PERMISSION_SHIFT)) >>> 0);
  memory.writeWord(page, word + 2, entry.domainId);
  memory.writeWord(page, word + 3, entry.ats === true ? DEVICE_TLB : 0);
  memory.writeWord(page, word, low >>> 0);
}
