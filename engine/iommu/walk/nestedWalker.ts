/**
 * Two-stage translation: a guest's own tables, whose every address, of a table as of the memory behind a leaf, is a guest-physical one that a
 * second stage's tables translate (VT-d specification 3.8, nested translation; SMMUv3 specification IHI 0070, 3.3; RISC-V privileged
 * architecture, 21.5; AMD specification 48882, 2.2.6). With n and m levels a walk reads up to (n + 1)(m + 1) - 1 entries.
 *
 * What a walk yields is as large as the smaller of both leaves, and allows what both allow; `faultStage` tells which stage refused. Tables are
 * read with the second stage's permission to read; to set an accessed or dirty bit of the first stage it must allow to write. Paging-structure
 * caches given to a walk keep the guest's addresses of tables, which go through the second stage at every read, and beside them, for another
 * owner, the second stage's own tables.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { PageTableFormat } from '../formats/pageTableFormat.ts';
import type { AccessBits } from './accessBits.ts';
import { Walker } from './walker.ts';

/** Of guest-physical addresses the second stage says which exist. */
const ANY_GUEST_ADDRESS_BITS = 64;

export class NestedWalker extends Walker {
  constructor(
    memory: PhysicalMemory,
    first: PageTableFormat,
    second: PageTableFormat,
    firstAccessBits: AccessBits = 'ignored',
    secondAccessBits: AccessBits = 'ignored',
    hostAddressBits?: number,
  ) {
    const secondWalker = new Walker(memory, second, secondAccessBits, hostAddressBits);
    super(memory, first, firstAccessBits, ANY_GUEST_ADDRESS_BITS, secondWalker);
  }

  /** A walk from the roots of both stages. The root of the first lies at a guest-physical page. */
  walkBothStages(
    owner: number,
    iovaPage: number,
    write: boolean,
    rootTable: number,
    levels: number,
    secondRootTable: number,
    secondLevels: number,
  ): boolean {
    this.setSecondStage(secondRootTable, secondLevels);
    return this.walkFromRoot(owner, iovaPage, write, rootTable, levels);
  }
}
