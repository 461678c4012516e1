/**
 * A UMR work request: entries written into the table of a memory key, and fields of its context changed (Linux
 * drivers/infiniband/hw/mlx5/umr.c; `mlx5_wqe_umr_ctrl_seg`, `mlx5_mkey_seg`).
 * Leaves out: checks that a key is free or not, changes of a key's access mode.
 */
import type { MemoryKey, MemoryKeys } from './memoryKeys.ts';
import type { QueuePair } from './queuePair.ts';
import * as spec from './rdmaSpecification.ts';
import type { TableCache } from './tableCache.ts';

/** What a UMR work request under way writes, and where. */
export interface UmrWork {
  readonly key: MemoryKey;
  readonly address: number;
  readonly bytes: Uint8Array;
}

const CONTROL = spec.SEGMENT_BYTES;
const CONTEXT = CONTROL + spec.UMR_CONTROL_BYTES;
const DATA = CONTEXT + spec.MKEY_CONTEXT_BYTES;

/** Null: the request is no valid one. */
export function umrTarget(qp: QueuePair, keys: MemoryKeys): UmrWork | null {
  const { view, entry } = qp;
  const key = keys.get(view.getUint32(spec.CONTROL_IMMEDIATE));
  if (key === null || (key.permissions & spec.MLX5_PERM_UMR_EN) === 0) return null;
  const flags = view.getUint8(CONTROL + spec.UMR_FLAGS);
  const length = view.getUint16(CONTROL + spec.UMR_XLT_OCTOWORDS) * spec.SEGMENT_BYTES;
  const low = view.getUint16(CONTROL + spec.UMR_XLT_OFFSET);
  const octowords = view.getUint32(CONTROL + spec.UMR_XLT_OFFSET_47_16) * 0x1_0000 + low;
  const offset = (flags & spec.MLX5_UMR_TRANSLATION_OFFSET_EN) === 0 ? 0 : octowords * spec.SEGMENT_BYTES;
  if (length % spec.XLT_ALIGNMENT !== 0 || offset + length > key.tableBytes) return null;
  const inline = (flags & spec.MLX5_UMR_INLINE) !== 0;
  if (inline ? DATA + length > qp.blocks * spec.WQE_BASIC_BLOCK : qp.total < length) return null;
  return {
    key,
    address: key.table + offset,
    bytes: inline ? entry.slice(DATA, DATA + length) : new Uint8Array(length),
  };
}

/** The table is written: the context changes, and nothing cached of it is used any more. */
export function applyUmr(qp: QueuePair, work: UmrWork, cache: TableCache): void {
  const { view } = qp;
  const { key } = work;
  const low = view.getUint32(CONTROL + spec.UMR_MKEY_MASK + 4);
  const flags = view.getUint8(CONTEXT + spec.MKEY_FLAGS);
  const changes = (bit: number): boolean => Math.floor(low / bit) % 2 === 1;
  const permission = (mask: number, bit: number): void => {
    if (changes(mask)) key.permissions = (key.permissions & ~bit) | (flags & bit);
  };
  if (changes(spec.MLX5_MKEY_MASK_LEN)) key.length = spec.readBe64(view, CONTEXT + spec.MKEY_LENGTH);
  if (changes(spec.MLX5_MKEY_MASK_START_ADDR)) {
    key.startAddress = spec.readBe64(view, CONTEXT + spec.MKEY_START_ADDRESS);
  }
  if (changes(spec.MLX5_MKEY_MASK_PAGE_SIZE)) {
    key.logPageSize = view.getUint8(CONTEXT + spec.MKEY_LOG_PAGE_SIZE) & 0x1f;
  }
  if (changes(spec.MLX5_MKEY_MASK_PD)) key.pd = view.getUint32(CONTEXT + spec.MKEY_FLAGS_PD) & 0xff_ffff;
  if (changes(spec.MLX5_MKEY_MASK_FREE)) {
    key.free = (view.getUint8(CONTEXT + spec.MKEY_STATUS) & spec.MLX5_MKEY_STATUS_FREE) !== 0;
  }
  permission(spec.MLX5_MKEY_MASK_LR, spec.MLX5_PERM_LOCAL_READ);
  permission(spec.MLX5_MKEY_MASK_LW, spec.MLX5_PERM_LOCAL_WRITE);
  permission(spec.MLX5_MKEY_MASK_RR, spec.MLX5_PERM_REMOTE_READ);
  permission(spec.MLX5_MKEY_MASK_RW, spec.MLX5_PERM_REMOTE_WRITE);
  key.hintEntry = 0;
  key.hintOffset = 0;
  if (key.tableBytes > 0) cache.invalidate(key.table, key.tableBytes);
}
