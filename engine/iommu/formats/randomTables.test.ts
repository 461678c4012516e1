/**
 * Every format against walkers written from the specifications' bit tables alone, over random tables and addresses: well-formed entries,
 * entries with a few bits turned, and garbage. `RANDOM_WALKS=1000000 npx vitest run randomTables --testTimeout 300000` makes a million walks of it.
 */
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { RandomStream } from '../../time/random.ts';
import { Walker } from '../walk/walker.ts';
import { AMD_V1 } from './amdV1.ts';
import { AMD_V2, AMD_V2_WITHOUT_PASID } from './amdV2.ts';
import { ARM_STAGE1_16K, ARM_STAGE1_4K, ARM_STAGE1_64K } from './armStage1.ts';
import { ARM_STAGE2_16K, ARM_STAGE2_4K, ARM_STAGE2_64K } from './armStage2.ts';
import { naiveWalk } from './naiveTables.ts';
import { naiveArmWalk, naiveRiscvWalk } from './naiveWalks.ts';
import { READ, READ_WRITE, type PageTableFormat } from './pageTableFormat.ts';
import { RISCV_SV } from './riscvSv.ts';
import { RISCV_SVX4 } from './riscvSvx4.ts';
import { VTD_FIRST_STAGE } from './vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from './vtdSecondStage.ts';

type NaiveRead = (memory: PhysicalMemory, root: bigint, address: bigint, write: boolean) => bigint | null;

interface Kind {
  readonly name: string;
  readonly format: PageTableFormat;
  readonly levels: number;
  readonly naive: NaiveRead;
  readonly checked: boolean;
}

const vtd = (format: PageTableFormat, levels: number): Kind => ({
  name: `${format.name}, ${levels} levels`,
  format,
  levels,
  checked: false,
  naive: (memory, root, address, write) => naiveWalk(memory, format.name, Number(root >> 12n), levels, address, write),
});

const arm = (format: PageTableFormat, stage: 1 | 2, granuleBits: bigint, levels: number): Kind => {
  const full = granuleBits + (granuleBits - 3n) * BigInt(levels) + (stage === 2 ? 4n : 0n);
  const width = full < 48n ? full : 48n;
  return {
    name: `${format.name}, ${levels} levels`,
    format,
    levels,
    checked: true,
    naive: (memory, root, address, write) =>
      naiveArmWalk(memory, stage, granuleBits, levels, width, root, address, write),
  };
};

const riscv = (format: PageTableFormat, levels: number, extra: bigint): Kind => ({
  name: `${format.name}, ${levels} levels`,
  format,
  levels,
  checked: true,
  naive: (memory, root, address, write) => naiveRiscvWalk(memory, levels, extra, root, address, write),
});

const KINDS: readonly Kind[] = [
  ...[3, 4, 5].map((levels) => vtd(VTD_SECOND_STAGE, levels)),
  ...[4, 5].map((levels) => vtd(VTD_FIRST_STAGE, levels)),
  ...[3, 4, 5, 6].map((levels) => vtd(AMD_V1, levels)),
  ...[4, 5].flatMap((levels) => [vtd(AMD_V2, levels), vtd(AMD_V2_WITHOUT_PASID, levels)]),
  ...[3, 4].flatMap((levels) => [arm(ARM_STAGE1_4K, 1, 12n, levels), arm(ARM_STAGE2_4K, 2, 12n, levels)]),
  ...[3, 4].flatMap((levels) => [arm(ARM_STAGE1_16K, 1, 14n, levels), arm(ARM_STAGE2_16K, 2, 14n, levels)]),
  ...[2, 3].flatMap((levels) => [arm(ARM_STAGE1_64K, 1, 16n, levels), arm(ARM_STAGE2_64K, 2, 16n, levels)]),
  ...[3, 4, 5].flatMap((levels) => [riscv(RISCV_SV, levels, 0n), riscv(RISCV_SVX4, levels, 2n)]),
];

const WALKS = Math.ceil(Number(process.env['RANDOM_WALKS'] ?? 300_000) / KINDS.length);
const WALKS_PER_TREE = 400;
const TREE_PAGES = 2048;

/** A tree of tables in which most walks get somewhere: each address drawn makes some of the entries on its way. */
class RandomTree {
  readonly memory = new PhysicalMemory(2 ** 40);
  readonly root: number;
  private readonly kind: Kind;
  private readonly random: RandomStream;
  private nextPage: number;

  constructor(kind: Kind, random: RandomStream) {
    this.kind = kind;
    this.random = random;
    const { granulePages, rootTables } = kind.format;
    this.nextPage = 16 * granulePages * rootTables;
    this.root = this.newTable(rootTables);
  }

