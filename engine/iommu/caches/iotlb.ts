/**
 * The IOTLB: finished translations, tagged by domain and page but not by device (VT-d specification 6.2.4). One array per page
 * size (4 KiB, 2 MiB, 1 GiB) of sets and ways with least-recently-used replacement; the set is the page number's low bits.
 * An entry is filled when its walk begins and carries the moment its walk ends, so that a lookup in between waits for the
 * walk under way instead of starting its own. It also remembers the table that it was read from, which hardware does not, so
 * that the use of a translation that software has taken back can be seen.
 * Leaves out: other replacement policies, hashed sets, page sizes sharing one array.
 */
import { AssociativeArray, NO_ENTRY } from './associativeArray.ts';
import { lookIntoCache, type CacheLook } from '../look/cacheLook.ts';
import { PAGES_PER_ENTRY } from '../formats/pageTableFormat.ts';

const SIZE_NAMES = ['4 KiB', '2 MiB', '1 GiB'] as const;

class IotlbArray {
  readonly span: number;
  readonly array: AssociativeArray;
  readonly targets: Float64Array;
  readonly permissions: Uint8Array;
  readonly tables: Float64Array;
  readonly readyTimes: Float64Array;
  /** Lookups that found an entry, since it was filled; and by set, those of entries that are gone. */
  readonly uses: Float64Array;
  readonly formerUses: Float64Array;

  constructor(entries: number, ways: number, span: number) {
    this.span = span;
    this.array = new AssociativeArray(entries, ways);
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
  /**
   * So many entries of all sizes together, and a fill empties everything before it, in place of one entry: what an emulated
   * IOMMU does that keeps its entries in a hash table (QEMU hw/i386/intel_iommu.c `vtd_update_iotlb`). Default: never.
   */
  readonly emptiedAt?: number;
}

export class Iotlb {
  private readonly arrays: readonly IotlbArray[];
  private readonly emptiedAt: number;
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
    this.arrays = [geometry.entries4K, geometry.entries2M, geometry.entries1G].map(
      (entries, level) => new IotlbArray(entries, geometry.ways, PAGES_PER_ENTRY[level]!),
    );
    this.emptiedAt = geometry.emptiedAt ?? Infinity;
  }

  find(domainId: number, iovaPage: number): boolean {
    for (let level = 0; level < 3; level += 1) {
      const sized = this.arrays[level]!;
      if (sized.array.count === 0) continue;
      const entry = sized.array.find(domainId, level === 0 ? iovaPage : Math.floor(iovaPage / sized.span));
      if (entry === NO_ENTRY) continue;
      this.level = level;
      this.leafPage = sized.targets[entry]!;
      this.physPage = level === 0 ? this.leafPage : this.leafPage + (iovaPage & (sized.span - 1));
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
    domainId: number,
    iovaPage: number,
    level: number,
    leafPage: number,
    permissions: number,
    leafTable: number,
    readyAt: number,
  ): void {
    if (this.emptiedAt !== Infinity && this.held() >= this.emptiedAt) this.invalidateAll();
    const sized = this.arrays[level]!;
    const entry = sized.array.fill(domainId, level === 0 ? iovaPage : Math.floor(iovaPage / sized.span));
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
    return this.arrays.map(({ array, span, targets, permissions, readyTimes, uses, formerUses }, level) =>
      lookIntoCache(`IOTLB, ${SIZE_NAMES[level]!}`, array, {
        span,
        targets,
        permissions,
        filledAt: readyTimes,
        uses,
        formerUses,
      }),
    );
  }

  private held(): number {
    const [first, second, third] = this.arrays;
    return first!.array.count + second!.array.count + third!.array.count;
  }

  /** Drops every entry, of any size, that covers a page of [firstPage, lastPage]. */
  invalidateRange(domainId: number, firstPage: number, lastPage: number): void {
    for (const { array, span } of this.arrays) {
      array.drop(domainId, Math.floor(firstPage / span), Math.floor(lastPage / span));
    }
  }

  invalidateDomain(domainId: number): void {
    this.invalidateRange(domainId, 0, Infinity);
  }

  invalidateAll(): void {
    this.invalidateRange(-1, 0, Infinity);
  }

  /** Entries held, by page size: 4 KiB, 2 MiB, 1 GiB. */
  occupancy(): readonly number[] {
    return this.arrays.map(({ array }) => array.count);
  }
}
