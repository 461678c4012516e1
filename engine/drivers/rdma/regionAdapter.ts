/**
 * What registering memory needs of an adapter (as mlx5 offers it: `create_mkey` and `destroy_mkey` of the firmware, and UMR work requests that
 * switch a key on or off and write its table): keys with room for so many table entries.
 */
import type { Cpu } from '../../time/cpu.ts';

/** A UMR work request switches a key on with this, once its table is whole. */
export interface KeyContext {
  /** The adapter's address of the first byte. */
  readonly iova: number;
  readonly length: number;
  readonly pageSize: number;
  /** `IB_ACCESS_*`. */
  readonly access: number;
}

/** Errors are negative errnos, after which the call has done nothing. Each call returns when the adapter has carried it out. */
export interface RegionAdapter {
  /** Powers of two that a key may have as its page size. */
  readonly pageSizes: readonly number[];
  /** A key that is switched off, with room for so many entries of a table; or a negative errno. */
  createKey(cpu: Cpu, entries: number): number;
  destroyKey(cpu: Cpu, key: number): void;
  /** A UMR that writes `length` bytes of table, a multiple of 64, from entry `firstEntry` on. */
  writeTable(cpu: Cpu, key: number, firstEntry: number, bytes: Uint8Array, length: number): number;
  /** A UMR that switches a key on, or with null off: no request uses it any more when that returns. */
  setKey(cpu: Cpu, key: number, context: KeyContext | null): number;
}
