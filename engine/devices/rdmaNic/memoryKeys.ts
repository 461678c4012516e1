/**
 * Memory keys and what an address under one of them means: physical addresses, pages of one size (MTT), or pieces under other keys, of any
 * sizes (KLM) or of one (KSM) (Linux include/linux/mlx5/mlx5_ifc.h, `mkc`; drivers/infiniband/hw/mlx5/mr.c and odp.c).
 * A key says who may do what with which addresses; a key that is on demand, and a piece that points to the null key, may miss a
 * translation, which is a fault and no error.
 * Leaves out: keys that point to keys that point to keys, atomics, signatures.
 */
import {
  DATA_ADDRESS,
  DATA_BYTE_COUNT,
  DATA_LKEY,
  KLM_BYTES,
  MLX5_MKC_ACCESS_MODE_KLMS,
  MLX5_MKC_ACCESS_MODE_KSM,
  MLX5_MKC_ACCESS_MODE_MTT,
  MLX5_MKC_ACCESS_MODE_PA,
  MTT_BYTES,
  MTT_READ,
  MTT_WRITE,
  readBe64,
} from './rdmaSpecification.ts';
import type { TableCache } from './tableCache.ts';

/** What a `CREATE_MKEY` command says. */
export interface MemoryKeyOptions {
  /** `MLX5_MKC_ACCESS_MODE_*`. */
  readonly accessMode: number;
  /** `MLX5_PERM_*`. */
  readonly permissions: number;
  readonly pd: number;
  readonly startAddress: number;
  readonly length: number;
  readonly logPageSize: number;
  /** Bus address of the table, in memory that the driver gave the adapter; a multiple of 64. */
  readonly table: number;
  readonly tableBytes: number;
  readonly onDemand?: boolean;
  /** Default false; true: a UMR work request has to enable it first. */
  readonly free?: boolean;
}

export class MemoryKey {
  readonly key: number;
  readonly accessMode: number;
  readonly table: number;
  readonly tableBytes: number;
  readonly onDemand: boolean;
  permissions: number;
  pd: number;
  startAddress: number;
  length: number;
  logPageSize: number;
  free: boolean;
  /** Accesses to memory under way by its translations. */
  inFlight = 0;
  /** A list of pieces is followed from here on, where an earlier walk has come to: the entry, and the offset that it begins at. */
  hintEntry = 0;
  hintOffset = 0;

  constructor(key: number, options: MemoryKeyOptions) {
    this.key = key;
    this.accessMode = options.accessMode;
    this.table = options.table;
    this.tableBytes = options.tableBytes;
    this.onDemand = options.onDemand ?? false;
    this.permissions = options.permissions;
    this.pd = options.pd;
    this.startAddress = options.startAddress;
    this.length = options.length;
    this.logPageSize = options.logPageSize;
    this.free = options.free ?? false;
  }
}

const TRANSLATED = 0;
export const DENIED = 1;
/** `address` is that of the entry which has to be fetched. */
export const NOT_CACHED = 2;
export const MISSING = 3;

/** Pieces point here where nothing is yet. */
export const NULL_MKEY = 0x100;

export class MemoryKeys {
  /** Of the last `translate`: where the bytes are and how many of them; or which translation is missing. */
  address = 0;
  length = 0;
  key: MemoryKey | null = null;
  missingKey = 0;
  missingAddress = 0;
  private readonly cache: TableCache;
  private readonly keys: (MemoryKey | undefined)[] = [undefined, undefined];

  constructor(cache: TableCache) {
    this.cache = cache;
  }

  create(options: MemoryKeyOptions): number {
    const key = this.keys.length * 0x100;
    this.keys.push(new MemoryKey(key, options));
    return key;
  }

  destroy(key: number): void {
    const found = this.get(key);
    if (found === null) throw new Error(`the adapter has no memory key ${String(key)}`);
    if (found.tableBytes > 0) this.cache.invalidate(found.table, found.tableBytes);
    this.keys[key >>> 8] = undefined;
  }

