/**
 * For tests: page tables read and page-table operations done in the plainest way, from the bit tables of the
 * specifications and with nothing of the code that they help to check (VT-d specification 3.6, 3.7 and 9; AMD
 * specification 48882, 2.2.3).
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { PageTableFormatName } from './pageTableFormat.ts';
import { EADDRINUSE, EINVAL, ERANGE } from '../tables/tableErrors.ts';

const ADDRESS_BITS = ((1n << 52n) - 1n) & ~0xfffn;

export function readEntry(memory: PhysicalMemory, table: number, index: number): bigint {
  return BigInt(memory.readWord(table, index * 2)) | (BigInt(memory.readWord(table, index * 2 + 1)) << 32n);
}

export function writeEntry(memory: PhysicalMemory, table: number, index: number, entry: bigint): void {
  memory.writeWord(table, index * 2, Number(entry & 0xffff_ffffn));
  memory.writeWord(table, index * 2 + 1, Number(entry >> 32n));
}

type Step =
  | { readonly kind: 'fault' }
  | { readonly kind: 'table'; readonly address: bigint; readonly permissions: number; readonly level: number }
  | { readonly kind: 'leaf'; readonly address: bigint; readonly sizeBits: bigint; readonly permissions: number };

const FAULT: Step = { kind: 'fault' };

function bit(entry: bigint, position: bigint): number {
  return Number((entry >> position) & 1n);
}

/** Intel: R and W, or P and R/W; bit 7 makes a leaf of 2 MiB or 1 GiB, which stands on its own boundary. */
function readVtd(entry: bigint, level: number, present: boolean, permissions: number): Step {
  if (!present) return FAULT;
  const address = entry & ADDRESS_BITS;
  if (level > 0 && bit(entry, 7n) === 0) return { kind: 'table', address, permissions, level: level - 1 };
  const sizeBits = 12n + 9n * BigInt(level);
  if (level > 2 || address % (1n << sizeBits) !== 0n) return FAULT;
  return { kind: 'leaf', address, sizeBits, permissions };
}

function readAmd(entry: bigint, level: number): Step {
  if (bit(entry, 0n) === 0) return FAULT;
  const permissions = bit(entry, 61n) + 2 * bit(entry, 62n);
  const nextLevel = Number((entry >> 9n) & 7n);
  const address = entry & ADDRESS_BITS;
  const ownBits = 12n + 9n * BigInt(level);
  // 2.2.3, page table level parameters: the sixth level maps nothing itself
  if (level === 5 && (nextLevel === 0 || nextLevel === 7)) return FAULT;
  if (nextLevel === 0) {
    return address % (1n << ownBits) === 0n ? { kind: 'leaf', address, sizeBits: ownBits, permissions } : FAULT;
  }
  if (nextLevel !== 7)
    return nextLevel <= level ? { kind: 'table', address, permissions, level: nextLevel - 1 } : FAULT;
  let sizeBits = 13n;
  while (bit(address, sizeBits - 1n) === 1) sizeBits += 1n;
  if (sizeBits <= ownBits || sizeBits >= ownBits + 9n) return FAULT;
  return { kind: 'leaf', address: (address >> sizeBits) << sizeBits, sizeBits, permissions };
}

function readStep(format: PageTableFormatName, entry: bigint, level: number): Step {
  if (format === 'amd-v1') return readAmd(entry, level);
  if (format === 'vtd-second-stage') {
    const step = readVtd(entry, level, (entry & 3n) !== 0n, Number(entry & 3n));
    // 9.8: bit 62 is reserved (of old it was TM), and bit 11, which in a leaf is SNP, in an entry that points at a table
    return bit(entry, 62n) === 1 || (step.kind === 'table' && bit(entry, 11n) === 1) ? FAULT : step;
  }
  // bit 12 of a large page is one of the memory type's, not of the address
  const memoryType = level > 0 && bit(entry, 7n) === 1 ? entry & (1n << 12n) : 0n;
  return readVtd(entry - memoryType, level, (entry & 5n) === 5n, 1 + 2 * bit(entry, 1n));
}

