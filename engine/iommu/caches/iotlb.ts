/**
 * The IOTLB: finished translations, tagged by owner (owner.ts) and page but not by device (VT-d specification 6.2.4). One array per page
 * size (4 KiB, 2 MiB, 1 GiB) of sets and ways, or one that all sizes share; sets, ways and replacement as its geometry says.
 * An entry is filled when its walk begins and carries the moment its walk ends, so that a lookup in between waits for the
 * walk under way instead of starting its own. It also remembers the table that it was read from, which hardware does not, so
 * that the use of a translation that software has taken back can be seen.
 */
import { AssociativeArray, NO_ENTRY, type Replacement } from './associativeArray.ts';
import { EVERY_DOMAIN, EVERY_SPACE, OWNERS, ownerOf } from './owner.ts';
import { lookIntoCache, type CacheLook } from '../look/cacheLook.ts';
import { PAGES_PER_ENTRY } from '../formats/pageTableFormat.ts';

const SIZES = 3;
const SIZE_NAMES = ['4 KiB', '2 MiB', '1 GiB'] as const;

class IotlbArray {
  readonly array: AssociativeArray;
  readonly targets: Float64Array;
  readonly permissions: Uint8Array;
  readonly tables: Float64Array;
  readonly readyTimes: Float64Array;
  /** Lookups that found an entry, since it was filled; and by set, those of entries that are gone. */
  readonly uses: Float64Array;
  readonly formerUses: Float64Array;

  constructor(entries: number, { ways, replacement = 'lru', hashed = false }: IotlbGeometry) {
    this.array = new AssociativeArray(entries, ways, { replacement, hashed });
    const { size } = this.array;
    this.targets = new Float64Array(size);
    this.permissions = new Uint8Array(size);
    this.tables = new Float64Array(size);
    this.readyTimes = new Float64Array(size);
    this.uses = new Float64Array(size);
    this.formerUses = new Float64Array(this.array.sets);
  }
}

export interface IotlbGeometry {
  readonly entries4K: number;
  readonly entries2M: number;
  readonly entries1G: number;
  /** Associativity; an array with fewer entries is fully associative. */
  readonly ways: number;
  /** Which entry of a set gives way; default lru. */
  readonly replacement?: Replacement;
  /** The set is a hash of the page number; default: its low bits. */
  readonly hashed?: boolean;
  /** Translations of all sizes share `entries4K` entries; default: each size has its own. */
  readonly unified?: boolean;
  /**
   * So many entries of all sizes together, and a fill empties everything before it, in place of one entry: what an emulated
   * IOMMU does that keeps its entries in a hash table (QEMU hw/i386/intel_iommu.c `vtd_update_iotlb`). Default: never.
   */
  readonly emptiedAt?: number;
}

/** Sizes are told apart by the owner where they share entries. */
function groupOf(level: number): number {
  return level * OWNERS;
}

export class Iotlb {
  private readonly arrays: readonly IotlbArray[];
  /** The first of them. */
  private readonly small: IotlbArray;
  private readonly spans: readonly number[] = PAGES_PER_ENTRY.slice(0, SIZES);
  private readonly emptiedAt: number;
  private readonly unified: boolean;
  /** For whoever will look into it; a run that nobody looks into does without. */
  countsUses = false;
  /** Of the last `find`: leaf level (0 4 KiB, 1 2 MiB, 2 1 GiB) and the page behind the one asked for. */
  level = 0;
  physPage = 0;
  permissions = 0;
  /** When the walk that brought the entry ends, or ended. */
  readyAt = 0;
  /** The first page of the leaf, and the table that held its entry when it was read. */
  leafPage = 0;
  leafTable = 0;

  constructor(geometry: IotlbGeometry) {
    const { entries4K, entries2M, entries1G, unified = false } = geometry;
    this.unified = unified;
    const shared = new IotlbArray(entries4K, geometry);
    this.small = shared;
    this.arrays = unified
      ? [shared, shared, shared]
      : [shared, new IotlbArray(entries2M, geometry), new IotlbArray(entries1G, geometry)];
    this.emptiedAt = geometry.emptiedAt ?? Infinity;
  }

  find(owner: number, iovaPage: number): boolean {
    if (this.unified) return this.findOfSizes(owner, iovaPage, 0);
    const { small } = this;
    const entry = small.array.find(owner, iovaPage);
    if (entry === NO_ENTRY) return this.findOfSizes(owner, iovaPage, 1);
    // what most lookups find, without a call more
    this.level = 0;
    this.leafPage = small.targets[entry]!;
    this.physPage = this.leafPage;
    this.permissions = small.permissions[entry]!;
    this.leafTable = small.tables[entry]!;
    this.readyAt = small.readyTimes[entry]!;
    if (this.countsUses) small.uses[entry]! += 1;
    return true;
  }

