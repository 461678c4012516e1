/**
 * One command inside the drive, from the fetch of its submission queue entry to its completion queue entry. Reused, so
 * that a drive allocates nothing per command.
 */
import { NvmeDataPointerWalk } from './nvmeDataPointer.ts';
import {
  COMPLETION_QUEUE_ENTRY_BYTES,
  CQE_DW0,
  CQE_DW2_SQHD_SQID,
  CQE_DW3_CID_STATUS,
  CQE_PHASE_BIT,
  LOGICAL_BLOCK_BYTES,
  NVME_SC_SUCCESS,
} from './nvmeSpecification.ts';

export class NvmeCommandContext {
  queue = 0;
  commandId = 0;
  opcode = 0;
  lba = 0;
  blocks = 0;
  status = NVME_SC_SUCCESS;
  buffer: Uint32Array<ArrayBuffer> | null = null;
  bufferBytes: Uint8Array | null = null;
  /** The data transfer: pieces under way, and where the next one starts. */
  pending = 0;
  range = 0;
  rangeOffset = 0;
  bufferOffset = 0;
  readonly walk = new NvmeDataPointerWalk();
  readonly completionBytes = new Uint8Array(COMPLETION_QUEUE_ENTRY_BYTES);
  private readonly completionDwords = new Uint32Array(this.completionBytes.buffer);
  private list: Uint32Array<ArrayBuffer> | null = null;
  private listBytes: Uint8Array | null = null;

  get bytes(): number {
    return this.blocks * LOGICAL_BLOCK_BYTES;
  }

  /** Whether every byte is on its way. */
  get transferred(): boolean {
    return this.range === this.walk.count;
  }

  startTransfer(): void {
    this.pending = 0;
    this.range = 0;
    this.rangeOffset = 0;
    this.bufferOffset = 0;
  }

  advanceTransfer(bytes: number): void {
    this.bufferOffset += bytes;
    this.rangeOffset += bytes;
    if (this.rangeOffset < this.walk.length[this.range]!) return;
    this.range += 1;
    this.rangeOffset = 0;
  }

  /** Most commands need no list, so its buffer comes with the first one that does. */
  listBuffer(bytes: number): Uint8Array {
    if (this.listBytes === null) {
      this.list = new Uint32Array(bytes / 4);
      this.listBytes = new Uint8Array(this.list.buffer);
    }
    return this.listBytes;
  }

  listWords(): Uint32Array {
    return this.list!;
  }

  /** Base 4.2.1: SQ head and identifier in dword 2, command identifier, phase tag and status in dword 3. */
  encodeCompletion(submissionHead: number, submissionQueueId: number, phase: 0 | 1): void {
    const dwords = this.completionDwords;
    dwords[CQE_DW0] = 0;
    dwords[1] = 0;
    dwords[CQE_DW2_SQHD_SQID] = submissionHead + submissionQueueId * 0x1_0000;
    dwords[CQE_DW3_CID_STATUS] = (this.commandId | (phase * CQE_PHASE_BIT) | (this.status << 17)) >>> 0;
  }
}
