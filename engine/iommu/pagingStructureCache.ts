/**
 * Paging-structure caches: pointers to tables below the root, so that a walk starts as low as possible (VT-d specification
 * 6.2.5). Three caches, named by what an entry spans: 512 GiB, 1 GiB, 2 MiB (the table it points at is of level 2, 1, 0).
 * Each is fully associative with least-recently-used replacement; the lookup takes the longest prefix.
 * Leaves out: set-associative geometry, which no vendor documents for these caches.
 */
import { SECOND_STAGE_PERMISSIONS, PAGES_PER_ENTRY } from './vtdSecondStage.ts';

const NOTHING = -1;

class PrefixCache {
  readonly span: number;
  private readonly capacity: number;
  private readonly prefixes: Float64Array;
  private readonly domains: Int32Array;
  private readonly tables: Float64Array;
  private readonly permissions: Uint8Array;
  private readonly stamps: Float64Array;
  private clock = 0;
  /** Where `find` found its entry. */
  private found = 0;

  constructor(capacity: number, span: number) {
    this.capacity = capacity;
    this.span = span;
    this.prefixes = new Float64Array(capacity).fill(NOTHING);
    this.domains = new Int32Array(capacity);
    this.tables = new Float64Array(capacity);
    this.permissions = new Uint8Array(capacity);
    this.stamps = new Float64Array(capacity);
  }

  get table(): number {
    return this.tables[this.found]!;
  }

  get permission(): number {
    return this.permissions[this.found]!;
  }

  find(domainId: number, iovaPage: number): boolean {
    const prefix = Math.floor(iovaPage / this.span);
    const { prefixes, domains, capacity } = this;
    for (let entry = 0; entry < capacity; entry += 1) {
      if (prefixes[entry] === prefix && domains[entry] === domainId) {
        this.found = entry;
        this.clock += 1;
        this.stamps[entry] = this.clock;
        return true;
      }
    }
    return false;
  }

  fill(domainId: number, iovaPage: number, table: number, permission: number): void {
    if (this.capacity === 0) return;
    const prefix = Math.floor(iovaPage / this.span);
    let victim = 0;
    for (let entry = 0; entry < this.capacity; entry += 1) {
      if (this.prefixes[entry] === prefix && this.domains[entry] === domainId) {
        victim = entry;
        break;
      }
      if (this.stamps[entry]! < this.stamps[victim]!) victim = entry;
    }
    this.clock += 1;
    this.prefixes[victim] = prefix;
    this.domains[victim] = domainId;
    this.tables[victim] = table;
    this.permissions[victim] = permission;
    this.stamps[victim] = this.clock;
  }

  /** Drops what covers any page of [first, last]; any domain when `domainId` is negative. */
  drop(domainId: number, first: number, last: number): void {
    for (let entry = 0; entry < this.capacity; entry += 1) {
      const prefix = this.prefixes[entry]!;
      if (prefix === NOTHING || (domainId >= 0 && this.domains[entry] !== domainId)) continue;
      if (prefix * this.span > last || (prefix + 1) * this.span <= first) continue;
      this.prefixes[entry] = NOTHING;
      this.stamps[entry] = 0;
    }
  }
}

export interface PagingCacheGeometry {
  readonly entries512G: number;
  readonly entries1G: number;
  readonly entries2M: number;
}

export class PagingStructureCache {
  /** By the level of the table that an entry points at: 0 (spans 2 MiB), 1 (1 GiB), 2 (512 GiB). */
  private readonly caches: readonly PrefixCache[];
  /** Of the last `find`: level of the table to start at, the table, and the permissions above it. */
  level = NOTHING;
  table = NOTHING;
  permissions = SECOND_STAGE_PERMISSIONS;

  constructor(geometry: PagingCacheGeometry) {
    this.caches = [geometry.entries2M, geometry.entries1G, geometry.entries512G].map(
      (entries, level) => new PrefixCache(entries, PAGES_PER_ENTRY[level + 1]!),
    );
  }

  /** The longest cached prefix of a page; false when there is none, and the walk starts at the root. */
  find(domainId: number, iovaPage: number): boolean {
    for (let level = 0; level < this.caches.length; level += 1) {
      const cache = this.caches[level]!;
      if (!cache.find(domainId, iovaPage)) continue;
      this.level = level;
      this.table = cache.table;
      this.permissions = cache.permission;
      return true;
    }
    return false;
  }

  /** Remembers that the tables of level `level` for this page are at `table`. */
  fill(domainId: number, iovaPage: number, level: number, table: number, permissions: number): void {
    this.caches[level]?.fill(domainId, iovaPage, table, permissions);
  }

  invalidateRange(domainId: number, firstPage: number, lastPage: number): void {
    for (const cache of this.caches) cache.drop(domainId, firstPage, lastPage);
  }

  invalidateDomain(domainId: number): void {
    this.invalidateRange(domainId, 0, Infinity);
  }

  invalidateAll(): void {
    this.invalidateRange(-1, 0, Infinity);
  }
}
