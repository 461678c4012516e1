/**
 * The device table of AMD's IOMMU: one entry of 32 bytes for each requester id (AMD specification 48882, 2.2.2.1). Here are both
 * sides: what software writes, and what the hardware reads.
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
import type { DeviceContextReader } from '../vtd/contextTable.ts';
import { FAULT_CONTEXT_NOT_PRESENT, FAULT_ROOT_NOT_PRESENT, NO_FAULT } from '../faults.ts';
import { addressHigh, addressLow, addressPage, READ_WRITE } from '../formats/pageTableFormat.ts';

const VALID = 1 << 0;
const TRANSLATION_VALID = 1 << 1;
const MODE_SHIFT = 9;
const MODE_MASK = 7;
/** Bits 61 and 62, in the high word. */
const PERMISSION_SHIFT = 29;
const DOMAIN_MASK = 0xffff;
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
  memory.writeWord(page, word, low >>> 0);
}

/** What the hardware reads for a device; fields are valid after `read` returned true. */
export class DeviceTableReader implements DeviceContextReader {
  readonly lookupReads = 1;
  domainId = 0;
  passthrough = false;
  tablePage = 0;
  levels = 0;
  fault = NO_FAULT;
  private readonly memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  read(tableBase: number, sourceId: number): boolean {
    const { memory } = this;
    if (tableBase < 0) {
      this.fault = FAULT_ROOT_NOT_PRESENT;
      return false;
    }
    const page = tableBase + Math.floor(sourceId / ENTRIES_PER_PAGE);
    const word = (sourceId % ENTRIES_PER_PAGE) * ENTRY_WORDS;
    const low = memory.readWord(page, word);
    const high = memory.readWord(page, word + 1);
    if ((low & VALID) === 0) {
      this.fault = NO_FAULT;
      this.levels = 0;
      this.passthrough = true;
      this.tablePage = 0;
      this.domainId = 0;
      return true;
    }
    if ((low & TRANSLATION_VALID) === 0 || ((high >>> PERMISSION_SHIFT) & READ_WRITE) === 0) {
      this.fault = FAULT_CONTEXT_NOT_PRESENT;
      return false;
    }
    this.fault = NO_FAULT;
    this.levels = (low >>> MODE_SHIFT) & MODE_MASK;
    this.passthrough = this.levels === 0;
    this.tablePage = addressPage(low, high);
    this.domainId = memory.readWord(page, word + 2) & DOMAIN_MASK;
    return true;
  }
}
