/**
 * Keys that are kept after their region is gone, since the firmware takes long to make one (Linux drivers/infiniband/hw/mlx5/mr.c:
 * `mlx5_mr_cache_alloc`, `cache_ent_find_and_store`): sorted by the logarithm of the entries that their tables have room for; one with up to
 * twice the room that is asked for will do.
 * Leaves out: filling the cache ahead of need, its watermarks and its delayed shrinking.
 */
import type { Cpu } from '../../time/cpu.ts';
import { MTT_BYTES, roundToEntries } from './keyTable.ts';
import type { RdmaCosts } from './rdmaCosts.ts';
import type { RegionAdapter } from './regionAdapter.ts';

export interface Key {
  readonly key: number;
  /** Room in its table. */
  readonly entries: number;
}

/** Room is a power of two of entries, from one unit of a work request to `2 ** LARGEST_ORDER`; larger keys are not kept. */
const SMALLEST_ORDER = 3;
const LARGEST_ORDER = 20;

export class MrCache {
  hits = 0;
  misses = 0;
  private readonly adapter: RegionAdapter;
  private readonly costs: RdmaCosts;
  private readonly keptOfOrder: number;
  private readonly kept: Key[][] = Array.from({ length: LARGEST_ORDER + 1 }, () => []);

  /** `keptOfOrder`: keys of one size that are kept at most; 0: none. */
  constructor(adapter: RegionAdapter, costs: RdmaCosts, keptOfOrder: number) {
    this.adapter = adapter;
    this.costs = costs;
    this.keptOfOrder = keptOfOrder;
  }

  /** Keys that wait for use. */
  get count(): number {
    return this.kept.reduce((sum, keys) => sum + keys.length, 0);
  }

  /** Memory of their tables. */
  get bytes(): number {
    return this.kept.reduce((sum, keys, order) => sum + keys.length * 2 ** order * MTT_BYTES, 0);
  }

  /** A key that is switched off, with room for `entries`; or a negative errno. */
  take(cpu: Cpu, entries: number): Key | number {
    cpu.spend(this.costs.rdmaCacheLookup);
    const order = Math.max(SMALLEST_ORDER, Math.ceil(Math.log2(entries)));
    const found = this.kept[order]?.pop();
    if (found !== undefined) {
      this.hits += 1;
      return found;
    }
    this.misses += 1;
    const room = order <= LARGEST_ORDER ? 2 ** order : roundToEntries(entries);
    const key = this.adapter.createKey(cpu, room);
    return key < 0 ? key : { key, entries: room };
  }

  /** Takes a key back that is switched off. */
  put(cpu: Cpu, key: Key): void {
    const keys = key.entries <= 2 ** LARGEST_ORDER ? this.kept[Math.log2(key.entries)] : undefined;
    if (keys !== undefined && keys.length < this.keptOfOrder) keys.push(key);
    else this.adapter.destroyKey(cpu, key.key);
  }

  /** Lets go of all keys. */
  clear(cpu: Cpu): void {
    for (const keys of this.kept) for (const { key } of keys.splice(0)) this.adapter.destroyKey(cpu, key);
  }
}
