/**
 * What on-demand paging needs of an adapter: keys with a table of entries, entries written and taken away (in mlx5 by UMR work requests), page
 * faults with an answer, and keys that point to keys (KSM) for implicit regions.
 */
import type { Picoseconds } from '../../time/picoseconds.ts';

/** A message stands still for want of these pages, which are numbered by the process's addresses. */
export interface OdpFault {
  readonly message: number;
  readonly key: number;
  readonly firstPage: number;
  readonly pages: number;
  /** Pages behind them that it will want next. */
  readonly hinted: number;
  readonly write: boolean;
}

export interface OdpAdapter {
  onFault: ((fault: OdpFault) => void) | null;
  /** A key without any entry. */
  addRegion(key: number, firstPage: number, pages: number): void;
  addIndirectRegion(key: number, piecePages: number): void;
  pointTo(key: number, piece: number, target: number | null): void;
  removeRegion(key: number): void;
  /** Entries from `firstPage` on: addresses, and access bits as in an MTT, 0: absent. */
  writeEntries(key: number, firstPage: number, addresses: Float64Array, access: Uint8Array, count: number): void;
  /** Takes entries away; when it returns, the adapter uses them no more. */
  zap(key: number, firstPage: number, count: number): void;
  /** What the CPU waits for one work request that writes so many entries. */
  updateTime(entries: number): Picoseconds;
  /** The answer to a fault, from `at` on; a message that is not `served` ends in failure. */
  resume(fault: OdpFault, served: boolean, at: Picoseconds): void;
}
