/**
 * What AMD's IOMMU reads of a device and a process: the device table entry, and the GCR3 tables that lead to a process's own page table (AMD
 * specification 48882, 2.2.2.1 and 2.2.6).
 *
 * Of the device table entry, besides what amdDeviceTable.ts has:
 *
 * | bit     | name   | meaning                                                                        |
 * | ------- | ------ | ------------------------------------------------------------------------------ |
 * | 54      | GIOV   | requests without a PASID use the guest table of PASID 0                        |
 * | 55      | GV     | the guest fields are valid                                                     |
 * | 57:56   | GLX    | levels of the GCR3 table less 1                                                |
 * | 60:58   | GCR3   | page of the GCR3 table, bits 14:12 of its address; 30:15 at 95:80, 51:31 at 127:107 |
 * | 61, 62  | IR, IW | read and write allowed, whatever the tables say                                |
 * | 96      | I      | the device may ask for translations                                            |
 * | 183:182 | GuestPagingMode | levels of the guest tables less 4                                     |
 *
 * An entry of a GCR3 table, 64 bits: 0 valid, 51:12 the next GCR3 table or, in the last level, the root of the guest's table. Every level has
 * 9 bits of the PASID. GCR3 tables lie at system addresses (GCR3TRPMode 0); where there is a host table as well, roots and everything below
 * them are the guest's addresses. Leaves out: host accessed and dirty bits (HAD), reserved bits, interrupt addresses.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { NO_SPACE } from '../caches/owner.ts';
import { DeviceContextReader, type StageTables } from '../deviceContext.ts';
import { FAULT_CONTEXT_NOT_PRESENT, FAULT_RESERVED_BITS, FAULT_ROOT_NOT_PRESENT, NO_FAULT } from '../faults.ts';
import { AMD_V1 } from '../formats/amdV1.ts';
import { AMD_V2, AMD_V2_WITHOUT_PASID } from '../formats/amdV2.ts';
import { addressPage, READ_WRITE } from '../formats/pageTableFormat.ts';

const VALID = 1 << 0;
const TRANSLATION_VALID = 1 << 1;
const MODE_SHIFT = 9;
const MODE_MASK = 7;
const MODE_RESERVED = 7;
/** Of the entry's second word, which holds bits 63:32. */
const GUEST_IO = 1 << 22;
const GUEST_VALID = 1 << 23;
const GUEST_LEVELS_SHIFT = 24;
const GUEST_LEVELS_MASK = 3;
const GUEST_LEVELS_RESERVED = 3;
const GCR3_14_12_SHIFT = 26;
const GCR3_14_12_MASK = 7;
const PERMISSION_SHIFT = 29;
const DOMAIN_MASK = 0xffff;
/** Of the third and fourth words: pages, so 30:15 of the address begins at 2^3 and 51:31 at 2^19. */
const GCR3_30_15_SHIFT = 16;
const GCR3_30_15_PAGES = 2 ** 3;
const GCR3_51_31_SHIFT = 11;
const GCR3_51_31_PAGES = 2 ** 19;
/** Of the fourth word. */
const DEVICE_TLB = 1 << 0;
/** Of the sixth word. */
const GUEST_PAGING_SHIFT = 22;
const GUEST_PAGING_MASK = 3;
const FEWEST_GUEST_LEVELS = 4;
const MOST_GUEST_LEVELS = 5;
const ENTRY_BYTES = 32;
const ENTRY_WORDS = ENTRY_BYTES / 4;
const ENTRIES_PER_PAGE = PAGE_SIZE / ENTRY_BYTES;
const GCR3_ENTRIES = 512;

const NO_DOMAIN = 0;

export class DeviceTableReader extends DeviceContextReader {
  private guestRoot = 0;

  constructor(memory: PhysicalMemory) {
    super(memory, AMD_V1);
  }

