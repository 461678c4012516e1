/**
 * The whole lookup of scalable mode, for requests with a PASID and without (VT-d specification 3.4.3, 9.2 and 9.4 to 9.6): root entry, context
 * entry, entry of the PASID directory, PASID entry. What Linux writes for plain requests is scalableTable.ts; here is every translation type.
 *
 * Context entry: 0 P, 2 DTE (translation requests are allowed), 3 PASIDE (requests with a PASID are allowed), 11:9 PDTS (the directory has 2^(PDTS + 7) entries), 63:12 PASIDDIRPTR,
 * 83:64 RID_PASID. PASID directory entry: 0 P, 63:12 SMPTBLPTR.
 *
 * PASID entry, 512 bits:
 *
 * | bit     | name    | meaning                                                              |
 * | ------- | ------- | -------------------------------------------------------------------- |
 * | 0       | P       | present                                                              |
 * | 4:2     | AW      | levels of the second stage less 2                                    |
 * | 8:6     | PGTT    | 1 first stage, 2 second stage, 3 nested, 4 pass-through              |
 * | 9       | SSADE   | hardware keeps accessed and dirty bits of the second stage           |
 * | 63:12   | SSPTPTR | root of the second-stage table                                       |
 * | 79:64   | DID     | domain                                                               |
 * | 131:130 | FSPM    | levels of the first stage less 4                                     |
 * | 191:140 | FSPTPTR | root of the first-stage table, a guest's address where it is nested  |
 *
 * Leaves out: reserved bits, supervisor and execute requests, extended accessed flags, snoop and cache controls.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { addressPage } from '../formats/pageTableFormat.ts';
import { NO_SPACE } from '../caches/owner.ts';
import { DeviceContextReader, type StageTables } from '../deviceContext.ts';
import { NO_FAULT } from '../faults.ts';
import { VTD_FIRST_STAGE } from '../formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import {
  SCALABLE_CONTEXT_INACCESSIBLE,
  SCALABLE_CONTEXT_NOT_PRESENT,
  SCALABLE_DIRECTORY_INACCESSIBLE,
  SCALABLE_DIRECTORY_NOT_PRESENT,
  SCALABLE_PASID_INACCESSIBLE,
  SCALABLE_PASID_INVALID,
  SCALABLE_PASID_NOT_ENABLED,
  SCALABLE_PASID_NOT_PRESENT,
  SCALABLE_PASID_TOO_LARGE,
  SCALABLE_REQUEST_PASID,
  SCALABLE_ROOT_INACCESSIBLE,
  SCALABLE_ROOT_NOT_PRESENT,
} from './scalableFaults.ts';

const TRANSLATION_FIRST_STAGE = 1;
const TRANSLATION_SECOND_STAGE = 2;
const TRANSLATION_NESTED = 3;
const TRANSLATION_PASS_THROUGH = 4;

const PRESENT = 1 << 0;
const DEVICE_TLB_ENABLE = 1 << 2;
const PASID_ENABLE = 1 << 3;
const DIRECTORY_SIZE_SHIFT = 9;
const DIRECTORY_SIZE_MASK = 7;
/** PASIDs of the smallest directory: 2^7 entries, each for a table of 64. */
const FEWEST_PASIDS = 2 ** 13;
const PASID_MASK = 0xf_ffff;
const PASIDS_PER_TABLE = 64;
const DIRECTORY_ENTRIES_PER_PAGE = 512;
const SECOND_LEVELS_SHIFT = 2;
const SECOND_LEVELS_MASK = 7;
const FEWEST_SECOND_LEVELS = 3;
const MOST_SECOND_LEVELS = 5;
const TYPE_SHIFT = 6;
const TYPE_MASK = 7;
const SECOND_ACCESS_BITS = 1 << 9;
const DOMAIN_MASK = 0xffff;
const FIRST_LEVELS_SHIFT = 2;
const FIRST_LEVELS_MASK = 3;
const FEWEST_FIRST_LEVELS = 4;
const MOST_FIRST_LEVELS = 5;

export class PasidReader extends DeviceContextReader {
  /** Of the last read that returned true; tables as the translation type has them. `pasid`: the one that the entry is of. */
  type = TRANSLATION_PASS_THROUGH;
  pasid = 0;
  firstTable = 0;
  firstLevels = 0;
  secondTable = 0;
  secondLevels = 0;
  secondUpdates = false;

  constructor(memory: PhysicalMemory) {
    super(memory, VTD_FIRST_STAGE);
  }

