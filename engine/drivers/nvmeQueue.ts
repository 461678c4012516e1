/**
 * The driver's side of a queue pair (`struct nvme_queue`, Linux drivers/nvme/host/pci.c): the entries as bytes in coherent
 * memory, the tail of the submission queue, the head and phase of the completion queue.
 */
import {
  COMPLETION_QUEUE_ENTRY_BYTES,
  CQE_DW3_CID_STATUS,
  CQE_PHASE_BIT,
  SQE_DWORDS,
  SUBMISSION_QUEUE_ENTRY_BYTES,
} from '../devices/nvmeSpecification.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { DescriptorBlock } from './descriptorPool.ts';

export class NvmeQueue {
  /** 1-based: queue 0 is the admin queue. */
  readonly id: number;
  readonly entries: number;
  /** The CPU that the queue's MSI goes to. */
  readonly interruptCpu: number;
  readonly submission: DescriptorBlock;
  readonly completion: DescriptorBlock;
  tail = 0;
  /** The tail that the doorbell last said. */
  rungTail = 0;
  head = 0;
  /** The drive's tail when the doorbell of the completion queue was last rung. */
  rungHead = 0;
  /** An interrupt is being handled or waits for its CPU. */
  interruptPending = false;
  private phase: 0 | 1 = 1;
  private readonly memory: PhysicalMemory;
  private readonly freeTags: number[] = [];

  constructor(
    id: number,
    entries: number,
    interruptCpu: number,
    submission: DescriptorBlock,
    completion: DescriptorBlock,
    memory: PhysicalMemory,
  ) {
    this.id = id;
    this.entries = entries;
    this.interruptCpu = interruptCpu;
    this.submission = submission;
    this.completion = completion;
    this.memory = memory;
    // A full queue is told from an empty one by the entry that stays free.
    for (let tag = entries - 2; tag >= 0; tag -= 1) this.freeTags.push(tag);
  }

  /** The lowest tag in reach, or -1: all are in flight. */
  takeTag(): number {
    return this.freeTags.pop() ?? -1;
  }

  returnTag(tag: number): void {
    this.freeTags.push(tag);
  }

  get requestsInFlight(): number {
    return this.entries - 1 - this.freeTags.length;
  }

  /** Copies a submission queue entry to the tail. */
  push(entry: Uint32Array): void {
    const phys = this.submission.phys + this.tail * SUBMISSION_QUEUE_ENTRY_BYTES;
    const page = Math.floor(phys / PAGE_SIZE);
    const word = (phys % PAGE_SIZE) / 4;
    for (let index = 0; index < SQE_DWORDS; index += 1) this.memory.writeWord(page, word + index, entry[index]!);
    this.tail = (this.tail + 1) % this.entries;
  }

  /** Dword 3 of the completion queue entry at the head, or -1 when the drive has not written it yet. */
  completionAtHead(): number {
    const phys = this.completion.phys + this.head * COMPLETION_QUEUE_ENTRY_BYTES;
    const word = (phys % PAGE_SIZE) / 4 + CQE_DW3_CID_STATUS;
    const dword = this.memory.readWord(Math.floor(phys / PAGE_SIZE), word);
    const phase = (dword & CQE_PHASE_BIT) === 0 ? 0 : 1;
    return phase === this.phase ? dword : -1;
  }

  advanceHead(): void {
    this.head += 1;
    if (this.head < this.entries) return;
    this.head = 0;
    this.phase = this.phase === 1 ? 0 : 1;
  }
}