  read(tableBase: number, sourceId: number, pasid: number): boolean {
    const { memory } = this;
    const page = tableBase + Math.floor(sourceId / ENTRIES_PER_PAGE);
    this.lookupReads = 1;
    if (tableBase < 0 || page >= memory.pages) return this.refuse(FAULT_ROOT_NOT_PRESENT);
    const word = (sourceId % ENTRIES_PER_PAGE) * ENTRY_WORDS;
    const low = memory.readWord(page, word);
    const high = memory.readWord(page, word + 1);
    this.fault = NO_FAULT;
    this.second = null;
    this.space = NO_SPACE;
    if ((low & VALID) === 0) return this.passThrough(NO_DOMAIN, READ_WRITE);
    if ((low & TRANSLATION_VALID) === 0) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    const mode = (low >>> MODE_SHIFT) & MODE_MASK;
    if (mode === MODE_RESERVED) return this.refuse(FAULT_RESERVED_BITS);
    const permissions = (high >>> PERMISSION_SHIFT) & READ_WRITE;
    if (permissions === 0) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    this.atsEnabled = (memory.readWord(page, word + 3) & DEVICE_TLB) !== 0;
    const guestValid = (high & GUEST_VALID) !== 0;
    if (pasid !== NO_PASID && !guestValid) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    const domainId = memory.readWord(page, word + 2) & DOMAIN_MASK;
    const usesGuest = pasid !== NO_PASID || (guestValid && (high & GUEST_IO) !== 0);
    if (!usesGuest && mode === 0) return this.passThrough(domainId, permissions);
    this.domainId = domainId;
    this.passthrough = false;
    this.permissions = permissions;
    const host = hostTables(addressPage(low, high), mode);
    if (!usesGuest) return this.chooseHost(host);
    return this.chooseGuest(page, word, pasid, mode === 0 ? null : host);
  }

  private passThrough(domainId: number, permissions: number): true {
    this.domainId = domainId;
    this.permissions = permissions;
    this.passthrough = true;
    this.tablePage = 0;
    this.levels = 0;
    return true;
  }

  private chooseHost(host: StageTables): true {
    this.stage = 2;
    this.format = host.format;
    this.accessBits = host.accessBits;
    this.tablePage = host.tablePage;
    this.levels = host.levels;
    return true;
  }

  private chooseGuest(page: number, word: number, pasid: number, host: StageTables | null): boolean {
    const space = pasid === NO_PASID ? 0 : pasid;
    if (!this.findGuestRoot(page, word, space)) return false;
    const levels = (this.memory.readWord(page, word + 5) >>> GUEST_PAGING_SHIFT) & GUEST_PAGING_MASK;
    if (levels + FEWEST_GUEST_LEVELS > MOST_GUEST_LEVELS) return this.refuse(FAULT_RESERVED_BITS);
    this.stage = 1;
    this.space = space;
    this.format = pasid === NO_PASID ? AMD_V2_WITHOUT_PASID : AMD_V2;
    this.accessBits = 'updated';
    this.tablePage = this.guestRoot;
    this.levels = levels + FEWEST_GUEST_LEVELS;
    this.second = host;
    return true;
  }

  /** Through the GCR3 tables to the root of a PASID's guest table. */
  private findGuestRoot(devicePage: number, deviceWord: number, pasid: number): boolean {
    const { memory } = this;
    const high = memory.readWord(devicePage, deviceWord + 1);
    const glx = (high >>> GUEST_LEVELS_SHIFT) & GUEST_LEVELS_MASK;
    if (glx === GUEST_LEVELS_RESERVED) return this.refuse(FAULT_RESERVED_BITS);
    if (pasid >= GCR3_ENTRIES ** (glx + 1)) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    let table =
      ((high >>> GCR3_14_12_SHIFT) & GCR3_14_12_MASK) +
      (memory.readWord(devicePage, deviceWord + 2) >>> GCR3_30_15_SHIFT) * GCR3_30_15_PAGES +
      (memory.readWord(devicePage, deviceWord + 3) >>> GCR3_51_31_SHIFT) * GCR3_51_31_PAGES;
    for (let level = glx; level >= 0; level -= 1) {
      if (table >= memory.pages) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
      const word = ((pasid >>> (9 * level)) % GCR3_ENTRIES) * 2;
      const low = memory.readWord(table, word);
      this.lookupReads += 1;
      if ((low & VALID) === 0) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
      table = addressPage(low, memory.readWord(table, word + 1));
    }
    this.guestRoot = table;
    return true;
  }
}

function hostTables(tablePage: number, levels: number): StageTables {
  return { format: AMD_V1, accessBits: 'ignored', tablePage, levels, endPage: Infinity };
}
