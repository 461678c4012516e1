/**
 * Two-stage walks (VT-d specification 3.8; RISC-V privileged architecture, 21.5) over random tables against naiveNested.ts: addresses, sizes,
 * permissions, the stage that refuses and the count of reads. `RANDOM_WALKS=1000000 npx vitest run nestedWalker
 * --testTimeout 300000` makes a million.
 */
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { RandomStream } from '../../time/random.ts';
import { AMD_V1 } from '../formats/amdV1.ts';
import { AMD_V2 } from '../formats/amdV2.ts';
import {
  naiveFirstStage,
  naiveNestedWalk,
  naiveRiscvStage,
  naiveSecondStage,
  type NaiveStage,
} from '../formats/naiveNested.ts';
import { entryIndex, PAGES_PER_ENTRY, READ, READ_WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { RISCV_SVX4 } from '../formats/riscvSvx4.ts';
import { VTD_FIRST_STAGE } from '../formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import { NestedWalker } from './nestedWalker.ts';

const MEMORY_PAGES = 2 ** 21;
const ROUNDS = Math.ceil(Number(process.env['RANDOM_WALKS'] ?? 12_000) / 120);
const WALKS_PER_TREE = 40;

/** Tables of both stages in one memory. Guest page g lies at host page g + OFFSET, until a mapping says otherwise. */
class Trees {
  readonly memory = new PhysicalMemory(MEMORY_PAGES * 4096);
  private next = 16;

  table(pages = 1): number {
    this.next = Math.ceil(this.next / pages) * pages;
    const page = this.next;
    this.next += pages;
    return page;
  }

  /** Puts a leaf with the tables above it, as far as entries are not taken. `place`: where a table page of this stage really lies. */
  map(
    format: PageTableFormat,
    root: number,
    levels: number,
    page: number,
    leaf: { level: number; target: number; permissions: number },
    place: (tablePage: number) => number,
    newTable: () => number,
  ): void {
    let table = root;
    for (let level = levels - 1; level >= leaf.level; level -= 1) {
      const index = entryIndex(format, page, level, level === levels - 1);
      const at = place(table + Math.floor(index / 512));
      const word = (index % 512) * 2;
      if (level === leaf.level) {
        const pages = PAGES_PER_ENTRY[level]!;
        const target = leaf.target - (leaf.target % pages);
        this.memory.writeWord(at, word, format.leafLow(target, level, pages, leaf.permissions));
        this.memory.writeWord(at, word + 1, format.leafHigh(target, level, pages, leaf.permissions));
        return;
      }
      const low = this.memory.readWord(at, word);
      const high = this.memory.readWord(at, word + 1);
      if (format.permissions(low, high, level) !== 0) {
        if (format.isLeaf(low, level)) return;
        table = format.target(low, high, level);
      } else {
        table = newTable();
        this.memory.writeWord(at, word, format.tableLow(table, level));
        this.memory.writeWord(at, word + 1, format.tableHigh(table));
      }
    }
  }
}

const PAIRS: readonly (readonly [PageTableFormat, number, NaiveStage, PageTableFormat, number, NaiveStage])[] = [
  [RISCV_SV, 4, naiveRiscvStage(4, 0n), RISCV_SVX4, 4, naiveRiscvStage(4, 2n)],
  [RISCV_SV, 3, naiveRiscvStage(3, 0n), RISCV_SVX4, 5, naiveRiscvStage(5, 2n)],
  [VTD_FIRST_STAGE, 5, naiveFirstStage(5), VTD_SECOND_STAGE, 4, naiveSecondStage(4)],
];

describe.each(PAIRS)('%#: two stages', (first, firstLevels, naiveFirst, second, secondLevels, naiveSecond) => {
  it('come to the same end as a plain walk of both', () => {
    const random = new RandomStream(77).fork(`${first.name}${String(firstLevels)}`);
    let granted = 0;
    let refusedBySecond = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const trees = new Trees();
      const secondRoot = trees.table(second.rootTables);
      const hostOf = new Map<number, number>();
      let guestTables = 0;
      const mapGuest = (guest: number, level: number, target: number, permissions: number): void => {
        trees.map(
          second,
          secondRoot,
          secondLevels,
          guest,
          { level, target, permissions },
          (page) => page,
          () => trees.table(),
        );
      };
      const guestTable = (): number => {
        // guest tables lie apart in the guest's addresses and anywhere in the host's
        const guest = 2 ** 20 + guestTables * 3;
        guestTables += 1;
        const host = trees.table();
        hostOf.set(guest, host);
        mapGuest(guest, 0, host, random.below(5) === 0 ? READ : READ_WRITE);
        return guest;
      };
      const firstRoot = guestTable();
      const pages: number[] = [];
      for (let mapping = 0; mapping < 12; mapping += 1) {
        const page =
          random.below(3) * PAGES_PER_ENTRY[firstLevels - 1]! +
          random.below(3) * 2 ** 18 +
          random.below(3) * 512 +
          random.below(3);
        const guest = random.below(2 ** 19);
        const level = random.below(3);
        trees.map(
          first,
          firstRoot,
          firstLevels,
          page,
          { level, target: guest, permissions: random.below(4) === 0 ? READ : READ_WRITE },
          (table) => hostOf.get(table)!,
          guestTable,
        );
        const inLeaf = PAGES_PER_ENTRY[level]!;
        const reached = guest - (guest % inLeaf) + (page % inLeaf);
        mapGuest(reached, random.below(3), random.below(2 ** 20), random.below(4) === 0 ? READ : READ_WRITE);
        pages.push(page);
      }
      // a few bits anywhere in the tables turn
      for (let turned = 0; turned < 3; turned += 1) {
        const page = 16 + random.below(40);
        const word = random.below(3) * 2 + random.below(2);
        trees.memory.writeWord(page, word, (trees.memory.readWord(page, word) ^ (1 << random.below(32))) >>> 0);
      }
      const walker = new NestedWalker(trees.memory, first, second);
      for (let walk = 0; walk < WALKS_PER_TREE; walk += 1) {
        let page = pages[random.below(pages.length)]!;
        if (random.below(4) === 0) page += random.below(600);
        if (random.below(12) === 0) page += 2 ** 51;
        if (random.below(24) === 0) page = 2 ** 52 - 1 - page;
        const write = random.below(2) === 1;
        const found = walker.walkBothStages(1, page, write, firstRoot, firstLevels, secondRoot, secondLevels);
        const naive = naiveNestedWalk(
          trees.memory,
          naiveFirst,
          BigInt(firstRoot) << 12n,
          naiveSecond,
          BigInt(secondRoot) << 12n,
          BigInt(page) << 12n,
          write,
        );
        if (typeof naive === 'number') {
          expect([found, walker.faultStage]).toEqual([false, naive]);
          if (naive === 2) refusedBySecond += 1;
          continue;
        }
        granted += 1;
        expect([found, walker.reads]).toEqual([true, naive.reads]);
        expect(BigInt(walker.physPage(page)) << 12n).toBe(naive.phys);
        expect(walker.level).toBe(naive.sizeBits >= 30n ? 2 : naive.sizeBits >= 21n ? 1 : 0);
        expect((walker.permissions & 2) !== 0).toBe(naive.write);
        // the log has the reads in order, the last one of the second stage
        expect(walker.readTables[0]).toBe(
          secondRoot + Math.floor(entryIndex(second, firstRoot, secondLevels - 1, true) / 512),
        );
      }
    }
    expect(granted).toBeGreaterThan(ROUNDS * 8);
    expect(refusedBySecond).toBeGreaterThan(ROUNDS);
  });
});

