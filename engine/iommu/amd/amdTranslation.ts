/**
 * What AMD's IOMMU makes of one request, from requester id and PASID to a page of memory, without caches and time: device table entry, the
 * GCR3 tables that lead to a process's own page table, guest table (v2), host table (v1) or both (AMD specification 48882, 2.2.2, 2.2.6).
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
 * | 182:181 | GPTM   | levels of the guest tables less 4                                              |
 *
 * An entry of a GCR3 table, 64 bits: 0 valid, 51:12 the next GCR3 table or, in the last level, the root of the guest's table. Every level has
 * 9 bits of the PASID. GCR3 tables lie at system addresses (GCR3TRPMode 0); where there is a host table as well, roots and everything below
 * them are the guest's addresses. Leaves out: host accessed and dirty bits (HAD), reserved bits, interrupt addresses.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import {
  FAULT_CONTEXT_NOT_PRESENT,
  FAULT_READ_NOT_ALLOWED,
  FAULT_RESERVED_BITS,
  FAULT_ROOT_NOT_PRESENT,
  FAULT_WRITE_NOT_ALLOWED,
  NO_FAULT,
} from '../faults.ts';
import { AMD_V1 } from '../formats/amdV1.ts';
import { AMD_V2, AMD_V2_WITHOUT_PASID } from '../formats/amdV2.ts';
import { addressPage, READ, READ_WRITE, WRITE } from '../formats/pageTableFormat.ts';
import { NestedWalker } from '../walk/nestedWalker.ts';
import { Walker } from '../walk/walker.ts';

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
/** Of the sixth word. */
const GUEST_PAGING_SHIFT = 21;
const GUEST_PAGING_MASK = 3;
const FEWEST_GUEST_LEVELS = 4;
const MOST_GUEST_LEVELS = 5;
const ENTRY_BYTES = 32;
const ENTRY_WORDS = ENTRY_BYTES / 4;
const ENTRIES_PER_PAGE = PAGE_SIZE / ENTRY_BYTES;
const GCR3_ENTRIES = 512;

export class AmdTranslation {
  /** Of the last request: the page, how many pages around it the answer covers, what is allowed, its tags, and why it was refused. */
  physPage = 0;
  pages = 1;
  permissions = 0;
  domainId = 0;
  pasid = 0;
  fault = NO_FAULT;
  /** The stage whose tables refused, the guest's 1 and the host's 2; 0: not a matter of tables. */
  faultStage: 0 | 1 | 2 = 0;
  /** Entries read of device and GCR3 tables, and of page tables. */
  lookupReads = 0;
  tableReads = 0;
  private readonly memory: PhysicalMemory;
  private readonly host: Walker;
  /** With a PASID, and without one. */
  private readonly guest: readonly [Walker, Walker];
  private readonly nested: readonly [NestedWalker, NestedWalker];
  private tableBase = -1;
  private guestRoot = 0;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
    this.host = new Walker(memory, AMD_V1);
    this.guest = [new Walker(memory, AMD_V2, 'updated'), new Walker(memory, AMD_V2_WITHOUT_PASID, 'updated')];
    this.nested = [
      new NestedWalker(memory, AMD_V2, AMD_V1, 'updated', 'ignored'),
      new NestedWalker(memory, AMD_V2_WITHOUT_PASID, AMD_V1, 'updated', 'ignored'),
    ];
  }

  setDeviceTable(page: number): void {
    this.tableBase = page;
  }

  /** `pasid`: NO_PASID for a request without one. */
  translate(sourceId: number, pasid: number, iovaPage: number, write: boolean): boolean {
    const { memory } = this;
    this.fault = NO_FAULT;
    this.faultStage = 0;
    this.domainId = 0;
    this.pasid = 0;
    this.tableReads = 0;
    this.lookupReads = 1;
    const page = this.tableBase + Math.floor(sourceId / ENTRIES_PER_PAGE);
    if (this.tableBase < 0 || page >= memory.pages) return this.refuse(FAULT_ROOT_NOT_PRESENT);
    const word = (sourceId % ENTRIES_PER_PAGE) * ENTRY_WORDS;
    const low = memory.readWord(page, word);
    const high = memory.readWord(page, word + 1);
    if ((low & VALID) === 0) return this.passThrough(iovaPage, READ_WRITE, write);
    if ((low & TRANSLATION_VALID) === 0) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    const mode = (low >>> MODE_SHIFT) & MODE_MASK;
    if (mode === MODE_RESERVED) return this.refuse(FAULT_RESERVED_BITS);
    const allowed = (high >>> PERMISSION_SHIFT) & READ_WRITE;
    this.domainId = memory.readWord(page, word + 2) & DOMAIN_MASK;
    const guestValid = (high & GUEST_VALID) !== 0;
    if (pasid !== NO_PASID && !guestValid) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    const hostTable = addressPage(low, high);
    if (pasid === NO_PASID && !(guestValid && (high & GUEST_IO) !== 0)) {
      if (mode === 0) return this.passThrough(iovaPage, allowed, write);
      return this.walk(this.host, iovaPage, write, hostTable, mode, allowed);
    }
    if (!this.findGuestRoot(page, word, pasid === NO_PASID ? 0 : pasid)) return false;
    const guestLevels =
      ((memory.readWord(page, word + 5) >>> GUEST_PAGING_SHIFT) & GUEST_PAGING_MASK) + FEWEST_GUEST_LEVELS;
    if (guestLevels > MOST_GUEST_LEVELS) return this.refuse(FAULT_RESERVED_BITS);
    const plain = pasid === NO_PASID ? 1 : 0;
    if (mode === 0) return this.walk(this.guest[plain], iovaPage, write, this.guestRoot, guestLevels, allowed);
    const nested = this.nested[plain];
    nested.setSecondStage(hostTable, mode);
    return this.walk(nested, iovaPage, write, this.guestRoot, guestLevels, allowed);
  }

  /** Through the GCR3 tables to the root of a PASID's guest table. */
  private findGuestRoot(devicePage: number, deviceWord: number, pasid: number): boolean {
    const { memory } = this;
    const high = memory.readWord(devicePage, deviceWord + 1);
    const glx = (high >>> GUEST_LEVELS_SHIFT) & GUEST_LEVELS_MASK;
    if (glx === GUEST_LEVELS_RESERVED) return this.refuse(FAULT_RESERVED_BITS);
    this.pasid = pasid;
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

  private walk(
    walker: Walker,
    iovaPage: number,
    write: boolean,
    table: number,
    levels: number,
    allowed: number,
  ): boolean {
    // what the device table forbids must not leave a dirty bit behind
    if ((allowed & (write ? WRITE : READ)) === 0) return this.forbid(write);
    const found = walker.walkFromRoot(this.domainId, iovaPage, write, table, levels);
    this.tableReads = walker.reads;
    if (!found) {
      this.faultStage = walker === this.host ? 2 : walker.faultStage;
      return this.refuse(walker.fault);
    }
    this.physPage = walker.physPage(iovaPage);
    this.pages = walker.coveredPages;
    this.permissions = walker.permissions & allowed;
    return true;
  }

  private passThrough(iovaPage: number, allowed: number, write: boolean): boolean {
    if ((allowed & (write ? WRITE : READ)) === 0) return this.forbid(write);
    this.physPage = iovaPage;
    this.pages = Infinity;
    this.permissions = allowed;
    return true;
  }

  private forbid(write: boolean): false {
    return this.refuse(write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED);
  }

  private refuse(fault: number): false {
    this.fault = fault;
    return false;
  }
}