/** The physical address behind an address, or null for a fault. */
export function naiveWalk(
  memory: PhysicalMemory,
  format: PageTableFormatName,
  root: number,
  levels: number,
  address: bigint,
  write: boolean,
): bigint | null {
  let table = root;
  let permissions = 3;
  let level = levels - 1;
  while (level >= 0) {
    const index = Number((address >> (12n + 9n * BigInt(level))) & 511n);
    const step = readStep(format, readEntry(memory, table, index), level);
    if (step.kind === 'fault') return null;
    permissions &= step.permissions;
    if (step.kind === 'leaf') {
      if ((permissions & (write ? 2 : 1)) === 0) return null;
      return step.address + (address & ((1n << step.sizeBits) - 1n));
    }
    // AMD: the bits of the levels that a pointer skips are zero
    const passed = address % (1n << (12n + 9n * BigInt(level)));
    if (passed >= 1n << (21n + 9n * BigInt(step.level))) return null;
    table = Number(step.address >> 12n);
    level = step.level;
  }
  return null;
}

export interface NaiveLeaf {
  readonly first: number;
  readonly pages: number;
  readonly phys: number;
  readonly permissions: number;
}

/** What is mapped: a list of leaves. Leaf sizes and widths as the formats have them. */
export class NaiveMap {
  readonly leaves = new Map<number, NaiveLeaf>();
  error = 0;
  private readonly sizes: readonly number[];
  private readonly limit: number;
  /** What the tables span so far: AMD's grow. */
  private span: number;

  constructor(format: PageTableFormatName, levels: number) {
    const amd = format === 'amd-v1';
    const exponents = amd ? Array.from({ length: 40 }, (_, index) => index).filter((bits) => bits !== 27) : [0, 9, 18];
    this.sizes = exponents.map((bits) => 2 ** bits).reverse();
    this.limit = amd ? 2 ** 52 : 2 ** (9 * levels - (format === 'vtd-first-stage' ? 1 : 0));
    this.span = amd ? 2 ** (9 * levels) : this.limit;
  }

  find(page: number): NaiveLeaf | null {
    for (const leaf of this.leaves.values()) {
      if (page >= leaf.first && page < leaf.first + leaf.pages) return leaf;
    }
    return null;
  }

  /** The leaves that a range takes, largest first wherever it can; null when they are more than a test wants. */
  cut(first: number, phys: number, pages: number, permissions: number, most: number): NaiveLeaf[] | null {
    const leaves: NaiveLeaf[] = [];
    for (let done = 0; done < pages;) {
      if (leaves.length === most) return null;
      const at = first + done;
      const to = phys + done;
      const size = this.sizes.find((wanted) => wanted <= pages - done && at % wanted === 0 && to % wanted === 0)!;
      leaves.push({ first: at, pages: size, phys: to, permissions });
      done += size;
    }
    return leaves;
  }

  /** Pages mapped; `error` says why they are fewer. */
  map(first: number, pages: number, permissions: number, leaves: readonly NaiveLeaf[]): number {
    this.error = permissions === 0 ? EINVAL : first + pages > this.limit ? ERANGE : 0;
    if (this.error !== 0) return 0;
    while (first + pages > this.span) this.span = Math.min(this.span * 512, this.limit);
    const near = [...this.leaves.values()].filter((leaf) => overlap(leaf, { first, pages }));
    let done = 0;
    for (const leaf of leaves) {
      if (near.some((other) => overlap(leaf, other))) {
        this.error = EADDRINUSE;
        return done;
      }
      this.leaves.set(leaf.first, leaf);
      done += leaf.pages;
    }
    return done;
  }

  /** Pages removed: whole leaves from the first page on, up to a hole; none of a range that ends beyond the tables. */
  unmap(first: number, pages: number): number {
    if (first + pages > this.span) return 0;
    let at = first;
    while (at < first + pages) {
      const leaf = this.leaves.get(at);
      if (leaf === undefined) break;
      this.leaves.delete(at);
      at += leaf.pages;
    }
    return at - first;
  }
}

function overlap(left: Pick<NaiveLeaf, 'first' | 'pages'>, right: Pick<NaiveLeaf, 'first' | 'pages'>): boolean {
  return left.first < right.first + right.pages && right.first < left.first + left.pages;
}
