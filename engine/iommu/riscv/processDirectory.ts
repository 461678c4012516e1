/**
 * The process directory of a device behind a RISC-V IOMMU: tables of one to three levels, at whose leaves a process context of 16
 * bytes stands for each process id, a PASID on PCIe (RISC-V IOMMU specification 1.0, 2.2 and 2.3.2). A process id is cut into 3, 9 and
 * 8 bits. Where the device has a second stage the directory lies at guest addresses. Here are both sides: what software writes, and
 * what the hardware reads.
 *
 * Process context: 0 V, 1 ENS, 2 SUM, 31:12 PSCID; 107:64 fsc.PPN, 127:124 fsc.MODE (0 none, 8 Sv39, 9 Sv48, 10 Sv57).
 * Leaves out: supervisor requests (ENS, SUM).
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { stageLevels, MODE_BARE, MODE_BASE } from './deviceDirectory.ts';
import { isPlainPointer, pointerHigh, pointerLow, pointerPage, VALID } from './directoryEntry.ts';
import {
  NO_CAUSE,
  PDT_ENTRY_ACCESS_FAULT,
  PDT_ENTRY_MISCONFIGURED,
  PDT_ENTRY_NOT_VALID,
  TYPE_DISALLOWED,
} from './riscvCauses.ts';

const INDEX_BITS = [8, 9, 3] as const;
const SHIFTS = [0, 8, 17, 20] as const;
const ENTRY_WORDS = 2;
const CONTEXT_WORDS = 4;
const PSCID_SHIFT = 12;
const MODE_SHIFT = 28;
const PPN_HIGH_MASK = 0xfff;
const LOW_PAGES = 2 ** 32;
/** Bits 11:3 of ta. */
const RESERVED_ATTRIBUTES = 0xff8;

export interface ProcessContext {
  readonly pscid: number;
  readonly tablePage: number;
  /** 0: no first stage. */
  readonly levels: number;
}

/** A guest page's page of memory; -1 where the second stage refuses. */
export type GuestPages = (page: number) => number;

/** `levels`: 1, 2 or 3 (PD8, PD17, PD20). Pages are those of memory, so no second stage is asked. */
export function writeProcessContext(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  rootPage: number,
  levels: number,
  processId: number,
  context: ProcessContext,
): void {
  let page = rootPage;
  for (let level = levels - 1; level > 0; level -= 1) {
    const word = indexOf(processId, level) * ENTRY_WORDS;
    if ((memory.readWord(page, word) & VALID) === 0) {
      const table = frames.allocatePage();
      memory.writeWord(page, word + 1, pointerHigh(table));
      memory.writeWord(page, word, pointerLow(table));
    }
    page = pointerPage(memory.readWord(page, word), memory.readWord(page, word + 1));
  }
  const word = indexOf(processId, 0) * CONTEXT_WORDS;
  const mode = context.levels === 0 ? MODE_BARE : context.levels + MODE_BASE;
  memory.writeWord(page, word + 1, 0);
  memory.writeWord(page, word + 2, context.tablePage >>> 0);
  memory.writeWord(page, word + 3, (Math.floor(context.tablePage / LOW_PAGES) | (mode << MODE_SHIFT)) >>> 0);
  memory.writeWord(page, word, ((context.pscid << PSCID_SHIFT) | VALID) >>> 0);
}

function indexOf(processId: number, level: number): number {
  return (processId >>> SHIFTS[level]!) % 2 ** INDEX_BITS[level]!;
}

/** What the hardware reads of a process; fields are valid after `read` returned true. */
export class ProcessDirectoryReader {
  reads = 0;
  cause = NO_CAUSE;
  /** The second stage refused a page of the directory; the cause is then that of the access. */
  guestFault = false;
  pscid = 0;
  tablePage = 0;
  levels = 0;
  private readonly memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** `guest`: null where the device has no second stage. */
  read(rootPage: number, levels: number, processId: number, guest: GuestPages | null): boolean {
    const { memory } = this;
    this.reads = 0;
    this.guestFault = false;
    if (processId >= 2 ** SHIFTS[levels]!) return this.refuse(TYPE_DISALLOWED);
    let page = rootPage;
    for (let level = levels - 1; ; level -= 1) {
      const place = guest === null ? page : guest(page);
      if (place < 0) {
        this.guestFault = true;
        return false;
      }
      if (place >= memory.pages) return this.refuse(PDT_ENTRY_ACCESS_FAULT);
      this.reads += 1;
      if (level === 0) return this.decode(place, indexOf(processId, 0) * CONTEXT_WORDS);
      const word = indexOf(processId, level) * ENTRY_WORDS;
      const low = memory.readWord(place, word);
      const high = memory.readWord(place, word + 1);
      if ((low & VALID) === 0) return this.refuse(PDT_ENTRY_NOT_VALID);
      if (!isPlainPointer(low, high)) return this.refuse(PDT_ENTRY_MISCONFIGURED);
      page = pointerPage(low, high);
    }
  }

  private decode(page: number, word: number): boolean {
    const { memory } = this;
    const attributes = memory.readWord(page, word);
    if ((attributes & VALID) === 0) return this.refuse(PDT_ENTRY_NOT_VALID);
    const high = memory.readWord(page, word + 3);
    this.pscid = attributes >>> PSCID_SHIFT;
    this.levels = stageLevels(high >>> MODE_SHIFT);
    this.tablePage = memory.readWord(page, word + 2) + (high & PPN_HIGH_MASK) * LOW_PAGES;
    this.cause = NO_CAUSE;
    const reserved =
      (attributes & RESERVED_ATTRIBUTES) !== 0 || memory.readWord(page, word + 1) !== 0 || (high & 0x0fff_f000) !== 0;
    return reserved || this.levels < 0 ? this.refuse(PDT_ENTRY_MISCONFIGURED) : true;
  }

  private refuse(cause: number): false {
    this.cause = cause;
    return false;
  }
}