  /** An address, with what the walk will meet on its way. */
  address(): bigint {
    const { format, levels } = this.kind;
    const { random } = this;
    const page = random.below(8) === 0 ? Math.floor(random.fraction() * 2 ** 52) : this.page();
    let table = this.root;
    for (let level = levels - 1; level >= 0; level -= 1) {
      const span = format.pagesPerEntry[level]!;
      const entries = level === levels - 1 ? Infinity : format.pagesPerEntry[level + 1]! / span;
      const slot = Math.floor(page / span);
      const index = entries === Infinity ? slot % this.topEntries() : slot % entries;
      const at = table + Math.floor(index / 512);
      const word = (index % 512) * 2;
      if (random.below(3) > 0 || this.memory.readWord(at, word) === 0) this.writeEntry(at, word, level);
      const low = this.memory.readWord(at, word);
      const high = this.memory.readWord(at, word + 1);
      if (level === 0 || format.permissions(low, high, level) === 0 || format.isLeaf(low, level)) break;
      const child = format.target(low, high, level);
      if (child >= 2 ** 28) break;
      table = child;
    }
    return BigInt(page) * 4096n + BigInt(random.below(4096));
  }

  private topEntries(): number {
    const { format, levels } = this.kind;
    return (format.pagesPerEntry[levels]! / format.pagesPerEntry[levels - 1]!) * format.rootTables;
  }

  /** Few different indices on each level, so that walks meet each other; near the limits as well. */
  private page(): number {
    const { format, levels } = this.kind;
    const { random } = this;
    let page = 0;
    for (let level = 0; level < levels; level += 1) page += random.below(3) * format.pagesPerEntry[level]!;
    const limit = format.pageLimit(levels);
    if (random.below(4) === 0) page = limit - 1 - (page % limit);
    if (random.below(16) === 0) page += limit;
    if (random.below(8) === 0) page = 2 ** 52 - 1 - page;
    return Math.max(0, Math.min(page, 2 ** 52 - 1));
  }

  private newTable(tables = 1): number {
    const { granulePages } = this.kind.format;
    const page = this.nextPage;
    this.nextPage += granulePages * tables;
    return page;
  }

  private writeEntry(page: number, word: number, level: number): void {
    const { format } = this.kind;
    const { random, memory } = this;
    let low = random.below(2 ** 32);
    let high = random.below(2 ** 32);
    const shape = random.below(10);
    if (shape < 8 && (level === 0 || shape < 2)) {
      const sizes = format.leafSizes.filter((pages) => pages >= format.pagesPerEntry[level]!);
      const natural = format.pagesPerEntry[level]!;
      const larger = sizes.filter((pages) => pages < natural * 512);
      const pages = larger.length > 0 ? larger[random.below(larger.length)]! : natural;
      const phys = Math.floor((random.fraction() * 2 ** 30) / pages) * pages;
      const permissions = random.below(4) === 0 ? READ : READ_WRITE;
      low = format.leafLow(phys, level, pages, permissions);
      high = format.leafHigh(phys, level, pages, permissions);
    } else if (shape < 8 && this.nextPage < TREE_PAGES * format.granulePages * format.rootTables) {
      const child = this.newTable();
      low = format.tableLow(child, level);
      high = format.tableHigh(child);
    }
    if (random.below(4) === 0) low = (low ^ (1 << random.below(32))) >>> 0;
    if (random.below(6) === 0) high = (high ^ (1 << random.below(32))) >>> 0;
    memory.writeWord(page, word, low);
    memory.writeWord(page, word + 1, high);
  }
}

describe.each(KINDS)('$name', (kind) => {
  it('walks random tables as the specification reads', () => {
    const random = new RandomStream(20_240_319).fork(kind.name);
    const { format, levels, checked, naive } = kind;
    let granted = 0;
    for (let done = 0; done < WALKS; done += WALKS_PER_TREE) {
      const tree = new RandomTree(kind, random);
      const walker = new Walker(tree.memory, format, checked ? 'checked' : 'ignored');
      for (let walk = 0; walk < WALKS_PER_TREE; walk += 1) {
        const address = tree.address();
        const write = random.below(2) === 1;
        const page = Number(address >> 12n);
        const found = walker.walkFromRoot(1, page, write, tree.root, levels)
          ? BigInt(walker.physPage(page)) * 4096n + (address & 0xfffn)
          : null;
        // the readers of Intel's and AMD's tables know nothing of widths
        const reads = checked || format.translates(page, levels);
        const expected = reads ? naive(tree.memory, BigInt(tree.root) * 4096n, address, write) : null;
        if (found !== expected) {
          expect.unreachable(
            `${write ? 'write' : 'read'} at 0x${address.toString(16)}: ${String(found)}, by the specification ${String(expected)}`,
          );
        }
        if (found !== null) granted += 1;
      }
    }
    expect(granted).toBeGreaterThan(WALKS / 20);
  });
});
