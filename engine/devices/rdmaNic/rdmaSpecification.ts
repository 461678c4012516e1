/**
 * What a driver and an RDMA adapter say to each other in memory, all of it big endian: work queue entries, completions,
 * memory key contexts and translation entries (Linux include/linux/mlx5/qp.h, device.h and mlx5_ifc.h: field names and offsets are theirs;
 * NVIDIA/Mellanox Adapters Programmer's Reference Manual).
 * Leaves out: doorbell records, SEND, atomics, inline data, signatures (BSF), immediate data and invalidation with a send.
 */

/** `mlx5_wqe_ctrl_seg`: opmod_idx_opcode, qpn_ds, signature, fm_ce_se, imm. A send entry is a row of basic blocks. */
export const WQE_BASIC_BLOCK = 64;
export const SEGMENT_BYTES = 16;
export const CONTROL_OPCODE = 0;
export const CONTROL_QPN_DS = 4;
export const CONTROL_FLAGS = 11;
/** For a UMR work request: the memory key that it changes. */
export const CONTROL_IMMEDIATE = 12;
export const MLX5_WQE_CTRL_CQ_UPDATE = 2 << 2;

export const MLX5_OPCODE_NOP = 0x00;
export const MLX5_OPCODE_RDMA_WRITE = 0x08;
export const MLX5_OPCODE_RDMA_READ = 0x10;
export const MLX5_OPCODE_UMR = 0x25;

/** `mlx5_wqe_raddr_seg`. */
export const REMOTE_ADDRESS = 0;
export const REMOTE_KEY = 8;

/** `mlx5_wqe_data_seg`; KLM and KSM entries are laid out the same (`mlx5_klm`, `mlx5_ksm`: the first word of a KSM is reserved). */
export const DATA_BYTE_COUNT = 0;
export const DATA_LKEY = 4;
export const DATA_ADDRESS = 8;

/** `mlx5_wqe_umr_ctrl_seg`, 48 bytes. */
export const UMR_CONTROL_BYTES = 48;
export const UMR_FLAGS = 0;
export const UMR_XLT_OCTOWORDS = 4;
export const UMR_XLT_OFFSET = 6;
export const UMR_MKEY_MASK = 8;
export const UMR_XLT_OFFSET_47_16 = 16;
export const MLX5_UMR_TRANSLATION_OFFSET_EN = 1 << 4;
export const MLX5_UMR_INLINE = 1 << 7;
/** Bits of `mkey_mask`: which fields of the context the work request changes. */
export const MLX5_MKEY_MASK_LEN = 2 ** 0;
export const MLX5_MKEY_MASK_PAGE_SIZE = 2 ** 1;
export const MLX5_MKEY_MASK_START_ADDR = 2 ** 6;
export const MLX5_MKEY_MASK_PD = 2 ** 7;
export const MLX5_MKEY_MASK_LR = 2 ** 17;
export const MLX5_MKEY_MASK_LW = 2 ** 18;
export const MLX5_MKEY_MASK_RR = 2 ** 19;
export const MLX5_MKEY_MASK_RW = 2 ** 20;
export const MLX5_MKEY_MASK_FREE = 2 ** 29;

/** `mlx5_mkey_seg`, which is also the context of a memory key (`mkc`), 64 bytes. */
export const MKEY_CONTEXT_BYTES = 64;
export const MKEY_STATUS = 0;
export const MKEY_FLAGS = 2;
export const MKEY_FLAGS_PD = 12;
export const MKEY_START_ADDRESS = 16;
export const MKEY_LENGTH = 24;
export const MKEY_LOG_PAGE_SIZE = 59;
export const MLX5_MKEY_STATUS_FREE = 1 << 6;
/** Bits of `flags`. */
export const MLX5_PERM_LOCAL_READ = 1 << 2;
export const MLX5_PERM_LOCAL_WRITE = 1 << 3;
export const MLX5_PERM_REMOTE_READ = 1 << 4;
export const MLX5_PERM_REMOTE_WRITE = 1 << 5;
export const MLX5_PERM_UMR_EN = 1 << 7;
export const MLX5_MKC_ACCESS_MODE_PA = 0;
export const MLX5_MKC_ACCESS_MODE_MTT = 1;
export const MLX5_MKC_ACCESS_MODE_KLMS = 2;
export const MLX5_MKC_ACCESS_MODE_KSM = 3;

/** Translation entries; tables are written in units of 64 bytes. */
export const MTT_BYTES = 8;
export const KLM_BYTES = 16;
export const XLT_ALIGNMENT = 64;
/** MLX5_EN_RD and MLX5_EN_WR, the low bits of an MTT. */
export const MTT_READ = 1;
export const MTT_WRITE = 2;

/** `mlx5_cqe64` and `mlx5_err_cqe`. */
export const CQE_BYTES = 64;
export const CQE_BYTE_COUNT = 44;
export const CQE_TIMESTAMP = 48;
export const CQE_SYNDROME = 55;
/** Opcode 31:24 of the work request, queue pair number 23:0. */
export const CQE_OPCODE_QPN = 56;
export const CQE_WQE_COUNTER = 60;
/** Opcode 7:4, owner 0: the completion is new when the owner bit is the parity of the queue's lap. */
export const CQE_OP_OWN = 63;
export const MLX5_CQE_REQ = 0;
export const MLX5_CQE_REQ_ERR = 13;

export const MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR = 0x02;
export const MLX5_CQE_SYNDROME_LOCAL_PROT_ERR = 0x04;
export const MLX5_CQE_SYNDROME_WR_FLUSH_ERR = 0x05;
export const MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR = 0x11;
export const MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR = 0x13;
export const MLX5_CQE_SYNDROME_REMOTE_OP_ERR = 0x14;

const FOUR_GIB = 2 ** 32;

/** Addresses of the emulator are exact to 2^53; an address beyond is rounded by the caller's choice of numbers, not here. */
export function readBe64(view: DataView, at: number): number {
  return view.getUint32(at) * FOUR_GIB + view.getUint32(at + 4);
}

export function writeBe64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / FOUR_GIB));
  view.setUint32(at + 4, value % FOUR_GIB);
}