  read(rootPage: number, sourceId: number, pasid: number): boolean {
    const { memory } = this;
    const upper = (sourceId & 0xff) >= 128;
    const rootWord = (sourceId >> 8) * 4 + (upper ? 2 : 0);
    this.lookupReads = 0;
    if (!this.reaches(rootPage)) return this.refuse(SCALABLE_ROOT_INACCESSIBLE);
    if ((memory.readWord(rootPage, rootWord) & PRESENT) === 0) return this.refuse(SCALABLE_ROOT_NOT_PRESENT);
    const context = this.pointer(rootPage, rootWord);
    const contextWord = (sourceId & 127) * 8;
    if (!this.reaches(context)) return this.refuse(SCALABLE_CONTEXT_INACCESSIBLE);
    const low = memory.readWord(context, contextWord);
    if ((low & PRESENT) === 0) return this.refuse(SCALABLE_CONTEXT_NOT_PRESENT);
    if (pasid !== NO_PASID && (low & PASID_ENABLE) === 0) return this.refuse(SCALABLE_PASID_NOT_ENABLED);
    this.pasid = pasid === NO_PASID ? memory.readWord(context, contextWord + 2) & PASID_MASK : pasid;
    this.atsEnabled = (low & DEVICE_TLB_ENABLE) !== 0;
    const size = (low >>> DIRECTORY_SIZE_SHIFT) & DIRECTORY_SIZE_MASK;
    if (this.pasid >= FEWEST_PASIDS * 2 ** size) {
      return this.refuse(pasid === NO_PASID ? SCALABLE_REQUEST_PASID : SCALABLE_PASID_TOO_LARGE);
    }
    return this.readDirectory(this.pointer(context, contextWord));
  }

  private readDirectory(directory: number): boolean {
    const { memory, pasid } = this;
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    const page = directory + Math.floor(index / DIRECTORY_ENTRIES_PER_PAGE);
    const word = (index % DIRECTORY_ENTRIES_PER_PAGE) * 2;
    if (!this.reaches(page)) return this.refuse(SCALABLE_DIRECTORY_INACCESSIBLE);
    if ((memory.readWord(page, word) & PRESENT) === 0) return this.refuse(SCALABLE_DIRECTORY_NOT_PRESENT);
    return this.readEntry(this.pointer(page, word), (pasid % PASIDS_PER_TABLE) * 16);
  }

  private readEntry(table: number, word: number): boolean {
    const { memory } = this;
    if (!this.reaches(table)) return this.refuse(SCALABLE_PASID_INACCESSIBLE);
    const low = memory.readWord(table, word);
    if ((low & PRESENT) === 0) return this.refuse(SCALABLE_PASID_NOT_PRESENT);
    const first = memory.readWord(table, word + 4);
    this.type = (low >>> TYPE_SHIFT) & TYPE_MASK;
    this.domainId = memory.readWord(table, word + 2) & DOMAIN_MASK;
    this.firstLevels = ((first >>> FIRST_LEVELS_SHIFT) & FIRST_LEVELS_MASK) + FEWEST_FIRST_LEVELS;
    this.firstTable = this.pointer(table, word + 4);
    this.secondLevels = ((low >>> SECOND_LEVELS_SHIFT) & SECOND_LEVELS_MASK) + 2;
    this.secondTable = this.pointer(table, word);
    this.secondUpdates = (low & SECOND_ACCESS_BITS) !== 0;
    const usesFirst = this.type === TRANSLATION_FIRST_STAGE || this.type === TRANSLATION_NESTED;
    const usesSecond = this.type === TRANSLATION_SECOND_STAGE || this.type === TRANSLATION_NESTED;
    const known = usesFirst || usesSecond || this.type === TRANSLATION_PASS_THROUGH;
    const secondFits = this.secondLevels >= FEWEST_SECOND_LEVELS && this.secondLevels <= MOST_SECOND_LEVELS;
    if (!known || (usesFirst && this.firstLevels > MOST_FIRST_LEVELS) || (usesSecond && !secondFits)) {
      return this.refuse(SCALABLE_PASID_INVALID);
    }
    this.fault = NO_FAULT;
    this.chooseTables(usesFirst, usesSecond);
    return true;
  }

  private chooseTables(usesFirst: boolean, usesSecond: boolean): void {
    const { firstTable, firstLevels, secondTable, secondLevels, secondUpdates } = this;
    const second: StageTables = {
      format: VTD_SECOND_STAGE,
      accessBits: secondUpdates ? 'updated' : 'ignored',
      tablePage: secondTable,
      levels: secondLevels,
      endPage: Infinity,
    };
    this.passthrough = !usesFirst && !usesSecond;
    this.stage = usesFirst ? 1 : 2;
    // what the domain alone decides is kept for all of its address spaces
    this.space = usesFirst ? this.pasid : NO_SPACE;
    this.format = usesFirst ? VTD_FIRST_STAGE : second.format;
    this.accessBits = usesFirst ? 'updated' : second.accessBits;
    this.tablePage = usesFirst ? firstTable : secondTable;
    this.levels = usesFirst ? firstLevels : secondLevels;
    this.second = usesFirst && usesSecond ? second : null;
  }

  /** Counts a read of an entry, and says whether there is memory where it lies. */
  private reaches(page: number): boolean {
    this.lookupReads += 1;
    return page >= 0 && page < this.memory.pages;
  }

  private pointer(page: number, word: number): number {
    return addressPage(this.memory.readWord(page, word), this.memory.readWord(page, word + 1));
  }
}
