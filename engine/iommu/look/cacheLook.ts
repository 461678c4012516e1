/**
 * What a translation cache holds at a moment, set by set and way by way, in columns of numbers: an IOTLB has thousands of entries.
 * An entry is number `set * ways + way`. The picture belongs to whoever asked for it; taking it changes no order of use.
 */
import type { AssociativeArray } from '../caches/associativeArray.ts';
import { domainOf, NO_SPACE, spaceOf } from '../caches/owner.ts';

const NOT_KEPT = -1;

export interface CacheLook {
  /** `IOTLB, 4 KiB`: what the cache is called. */
  readonly title: string;
  readonly sets: number;
  readonly ways: number;
  /** By set, since the run began: lookups that found their entry here, and entries that another one has displaced. */
  readonly hits: Float64Array;
  readonly evictions: Float64Array;
  /** By entry: the 4 KiB pages that it spans; 0: it is empty, and what the other columns say of it is nothing. */
  readonly pages: Float64Array;
  readonly firstPages: Float64Array;
  readonly domains: Int32Array;
  /** The address space: PASID, ASID or PSCID; NO_SPACE: none. */
  readonly spaces: Int32Array;
  /** What it leads to: the first physical page, or the table. */
  readonly targets: Float64Array;
  /** READ and WRITE. */
  readonly permissions: Uint8Array;
  /** When the walk that brought it ended, picoseconds; -1: not kept. */
  readonly filledAt: Float64Array;
  /** Lookups that found it since then; -1: not kept. */
  readonly uses: Float64Array;
}

/** What a cache keeps beside the tags, by entry. */
interface CacheColumns {
  readonly span: number;
  readonly targets: Float64Array;
  readonly permissions: Uint8Array;
  readonly filledAt?: Float64Array;
  readonly uses?: Float64Array;
  /** By set: uses of entries that are gone. */
  readonly formerUses?: Float64Array;
}

export function lookIntoCache(title: string, array: AssociativeArray, columns: CacheColumns): CacheLook {
  const { size, sets, ways } = array;
  const { span, targets, permissions, filledAt, uses, formerUses } = columns;
  const look = {
    title,
    sets: size === 0 ? 0 : sets,
    ways,
    hits: formerUses?.slice() ?? new Float64Array(sets),
    evictions: array.evictions.slice(),
    pages: new Float64Array(size),
    firstPages: new Float64Array(size),
    domains: new Int32Array(size),
    spaces: new Int32Array(size).fill(NO_SPACE),
    targets: targets.slice(0, size),
    permissions: permissions.slice(0, size),
    filledAt: filledAt?.slice() ?? new Float64Array(size).fill(NOT_KEPT),
    uses: uses?.slice() ?? new Float64Array(size).fill(NOT_KEPT),
  };
  for (let entry = 0; entry < size; entry += 1) {
    const set = Math.floor(entry / ways);
    look.hits[set] = (look.hits[set] ?? 0) + (uses?.[entry] ?? 0);
    const tag = array.tagAt(entry);
    if (tag < 0) continue;
    look.pages[entry] = span;
    look.firstPages[entry] = tag * span;
    const owner = array.ownerAt(entry);
    look.domains[entry] = domainOf(owner);
    look.spaces[entry] = spaceOf(owner);
  }
  return look;
}

/** The entry of a page in any of the caches, the first that has one; null where none does. */
export function heldEntry(
  caches: readonly CacheLook[],
  domainId: number,
  space: number,
  page: number,
): { readonly cache: CacheLook; readonly entry: number } | null {
  for (const cache of caches) {
    const { pages, firstPages, domains, spaces } = cache;
    for (let entry = 0; entry < pages.length; entry += 1) {
      const first = firstPages[entry] ?? 0;
      if (page < first || page >= first + (pages[entry] ?? 0)) continue;
      if (domains[entry] === domainId && spaces[entry] === space) return { cache, entry };
    }
  }
  return null;
}