/** Four levels over four, one leaf of each; every table at the same page in both. */
function small(first: PageTableFormat, second: PageTableFormat) {
  const trees = new Trees();
  const secondRoot = trees.table(second.rootTables);
  const guest = (): number => {
    const page = trees.table();
    trees.map(
      second,
      secondRoot,
      4,
      page,
      { level: 0, target: page, permissions: READ_WRITE },
      (at) => at,
      () => trees.table(),
    );
    return page;
  };
  const root = guest();
  trees.map(first, root, 4, 5, { level: 0, target: 0x500, permissions: READ_WRITE }, (at) => at, guest);
  const behind = (permissions: number): void => {
    trees.map(
      second,
      secondRoot,
      4,
      0x500,
      { level: 0, target: 0x777, permissions },
      (at) => at,
      () => trees.table(),
    );
  };
  behind(READ_WRITE);
  return { memory: trees.memory, root, secondRoot, behind };
}

describe('a two-stage walk', () => {
  it('reads (n + 1)(m + 1) - 1 entries', () => {
    const { memory, root, secondRoot } = small(AMD_V2, AMD_V1);
    const walker = new NestedWalker(memory, AMD_V2, AMD_V1);
    expect(walker.walkBothStages(1, 5, true, root, 4, secondRoot, 4)).toBe(true);
    expect([walker.reads, walker.physPage(5)]).toEqual([24, 0x777]);
  });

  it('tells the stage that refuses, and allows what both allow', () => {
    const { memory, root, secondRoot, behind } = small(VTD_FIRST_STAGE, VTD_SECOND_STAGE);
    const walker = new NestedWalker(memory, VTD_FIRST_STAGE, VTD_SECOND_STAGE);
    behind(READ);
    expect(walker.walkBothStages(1, 5, false, root, 4, secondRoot, 4)).toBe(true);
    expect(walker.permissions).toBe(READ);
    expect([walker.walkFromRoot(1, 5, true, root, 4), walker.faultStage]).toEqual([false, 2]);
    expect([walker.walkFromRoot(1, 6, true, root, 4), walker.faultStage]).toEqual([false, 1]);
  });

  it('sets bits of the first stage only where the second allows writes (RISC-V 21.5)', () => {
    const { memory, root, secondRoot } = small(RISCV_SV, RISCV_SVX4);
    const walker = new NestedWalker(memory, RISCV_SV, RISCV_SVX4, 'updated', 'updated');
    expect(walker.walkBothStages(1, 5, true, root, 4, secondRoot, 4)).toBe(true);
    const { readTables, readIndexes, reads } = walker;
    // before the last five reads, of the memory behind the leaf: the leaf's own
    const table = readTables[reads - 5]!;
    const word = readIndexes[reads - 5]! * 2;
    const low = memory.readWord(table, word);
    memory.writeWord(table, word, low & ~0xc0);
    expect(walker.walkFromRoot(1, 5, false, root, 4)).toBe(true);
    expect(memory.readWord(table, word)).toBe(low & ~0x80);
    expect(walker.permissions).toBe(READ);
    expect(walker.walkFromRoot(1, 5, true, root, 4)).toBe(true);
    expect(memory.readWord(table, word)).toBe(low);
    // the second stage's leaf of that table, read just before it: no writes any more
    memory.writeWord(table, word, low & ~0xc0);
    walker.walkFromRoot(1, 6, false, root, 4);
    const parent = walker.readTables[walker.reads - 2]!;
    const slot = walker.readIndexes[walker.reads - 2]! * 2;
    memory.writeWord(parent, slot, memory.readWord(parent, slot) & ~0x84);
    expect([walker.walkFromRoot(1, 5, false, root, 4), walker.faultStage]).toEqual([false, 2]);
    expect(memory.readWord(table, word)).toBe(low & ~0xc0);
  });
});