  get(key: number): MemoryKey | null {
    const found = this.keys[key >>> 8];
    return found?.key === key ? found : null;
  }

  /** `need`: the permission; `length`: all that is still to be done from `address` on. */
  translate(key: number, pd: number, address: number, length: number, need: number, write: boolean): number {
    let at = address;
    let left = length;
    let wanted = key;
    for (let level = 0; level < 3; level += 1) {
      const found = this.get(wanted);
      if (found === null || found.free || found.pd !== pd || (found.permissions & need) === 0) return DENIED;
      if (at < found.startAddress || at + left > found.startAddress + found.length) return DENIED;
      if (found.accessMode === MLX5_MKC_ACCESS_MODE_PA) return this.found(found, at, left);
      if (found.accessMode === MLX5_MKC_ACCESS_MODE_MTT) return this.page(found, at, left, write);
      const outcome = this.piece(found, at, left);
      if (outcome !== TRANSLATED) return outcome;
      at = this.address;
      left = this.length;
      wanted = this.missingKey;
    }
    return DENIED;
  }

  private found(key: MemoryKey, address: number, length: number): number {
    this.key = key;
    this.address = address;
    this.length = length;
    return TRANSLATED;
  }

  private missing(key: MemoryKey, address: number): number {
    this.missingKey = key.key;
    this.missingAddress = address;
    return MISSING;
  }

  private page(key: MemoryKey, address: number, length: number, write: boolean): number {
    const size = 2 ** key.logPageSize;
    const entry = (Math.floor(address / size) - Math.floor(key.startAddress / size)) * MTT_BYTES;
    if (entry >= key.tableBytes) return DENIED;
    const at = this.cache.find(key.table + entry);
    if (at < 0) return this.absent(key.table + entry);
    const value = readBe64(this.cache.view, at);
    const bits = value % 8;
    if ((bits & (write ? MTT_WRITE : MTT_READ)) === 0) return key.onDemand ? this.missing(key, address) : DENIED;
    return this.found(key, value - bits + (address % size), Math.min(length, size - (address % size)));
  }

  private absent(entry: number): number {
    this.address = entry;
    return NOT_CACHED;
  }

  /** Leaves the key that a piece points to in `missingKey`. */
  private piece(key: MemoryKey, address: number, length: number): number {
    if (key.accessMode !== MLX5_MKC_ACCESS_MODE_KLMS && key.accessMode !== MLX5_MKC_ACCESS_MODE_KSM) return DENIED;
    const same = key.accessMode === MLX5_MKC_ACCESS_MODE_KSM;
    let offset = address - key.startAddress;
    if (!same && offset < key.hintOffset) {
      key.hintEntry = 0;
      key.hintOffset = 0;
    }
    let entry = same ? Math.floor(offset / 2 ** key.logPageSize) * KLM_BYTES : key.hintEntry;
    offset = same ? offset % 2 ** key.logPageSize : offset - key.hintOffset;
    for (; entry + KLM_BYTES <= key.tableBytes; entry += KLM_BYTES) {
      const at = this.cache.find(key.table + entry);
      if (at < 0) return this.absent(key.table + entry);
      const { view } = this.cache;
      const bytes = same ? 2 ** key.logPageSize : view.getUint32(at + DATA_BYTE_COUNT);
      if (offset >= bytes) {
        offset -= bytes;
        key.hintEntry = entry + KLM_BYTES;
        key.hintOffset += bytes;
        continue;
      }
      const target = view.getUint32(at + DATA_LKEY);
      if (target === NULL_MKEY) return this.missing(key, address);
      this.missingKey = target;
      this.address = readBe64(view, at + DATA_ADDRESS) + offset;
      this.length = Math.min(length, bytes - offset);
      return TRANSLATED;
    }
    return DENIED;
  }
}
