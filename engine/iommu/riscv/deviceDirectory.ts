/**
 * The device directory of a RISC-V IOMMU: tables of one to three levels, at whose leaves a device context stands for each device id
 * (RISC-V IOMMU specification 1.0, 2.1 and 2.3.1). Here are both sides: what software writes, and what the hardware reads.
 *
 * A device id is cut into 8, 9 and 7 bits where a context has 32 bytes, into 9, 9 and 6 where it has 64 (with MSI translation).
 * Non-leaf entry: 0 V, 53:10 PPN, the rest reserved.
 *
 * | bits    | name          | meaning                                                          |
 * | ------- | ------------- | ---------------------------------------------------------------- |
 * | 0       | tc.V          | the context is valid                                             |
 * | 1       | tc.EN_ATS     | translation requests are answered                                |
 * | 2       | tc.EN_PRI     | page requests are taken                                          |
 * | 3       | tc.T2GPA      | they are answered with guest addresses                           |
 * | 4       | tc.DTF        | no records of faults                                             |
 * | 5       | tc.PDTV       | fsc names a process directory, not a table                       |
 * | 6       | tc.PRPR       | responses to page requests carry the PASID                       |
 * | 7       | tc.GADE       | the second stage's accessed and dirty bits are set by hardware   |
 * | 8       | tc.SADE       | the first stage's                                                |
 * | 9       | tc.DPE        | requests without a process id are of process 0                   |
 * | 10, 11  | tc.SBE, SXL   | byte order and width of tables                                   |
 * | 107:64  | iohgatp.PPN   | root of the second stage, on a boundary of 16 KiB                |
 * | 123:108 | iohgatp.GSCID | tag of the guest                                                 |
 * | 127:124 | iohgatp.MODE  | 0 none, 8 Sv39x4, 9 Sv48x4, 10 Sv57x4                            |
 * | 159:140 | ta.PSCID      | tag of the address space                                         |
 * | 235:192 | fsc.PPN       | root of the first stage, or of the process directory             |
 * | 255:252 | fsc.MODE      | 0 none; 8 Sv39, 9 Sv48, 10 Sv57; of a process directory 1 to 3   |
 *
 * Leaves out: MSI translation, quality of service, big-endian and 32-bit tables.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import {
  ALL_DISALLOWED,
  DDT_ENTRY_ACCESS_FAULT,
  DDT_ENTRY_MISCONFIGURED,
  DDT_ENTRY_NOT_VALID,
  NO_CAUSE,
  TYPE_DISALLOWED,
} from './riscvCauses.ts';
import { isPlainPointer, pointerHigh, pointerLow, pointerPage, VALID } from './directoryEntry.ts';

const EN_ATS = 1 << 1;
const EN_PRI = 1 << 2;
const T2GPA = 1 << 3;
const PDTV = 1 << 5;
const PRPR = 1 << 6;
const GADE = 1 << 7;
const SADE = 1 << 8;
const DPE = 1 << 9;
/** tc bits that this emulator has; SBE, SXL, reserved and custom bits are not among them. */
const KNOWN_CONTROL = 0x3ff;
const MODE_SHIFT = 28;
const GSCID_SHIFT = 12;
const GSCID_MASK = 0xffff;
const PPN_HIGH_MASK = 0xfff;
const LOW_PAGES = 2 ** 32;
const PSCID_SHIFT = 12;
const SECOND_ROOT_PAGES = 4;
const ENTRY_WORDS = 2;

export const MODE_BARE = 0;
/** Mode of a first or second stage is its levels and this. */
export const MODE_BASE = 5;

/** ddtp: how the directory is laid out. */
export interface DirectoryLayout {
  readonly levels: 1 | 2 | 3;
  /** Contexts of 64 bytes. */
  readonly extended: boolean;
}

/** What Linux asks for first (`riscv_iommu_iodir_set_mode`, RISCV_IOMMU_DDTP_IOMMU_MODE_MAX). */
export const LINUX_DIRECTORY: DirectoryLayout = { levels: 3, extended: false };

