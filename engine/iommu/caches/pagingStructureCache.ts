/**
 * Paging-structure caches: pointers to tables below the root, so that a walk starts as low as possible (VT-d specification
 * 6.2.5). Three caches, named by what an entry spans: 512 GiB, 1 GiB, 2 MiB (the table it points at is of level 2, 1, 0).
 * Each is fully associative with least-recently-used replacement unless its geometry says otherwise; the lookup takes the longest
 * prefix.
 */
import { AssociativeArray, NO_ENTRY, type Replacement } from './associativeArray.ts';
import { EVERY_DOMAIN, EVERY_SPACE, ownerOf } from './owner.ts';
import { lookIntoCache, type CacheLook } from '../look/cacheLook.ts';
import { PAGES_PER_ENTRY, READ_WRITE } from '../formats/pageTableFormat.ts';

const SPAN_NAMES = ['2 MiB', '1 GiB', '512 GiB'] as const;

class PrefixCache {
  readonly span: number;
  readonly array: AssociativeArray;
  readonly tables: Float64Array;
  readonly permissions: Uint8Array;

  constructor(capacity: number, span: number, { ways = capacity, replacement = 'lru' }: PagingCacheShape) {
    this.span = span;
    this.array = new AssociativeArray(capacity, ways, { replacement });
    const { size } = this.array;
    this.tables = new Float64Array(size);
    this.permissions = new Uint8Array(size);
  }
}

/** What the caches of all levels have in common. */
interface PagingCacheShape {
  /** Associativity; default: fully associative. */
  readonly ways?: number;
  /** Which entry of a set gives way; default lru. */
  readonly replacement?: Replacement;
}

export interface PagingCacheGeometry extends PagingCacheShape {
  readonly entries512G: number;
  readonly entries1G: number;
  readonly entries2M: number;
}

export class PagingStructureCache {
  /** By the level of the table that an entry points at: 0 (spans 2 MiB), 1 (1 GiB), 2 (512 GiB). */
  private readonly caches: readonly PrefixCache[];
  /** Of the last `find`: level of the table to start at, the table, and the permissions above it. */
  level = NO_ENTRY;
  table = NO_ENTRY;
  permissions = READ_WRITE;

  /** `pagesPerEntry`: of the format that is walked; the caches are named by what VT-d's entries span. */
  constructor(geometry: PagingCacheGeometry, pagesPerEntry: readonly number[] = PAGES_PER_ENTRY) {
    this.caches = [geometry.entries2M, geometry.entries1G, geometry.entries512G].map(
      (entries, level) => new PrefixCache(entries, pagesPerEntry[level + 1]!, geometry),
    );
  }

  /** The longest cached prefix of a page; false when there is none, and the walk starts at the root. */
  find(owner: number, iovaPage: number): boolean {
    for (let level = 0; level < this.caches.length; level += 1) {
      const cache = this.caches[level]!;
      const entry = cache.array.find(owner, Math.floor(iovaPage / cache.span));
      if (entry === NO_ENTRY) continue;
      this.level = level;
      this.table = cache.tables[entry]!;
      this.permissions = cache.permissions[entry]!;
      return true;
    }
    return false;
  }

  /** Remembers that the table of level `level` for this page is at `table`. */
  fill(owner: number, iovaPage: number, level: number, table: number, permissions: number): void {
    const cache = this.caches[level]!;
    const entry = cache.array.fill(owner, Math.floor(iovaPage / cache.span));
    if (entry === NO_ENTRY) return;
    cache.tables[entry] = table;
    cache.permissions[entry] = permissions;
  }

  /** What each of them holds, for looking (look/cacheLook.ts). */
  look(): CacheLook[] {
    return this.caches.map(({ array, span, tables, permissions }, level) =>
      lookIntoCache(`paging cache, ${SPAN_NAMES[level]!}`, array, { span, targets: tables, permissions }),
    );
  }

  /** Drops every entry whose span covers a page of [firstPage, lastPage]; EVERY_DOMAIN, EVERY_SPACE: whosever it is. */
  invalidateRange(domainId: number, space: number, firstPage: number, lastPage: number): void {
    for (const { array, span } of this.caches) {
      const first = Math.floor(firstPage / span);
      const last = Math.floor(lastPage / span);
      if (domainId === EVERY_DOMAIN) array.drop(EVERY_DOMAIN, first, last);
      else if (space === EVERY_SPACE) array.dropDomain(domainId, 0, first, last);
      else array.drop(ownerOf(domainId, space), first, last);
    }
  }

  /** Empties the sets of these pages, whatever lies in them. */
  emptySets(firstPage: number, lastPage: number): void {
    for (const { array, span } of this.caches) {
      array.emptySets(Math.floor(firstPage / span), Math.floor(lastPage / span));
    }
  }

  invalidateDomain(domainId: number): void {
    this.invalidateRange(domainId, EVERY_SPACE, 0, Infinity);
  }

  invalidateAll(): void {
    this.invalidateRange(EVERY_DOMAIN, EVERY_SPACE, 0, Infinity);
  }
}
