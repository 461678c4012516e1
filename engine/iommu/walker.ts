/**
 * The functional page walk: second-stage tables read bit by bit from memory (VT-d specification 3.7). It says what a
 * translation is and which entries were read; when it is finished is the matter of iommu.ts.
 * Leaves out: first-stage and nested translation; the reserved address bits above the width of the host.
 */
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_READ_NOT_ALLOWED,
  FAULT_RESERVED_BITS,
  FAULT_WRITE_NOT_ALLOWED,
  NO_FAULT,
} from './faults.ts';
import type { PagingStructureCache } from './pagingStructureCache.ts';
import {
  HIGHEST_LEAF_LEVEL,
  PAGES_PER_ENTRY,
  SECOND_STAGE_PAGE_SIZE,
  SECOND_STAGE_PERMISSIONS,
  SECOND_STAGE_READ,
  SECOND_STAGE_WRITE,
  secondStageIndex,
  SECOND_STAGE_PAGES,
  secondStageTarget,
} from './vtdSecondStage.ts';

const LOWER_LEVELS_MASK = 512 ** 3 - 1;

export class Walker {
  private readonly memory: PhysicalMemory;
  /** Of the last walk: 0 or a fault reason; entries read; the leaf's level, first page, table and combined permissions. */
  fault = NO_FAULT;
  reads = 0;
  level = 0;
  leafPage = 0;
  leafTable = 0;
  permissions = 0;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /**
   * Walks from a table of level `startLevel`, which is the root's or one that a paging-structure cache knew, with the
   * permissions of the entries above it. Tables on the way are given to `caches`. True when there is a leaf that allows the
   * access.
   */
  walk(
    domainId: number,
    iovaPage: number,
    write: boolean,
    startTable: number,
    startLevel: number,
    startPermissions: number,
    caches: PagingStructureCache | null,
  ): boolean {
    const { memory } = this;
    let table = startTable;
    let permissions = startPermissions;
    this.reads = 0;
    // The three lower indices share one 32-bit integer, which keeps divisions out of the walk.
    const lower = iovaPage & LOWER_LEVELS_MASK;
    for (let level = startLevel; level >= 0; level -= 1) {
      const index = level < 3 ? (lower >>> (9 * level)) & 511 : secondStageIndex(iovaPage, level);
      const word = memory.locate(table) + index * 2;
      const low = memory.words[word]!;
      const target = secondStageTarget(low, memory.words[word + 1]!);
      this.reads += 1;
      permissions &= low;
      if ((low & SECOND_STAGE_PERMISSIONS) === 0) return this.refuse(write);
      if (level === 0 || (low & SECOND_STAGE_PAGE_SIZE) !== 0) {
        if (level > 0 && (level > HIGHEST_LEAF_LEVEL || (target & (PAGES_PER_ENTRY[level]! - 1)) !== 0)) {
          this.fault = FAULT_RESERVED_BITS;
          return false;
        }
        this.level = level;
        this.leafPage = target;
        this.leafTable = table;
        this.permissions = permissions;
        if ((permissions & (write ? SECOND_STAGE_WRITE : SECOND_STAGE_READ)) === 0) return this.refuse(write);
        this.fault = NO_FAULT;
        return true;
      }
      table = target;
      if (caches !== null) caches.fill(domainId, iovaPage, level - 1, table, permissions);
    }
    return this.refuse(write);
  }

  /** A walk from the root of a domain. */
  walkFromRoot(domainId: number, iovaPage: number, write: boolean, rootTable: number, levels: number): boolean {
    if (iovaPage >= SECOND_STAGE_PAGES[levels]!) {
      this.reads = 0;
      this.fault = FAULT_ADDRESS_BEYOND_WIDTH;
      return false;
    }
    return this.walk(domainId, iovaPage, write, rootTable, levels - 1, SECOND_STAGE_PERMISSIONS, null);
  }

  /** Whether the entry of a leaf still says what it said when it was read from this table. */
  stillMapped(iovaPage: number, level: number, leafPage: number, leafTable: number): boolean {
    const word = this.memory.locate(leafTable) + secondStageIndex(iovaPage, level) * 2;
    const low = this.memory.words[word]!;
    return (low & SECOND_STAGE_PERMISSIONS) !== 0 && secondStageTarget(low, this.memory.words[word + 1]!) === leafPage;
  }

  /** The physical page of a page inside the leaf that was found. */
  physPage(iovaPage: number): number {
    return this.level === 0 ? this.leafPage : this.leafPage + (iovaPage & (PAGES_PER_ENTRY[this.level]! - 1));
  }

  private refuse(write: boolean): false {
    this.fault = write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
    return false;
  }
}