export interface DeviceContext {
  /** 0: none. */
  readonly secondLevels?: number;
  readonly secondTablePage?: number;
  readonly gscid?: number;
  readonly pscid?: number;
  /** Levels of the first stage, or of the process directory; 0: none. */
  readonly firstLevels?: number;
  readonly firstPage?: number;
  /** `firstPage` is a process directory of so many levels. */
  readonly processDirectory?: boolean;
  readonly ats?: boolean;
  readonly processZeroByDefault?: boolean;
  readonly firstUpdates?: boolean;
  readonly secondUpdates?: boolean;
}

/** Bits of a device id that index a level, from the leaf up. */
function indexBits(layout: DirectoryLayout, level: number): number {
  if (level === 0) return layout.extended ? 6 : 7;
  return level === 2 && !layout.extended ? 8 : 9;
}

function shiftOf(layout: DirectoryLayout, level: number): number {
  let shift = 0;
  for (let below = 0; below < level; below += 1) shift += indexBits(layout, below);
  return shift;
}

function indexOf(layout: DirectoryLayout, deviceId: number, level: number): number {
  return Math.floor(deviceId / 2 ** shiftOf(layout, level)) % 2 ** indexBits(layout, level);
}

function contextWords(layout: DirectoryLayout): number {
  return layout.extended ? 16 : 8;
}

/** Writes a device's context, with the tables above it made as needed. */
export function writeDeviceContext(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  rootPage: number,
  layout: DirectoryLayout,
  deviceId: number,
  context: DeviceContext,
): void {
  let page = rootPage;
  for (let level = layout.levels - 1; level > 0; level -= 1) {
    const word = indexOf(layout, deviceId, level) * ENTRY_WORDS;
    if ((memory.readWord(page, word) & VALID) === 0) {
      const table = frames.allocatePage();
      memory.writeWord(page, word + 1, pointerHigh(table));
      memory.writeWord(page, word, pointerLow(table));
    }
    page = pointerPage(memory.readWord(page, word), memory.readWord(page, word + 1));
  }
  const word = indexOf(layout, deviceId, 0) * contextWords(layout);
  const { secondLevels = 0, secondTablePage = 0, gscid = 0, firstLevels = 0, firstPage = 0 } = context;
  const processes = context.processDirectory === true;
  memory.writeWord(page, word, 0);
  memory.writeWord(page, word + 1, 0);
  memory.writeWord(page, word + 2, secondTablePage >>> 0);
  memory.writeWord(
    page,
    word + 3,
    (Math.floor(secondTablePage / LOW_PAGES) | (gscid << GSCID_SHIFT) | (stageMode(secondLevels) << MODE_SHIFT)) >>> 0,
  );
  memory.writeWord(page, word + 4, ((context.pscid ?? 0) << PSCID_SHIFT) >>> 0);
  memory.writeWord(page, word + 5, 0);
  const mode = processes ? firstLevels : stageMode(firstLevels);
  memory.writeWord(page, word + 6, firstPage >>> 0);
  memory.writeWord(page, word + 7, (Math.floor(firstPage / LOW_PAGES) | (mode << MODE_SHIFT)) >>> 0);
  const control =
    (context.ats === true ? EN_ATS : 0) |
    (processes ? PDTV : 0) |
    (context.processZeroByDefault === true ? DPE : 0) |
    (context.firstUpdates === true ? SADE : 0) |
    (context.secondUpdates === true ? GADE : 0);
  memory.writeWord(page, word, control | VALID);
}

function stageMode(levels: number): number {
  return levels === 0 ? MODE_BARE : levels + MODE_BASE;
}

/** Levels of a stage's mode; -1 where there is no such mode. */
export function stageLevels(mode: number): number {
  if (mode === MODE_BARE) return 0;
  return mode >= 8 && mode <= 10 ? mode - MODE_BASE : -1;
}

/** What the hardware reads of a device; fields are valid after `read` returned true. */
export class DeviceDirectoryReader {
  /** Entries read. */
  reads = 0;
  cause = NO_CAUSE;
  atsEnabled = false;
  pageRequests = false;
  processDirectory = false;
  processZeroByDefault = false;
  firstUpdates = false;
  secondUpdates = false;
  /** 0: no second stage. */
  secondLevels = 0;
  secondTablePage = 0;
  gscid = 0;
  pscid = 0;
  /** Of the first stage or the process directory; 0: none. */
  firstLevels = 0;
  firstPage = 0;
  private readonly memory: PhysicalMemory;
  private readonly layout: DirectoryLayout;

