/**
 * Paging-structure caches: pointers to tables below the root, so that a walk starts as low as possible (VT-d specification
 * 6.2.5). Three caches, named by what an entry spans: 512 GiB, 1 GiB, 2 MiB (the table it points at is of level 2, 1, 0).
 * Each is fully associative with least-recently-used replacement unless its geometry says otherwise; the lookup takes the longest
 * prefix. An entry is filled when the walk that reads it begins, and carries the moment at which that read ends: a walk that finds it sooner
 * waits for it, as a read of its own would come back no earlier (derived: no specification says it).
 */
import { AssociativeArray, NO_ENTRY, type Replacement } from './associativeArray.ts';
import { EVERY_DOMAIN, EVERY_SPACE, ownerOf } from './owner.ts';
import { lookIntoCache, type CacheLook } from '../look/cacheLook.ts';
import { PAGES_PER_ENTRY, READ_WRITE } from '../formats/pageTableFormat.ts';

/** As many as a walk of two stages can look up and fill. */
const LOGGED_USES = 128;
const SPAN_NAMES = ['2 MiB', '1 GiB', '512 GiB'] as const;

class PrefixCache {
  readonly span: number;
  readonly array: AssociativeArray;
  readonly tables: Float64Array;
  readonly permissions: Uint8Array;
  /** Entries of all levels have one numbering; where this one's begin. */
  readonly firstEntry: number;

  constructor(capacity: number, span: number, firstEntry: number, shape: PagingCacheShape) {
    const { ways = capacity, replacement = 'lru' } = shape;
    this.span = span;
    this.firstEntry = firstEntry;
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
  /** When the read that an entry comes from ends, or ended. */
  private readonly readyTimes: Float64Array;
  /** Of the last `find`: level of the table to start at, the table, and the permissions above it. */
  level = NO_ENTRY;
  table = NO_ENTRY;
  permissions = READ_WRITE;
  /** Of the walk at hand, in its order: the entries that it found, and those that it filled (inverted), each with the number of the read. */
  private readonly usedEntries = new Int32Array(LOGGED_USES);
  private readonly usedReads = new Int32Array(LOGGED_USES);
  private uses = 0;
  private usesTimed = 0;

  /** `pagesPerEntry`: of the format that is walked; the caches are named by what VT-d's entries span. */
  constructor(geometry: PagingCacheGeometry, pagesPerEntry: readonly number[] = PAGES_PER_ENTRY) {
    let entries = 0;
    this.caches = [geometry.entries2M, geometry.entries1G, geometry.entries512G].map((capacity, level) => {
      const cache = new PrefixCache(capacity, pagesPerEntry[level + 1]!, entries, geometry);
      entries += cache.array.size;
      return cache;
    });
    this.readyTimes = new Float64Array(entries);
  }

  /** Begins the log of a walk, which `readCanStart` and `readEnds` then go through, read by read. */
  beginWalk(): void {
    this.uses = 0;
    this.usesTimed = 0;
  }

  /**
   * The longest cached prefix of a page; false when there is none, and the walk starts at the root. `read`: how many reads the walk has made
   * before.
   */
  find(owner: number, iovaPage: number, read = 0): boolean {
    for (let level = 0; level < this.caches.length; level += 1) {
      const cache = this.caches[level]!;
      const entry = cache.array.find(owner, Math.floor(iovaPage / cache.span));
      if (entry === NO_ENTRY) continue;
      this.level = level;
      this.table = cache.tables[entry]!;
      this.permissions = cache.permissions[entry]!;
      this.noteUse(cache.firstEntry + entry, read);
      return true;
    }
    return false;
  }

  /**
   * Remembers that the table of level `level` for this page is at `table`, as read number `read` of the walk said; tables of higher levels than
   * the caches have are forgotten.
   */
  fill(owner: number, iovaPage: number, level: number, table: number, permissions: number, read = 0): void {
    const cache = this.caches[level];
    if (cache === undefined) return;
    const entry = cache.array.fill(owner, Math.floor(iovaPage / cache.span));
    if (entry === NO_ENTRY) return;
    cache.tables[entry] = table;
    cache.permissions[entry] = permissions;
    this.readyTimes[cache.firstEntry + entry] = 0;
    this.noteUse(~(cache.firstEntry + entry), read);
  }

  /** When a read of the walk, which could be made at `at`, knows the table that it reads of. Reads come in their order. */
  readCanStart(read: number, at: number): number {
    let start = at;
    for (; this.isTimed(read) && this.usedEntries[this.usesTimed]! >= 0; this.usesTimed += 1) {
      start = Math.max(start, this.readyTimes[this.usedEntries[this.usesTimed]!]!);
    }
    return start;
  }

  /** What a read said is known to other walks from `at` on. */
  readEnds(read: number, at: number): void {
    for (; this.isTimed(read) && this.usedEntries[this.usesTimed]! < 0; this.usesTimed += 1) {
      this.readyTimes[~this.usedEntries[this.usesTimed]!] = at;
    }
  }

  /** What each of them holds, for looking (look/cacheLook.ts). */
  look(): CacheLook[] {
    return this.caches.map(({ array, span, tables, permissions, firstEntry }, level) => {
      const filledAt = this.readyTimes.subarray(firstEntry, firstEntry + array.size);
      const columns = { span, targets: tables, permissions, filledAt };
      return lookIntoCache(`paging cache, ${SPAN_NAMES[level]!}`, array, columns);
    });
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

  private isTimed(read: number): boolean {
    return this.usesTimed < this.uses && this.usedReads[this.usesTimed] === read;
  }

  private noteUse(entry: number, read: number): void {
    this.usedEntries[this.uses] = entry;
    this.usedReads[this.uses] = read;
    this.uses += 1;
  }
}
