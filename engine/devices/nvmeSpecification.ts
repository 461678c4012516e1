/**
 * Names and numbers of the NVM Express Base Specification 2.0 and the NVM Command Set Specification 1.0, as far as drive and
 * driver use them: queue entries, opcodes, data pointers, status codes, doorbells. Both sides encode and decode with them.
 * Leaves out: the admin command set (queues are created with the fields of Create I/O Completion/Submission Queue),
 * metadata, fused commands, namespaces beyond the first.
 */

/** Base 3.3.3.1: a submission queue entry is 64 bytes (CC.IOSQES = 6). */
export const SUBMISSION_QUEUE_ENTRY_BYTES = 64;
/** Base 3.3.3.2: a completion queue entry is 16 bytes (CC.IOCQES = 4). */
export const COMPLETION_QUEUE_ENTRY_BYTES = 16;

/** Base 3.1.3.5, CC.MPS = 0: the memory page size, and so the size of what a PRP entry points to. */
export const NVME_CTRL_PAGE_SIZE = 4096;
export const PRP_ENTRY_BYTES = 8;
export const SGL_DESCRIPTOR_BYTES = 16;

/** Base 3.1.3.1, the fields of CAP (offset 0h) that the driver reads. */
export interface ControllerCapabilities {
  /** MQES, 0's based: the most entries of a queue less one. */
  readonly maximumQueueEntriesSupported: number;
  /** Identify Controller, Maximum Data Transfer Size, in bytes (Base figure 275, MDTS). */
  readonly maximumDataTransferBytes: number;
  /** Identify Controller, SGLS (Base figure 275, bytes 536-539): SGLs may be used, without alignment demands. */
  readonly sglSupport: boolean;
}

/** NVM Command Set 3.2, opcodes. */
export const NVME_CMD_FLUSH = 0x00;
export const NVME_CMD_WRITE = 0x01;
export const NVME_CMD_READ = 0x02;

/** Base figure 87, command dword 0 bits 15:14 (PSDT), here as bits 7:6 of the flags byte. */
export const NVME_CMD_SGL_METABUF = 0x40;
export const NVME_CMD_SGL_ALL = 0xc0;

/** Dwords of a submission queue entry (Base figure 88; NVM Command Set 3.2.4). */
export const SQE_CDW0 = 0;
export const SQE_NSID = 1;
export const SQE_DPTR = 6;
export const SQE_CDW10 = 10;
export const SQE_CDW11 = 11;
export const SQE_CDW12 = 12;
export const SQE_DWORDS = 16;

/** Base 4.1.2, figure 122: SGL descriptor types, the upper half of byte 15. */
export const NVME_SGL_FMT_DATA_DESC = 0x0;
export const NVME_SGL_FMT_SEG_DESC = 0x2;
export const NVME_SGL_FMT_LAST_SEG_DESC = 0x3;

/** Base 4.2.1, figure 93: dwords of a completion queue entry. */
export const CQE_DW0 = 0;
export const CQE_DW2_SQHD_SQID = 2;
export const CQE_DW3_CID_STATUS = 3;
/** Phase tag: dword 3 bit 16. */
export const CQE_PHASE_BIT = 0x1_0000;

/** Base 4.2.3.1, generic command status values (figure 97), and NVM Command Set 4.1 for the LBA range. */
export const NVME_SC_SUCCESS = 0x00;
export const NVME_SC_INVALID_OPCODE = 0x01;
export const NVME_SC_INVALID_FIELD = 0x02;
export const NVME_SC_DATA_XFER_ERROR = 0x04;
export const NVME_SC_SGL_INVALID_LAST = 0x0e;
export const NVME_SC_SGL_INVALID_DATA = 0x0f;
export const NVME_SC_SGL_INVALID_TYPE = 0x11;
export const NVME_SC_PRP_INVALID_OFFSET = 0x13;
export const NVME_SC_LBA_RANGE = 0x80;

/** The name under which a status is reported to people. */
export function statusName(status: number): string {
  switch (status) {
    case NVME_SC_SUCCESS:
      return 'Successful Completion';
    case NVME_SC_INVALID_OPCODE:
      return 'Invalid Command Opcode';
    case NVME_SC_INVALID_FIELD:
      return 'Invalid Field in Command';
    case NVME_SC_DATA_XFER_ERROR:
      return 'Data Transfer Error';
    case NVME_SC_SGL_INVALID_LAST:
      return 'Invalid SGL Segment Descriptor';
    case NVME_SC_SGL_INVALID_DATA:
      return 'Data SGL Length Invalid';
    case NVME_SC_SGL_INVALID_TYPE:
      return 'SGL Descriptor Type Invalid';
    case NVME_SC_PRP_INVALID_OFFSET:
      return 'PRP Offset Invalid';
    case NVME_SC_LBA_RANGE:
      return 'LBA Out of Range';
    default:
      return `status 0x${status.toString(16)}`;
  }
}

/** The logical block of every drive of the emulator (LBA format 0, LBADS = 9). */
export const LOGICAL_BLOCK_BYTES = 512;
/** NLB is a 16-bit, 0's based field (NVM Command Set 3.2.4, CDW12). */
export const MAX_BLOCKS_PER_COMMAND = 0x1_0000;