  constructor(memory: PhysicalMemory, layout: DirectoryLayout) {
    this.memory = memory;
    this.layout = layout;
  }

  read(rootPage: number, deviceId: number): boolean {
    const { memory, layout } = this;
    this.reads = 0;
    if (rootPage < 0) return this.refuse(ALL_DISALLOWED);
    if (deviceId >= 2 ** shiftOf(layout, layout.levels)) return this.refuse(TYPE_DISALLOWED);
    let page = rootPage;
    for (let level = layout.levels - 1; level > 0; level -= 1) {
      const word = indexOf(layout, deviceId, level) * ENTRY_WORDS;
      if (page >= memory.pages) return this.refuse(DDT_ENTRY_ACCESS_FAULT);
      const low = memory.readWord(page, word);
      const high = memory.readWord(page, word + 1);
      this.reads += 1;
      if ((low & VALID) === 0) return this.refuse(DDT_ENTRY_NOT_VALID);
      if (!isPlainPointer(low, high)) return this.refuse(DDT_ENTRY_MISCONFIGURED);
      page = pointerPage(low, high);
    }
    this.reads += 1;
    return this.decode(page, indexOf(layout, deviceId, 0) * contextWords(layout));
  }

  private decode(page: number, word: number): boolean {
    const { memory } = this;
    if (page >= memory.pages) return this.refuse(DDT_ENTRY_ACCESS_FAULT);
    const control = memory.readWord(page, word);
    if ((control & VALID) === 0) return this.refuse(DDT_ENTRY_NOT_VALID);
    this.cause = NO_CAUSE;
    this.atsEnabled = (control & EN_ATS) !== 0;
    this.pageRequests = (control & EN_PRI) !== 0;
    this.processDirectory = (control & PDTV) !== 0;
    this.processZeroByDefault = (control & DPE) !== 0;
    this.firstUpdates = (control & SADE) !== 0;
    this.secondUpdates = (control & GADE) !== 0;
    const second = memory.readWord(page, word + 3);
    this.secondTablePage = memory.readWord(page, word + 2) + (second & PPN_HIGH_MASK) * LOW_PAGES;
    this.gscid = (second >>> GSCID_SHIFT) & GSCID_MASK;
    this.secondLevels = stageLevels(second >>> MODE_SHIFT);
    this.pscid = memory.readWord(page, word + 4) >>> PSCID_SHIFT;
    const first = memory.readWord(page, word + 7);
    const mode = first >>> MODE_SHIFT;
    this.firstPage = memory.readWord(page, word + 6) + (first & PPN_HIGH_MASK) * LOW_PAGES;
    this.firstLevels = this.processDirectory ? (mode <= 3 ? mode : -1) : stageLevels(mode);
    const reserved =
      (control & ~KNOWN_CONTROL) !== 0 ||
      memory.readWord(page, word + 1) !== 0 ||
      (memory.readWord(page, word + 4) & 0xfff) !== 0 ||
      memory.readWord(page, word + 5) !== 0 ||
      // bits 59:44 of fsc
      (first & 0x0fff_f000) !== 0;
    return reserved || this.contradictory(control) ? this.refuse(DDT_ENTRY_MISCONFIGURED) : true;
  }

  /** 2.1.4: what a valid context may not say. */
  private contradictory(control: number): boolean {
    const { secondLevels, secondTablePage, firstLevels } = this;
    if (secondLevels < 0 || firstLevels < 0) return true;
    if (secondLevels > 0 && secondTablePage % SECOND_ROOT_PAGES !== 0) return true;
    if (!this.atsEnabled && (control & (EN_PRI | T2GPA)) !== 0) return true;
    if (!this.pageRequests && (control & PRPR) !== 0) return true;
    if ((control & T2GPA) !== 0 && secondLevels === 0) return true;
    return this.processZeroByDefault && !this.processDirectory;
  }

  private refuse(cause: number): false {
    this.cause = cause;
    return false;
  }
}