  private findOfSizes(owner: number, iovaPage: number, smallest: number): boolean {
    for (let level = smallest; level < SIZES; level += 1) {
      const sized = this.arrays[level]!;
      if (sized.array.count === 0) continue;
      const span = this.spans[level]!;
      const number = level === 0 ? iovaPage : Math.floor(iovaPage / span);
      const entry = sized.array.find(this.unified ? groupOf(level) + owner : owner, number);
      if (entry === NO_ENTRY) continue;
      this.level = level;
      this.leafPage = sized.targets[entry]!;
      this.physPage = level === 0 ? this.leafPage : this.leafPage + (iovaPage & (span - 1));
      this.permissions = sized.permissions[entry]!;
      this.leafTable = sized.tables[entry]!;
      this.readyAt = sized.readyTimes[entry]!;
      if (this.countsUses) sized.uses[entry]! += 1;
      return true;
    }
    return false;
  }

  /** `leafPage` is the first physical page of the leaf; `leafTable` the table that holds its entry. */
  fill(
    owner: number,
    iovaPage: number,
    level: number,
    leafPage: number,
    permissions: number,
    leafTable: number,
    readyAt: number,
  ): void {
    if (this.emptiedAt !== Infinity && this.held() >= this.emptiedAt) this.invalidateAll();
    const sized = this.arrays[level]!;
    const number = level === 0 ? iovaPage : Math.floor(iovaPage / this.spans[level]!);
    const entry = sized.array.fill(this.unified ? groupOf(level) + owner : owner, number);
    if (entry === NO_ENTRY) return;
    sized.targets[entry] = leafPage;
    sized.permissions[entry] = permissions;
    sized.tables[entry] = leafTable;
    sized.readyTimes[entry] = readyAt;
    const uses = sized.uses[entry]!;
    if (uses === 0) return;
    sized.formerUses[Math.floor(entry / sized.array.ways)]! += uses;
    sized.uses[entry] = 0;
  }

  /** What each array holds, for looking (look/cacheLook.ts). */
  look(): CacheLook[] {
    if (!this.unified) return this.arrays.map((array, level) => this.lookAt(array, SIZE_NAMES[level]!, level));
    const look = this.lookAt(this.arrays[0]!, 'all sizes', 0);
    const { array } = this.small;
    for (let entry = 0; entry < look.pages.length; entry += 1) {
      if (look.pages[entry] === 0) continue;
      const span = this.spans[Math.floor(array.ownerAt(entry) / OWNERS)]!;
      look.pages[entry] = span;
      look.firstPages[entry]! *= span;
    }
    return [look];
  }

  private lookAt(sized: IotlbArray, size: string, level: number): CacheLook {
    const { array, targets, permissions, readyTimes, uses, formerUses } = sized;
    const columns = { span: this.spans[level]!, targets, permissions, filledAt: readyTimes, uses, formerUses };
    return lookIntoCache(`IOTLB, ${size}`, array, columns);
  }

  private held(): number {
    const [first, second, third] = this.arrays;
    if (this.unified) return first!.array.count;
    return first!.array.count + second!.array.count + third!.array.count;
  }

  /** Drops every entry, of any size, that covers a page of [firstPage, lastPage]; EVERY_DOMAIN, EVERY_SPACE: whosever it is. */
  invalidateRange(domainId: number, space: number, firstPage: number, lastPage: number): void {
    for (let level = 0; level < SIZES; level += 1) {
      const span = this.spans[level]!;
      const { array } = this.arrays[level]!;
      const group = this.unified ? groupOf(level) : 0;
      const first = Math.floor(firstPage / span);
      const last = Math.floor(lastPage / span);
      if (domainId === EVERY_DOMAIN) array.drop(EVERY_DOMAIN, first, last);
      else if (space === EVERY_SPACE) array.dropDomain(domainId, group, first, last);
      else array.drop(group + ownerOf(domainId, space), first, last);
    }
  }

  /** Drops what a domain's address spaces have, of which no one knows what second stage's pages it came through. */
  invalidateSpaces(domainId: number): void {
    for (const { array } of this.arrays) array.dropSpaces(domainId);
  }

  /** What hardware does that compares no tags: empties the sets of these pages, whatever lies in them. */
  emptySets(firstPage: number, lastPage: number): void {
    for (let level = 0; level < SIZES; level += 1) {
      const span = this.spans[level]!;
      this.arrays[level]!.array.emptySets(Math.floor(firstPage / span), Math.floor(lastPage / span));
    }
  }

  invalidateDomain(domainId: number): void {
    this.invalidateRange(domainId, EVERY_SPACE, 0, Infinity);
  }

  invalidateAll(): void {
    this.invalidateRange(EVERY_DOMAIN, EVERY_SPACE, 0, Infinity);
  }

  /** Entries held, by page size: 4 KiB, 2 MiB, 1 GiB; of all sizes together where they share. */
  occupancy(): readonly number[] {
    return this.unified ? [this.held()] : this.arrays.map(({ array }) => array.count);
  }
}
