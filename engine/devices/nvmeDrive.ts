/**
 * An NVMe drive: it fetches submission queue entries by DMA when a doorbell rings, follows PRP lists and SGLs by DMA, moves the
 * data of reads and writes between its medium and memory, writes completion queue entries with their phase tag and raises
 * an MSI (NVM Express Base Specification 2.0, 3.3 queues, 3.1.3 registers, 4.1 data pointers, 4.2 completion entries; NVM
 * Command Set Specification 1.0, 3.2 commands). It sees bus addresses only: what the IOMMU refuses ends as a Data Transfer
 * Error, and what was mapped wrongly ends as wrong bytes.
 * Leaves out: the admin queue (queues are created by calls that carry the fields of the admin commands), several namespaces,
 * weighted arbitration, interrupt coalescing, volatile write caches.
 */
import type { Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import { dmaAddr, type DmaAddr } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import { NvmeCommandContext } from './nvmeCommandContext.ts';
import { LIST_FETCH_BYTES } from './nvmeDataPointer.ts';
import { NvmeMedia } from './nvmeMedia.ts';
import { NvmeMediaTiming, type NvmeMediaTimingOptions } from './nvmeMediaTiming.ts';
import {
  COMPLETION_QUEUE_ENTRY_BYTES,
  LOGICAL_BLOCK_BYTES,
  NVME_CMD_FLUSH,
  NVME_CMD_READ,
  NVME_CMD_WRITE,
  NVME_SC_DATA_XFER_ERROR,
  NVME_SC_INVALID_FIELD,
  NVME_SC_INVALID_OPCODE,
  NVME_SC_LBA_RANGE,
  NVME_SC_SUCCESS,
  SQE_CDW0,
  SQE_CDW10,
  SQE_CDW11,
  SQE_CDW12,
  SQE_DWORDS,
  SUBMISSION_QUEUE_ENTRY_BYTES,
  statusName,
  type ControllerCapabilities,
} from './nvmeSpecification.ts';
import { NvmeTransferEngine } from './nvmeTransferEngine.ts';
import { NvmeCompletionQueue, NvmeSubmissionQueue, SQE_FETCH_ENTRIES } from './nvmeDriveQueues.ts';

export interface NvmeDriveOptions {
  readonly name: string;
  readonly capacityBytes: number;
  readonly maxQueueEntries: number;
  readonly maxTransferBytes: number;
  readonly sgl: boolean;
  /** Commands that the drive works on at once; further ones wait in their queues. */
  readonly commandSlots: number;
  /** Commands whose data may be under way at once: the drive's buffer memory. */
  readonly transferBuffers: number;
  readonly media: NvmeMediaTimingOptions;
}

/** The inside of a data-centre drive, where nothing is published: wide enough never to be the narrowest place by itself. */
export const NVME_DRIVE_DEFAULTS = { commandSlots: 1024, transferBuffers: 64, channels: 128 } as const;

export interface NvmeDriveMachine {
  readonly port: DmaPort;
  readonly events: EventQueue;
  readonly counters: Counters;
  readonly log: EventLog | null;
}

const DOORBELL_SQ = 0;
const DOORBELL_CQ = 1;
const SQE_FETCHED = 2;
const LIST_FETCHED = 3;
const MEDIA_READY = 4;
const DATA_MOVED = 5;
const CQE_WRITTEN = 6;
/** Queue number and index of a doorbell travel in one argument: an index is 16 bits (Base 3.1.4, doorbell registers). */
const DOORBELL_RADIX = 0x1_0000;

export class NvmeDrive implements EventHandler {
  readonly name: string;
  readonly capabilities: ControllerCapabilities;
  readonly capacityBlocks: number;
  readonly media: NvmeMedia;
  private readonly port: DmaPort;
  private readonly events: EventQueue;
  private readonly counters: Counters;
  private readonly log: EventLog | null;
  private readonly timing: NvmeMediaTiming;
  /** By identifier; 0 would be the admin queue. */
  private readonly submissionQueues: (NvmeSubmissionQueue | undefined)[] = [undefined];
  private readonly completionQueues: (NvmeCompletionQueue | undefined)[] = [undefined];
  private readonly contexts: NvmeCommandContext[] = [];
  private readonly toMemory: NvmeTransferEngine;
  private readonly fromMemory: NvmeTransferEngine;
  private readonly idleContexts: number[] = [];
  /** Idle contexts that belong to fetches under way. */
  private reservedContexts = 0;
  private readonly idleBuffers: Uint32Array<ArrayBuffer>[] = [];
  private readonly waitingForBuffer: number[] = [];

  /** `sharing`: another controller of the same drive, whose medium this one works on as well; null: it is the only one. */
  constructor(machine: NvmeDriveMachine, options: NvmeDriveOptions, sharing: NvmeDrive | null = null) {
    this.name = options.name;
    this.port = machine.port;
    this.events = machine.events;
    this.counters = machine.counters;
    this.log = machine.log;
    this.capacityBlocks = Math.floor(options.capacityBytes / LOGICAL_BLOCK_BYTES);
    this.media = sharing?.media ?? new NvmeMedia();
    this.timing = sharing?.timing ?? new NvmeMediaTiming(options.media);
    this.capabilities = {
      maximumQueueEntriesSupported: options.maxQueueEntries - 1,
      maximumDataTransferBytes: options.maxTransferBytes,
      sglSupport: options.sgl,
    };
    this.toMemory = new NvmeTransferEngine(this.port, this.contexts, 'toMemory', this, DATA_MOVED);
    this.fromMemory = new NvmeTransferEngine(this.port, this.contexts, 'fromMemory', this, DATA_MOVED);
    for (let slot = 0; slot < options.commandSlots; slot += 1) {
      this.contexts.push(new NvmeCommandContext());
      this.idleContexts.push(options.commandSlots - 1 - slot);
    }
    for (let buffer = 0; buffer < options.transferBuffers; buffer += 1) this.idleBuffers.push(new Uint32Array(1024));
  }

  /** Create I/O Completion Queue (Base 5.4): `vector` is delivered to the handler as its MSI. */
  createCompletionQueue(id: number, address: DmaAddr, entries: number, interrupt: EventHandler, kind: number): void {
    this.completionQueues[id] = new NvmeCompletionQueue(id, address, entries, interrupt, kind);
  }

  /** Create I/O Submission Queue (Base 5.5). */
  createSubmissionQueue(id: number, address: DmaAddr, entries: number, completionQueueId: number): void {
    this.submissionQueues[id] = new NvmeSubmissionQueue(id, address, entries, completionQueueId);
  }

  /** A CPU writes the Submission Queue Tail Doorbell (Base 3.1.4, offset 1000h + 2y * stride) at `at`. */
  writeSubmissionDoorbell(id: number, tail: number, at: Picoseconds): void {
    this.events.schedule(this.port.mmioWrite(at), this, DOORBELL_SQ, id * DOORBELL_RADIX + tail);
  }

  /** A CPU writes the Completion Queue Head Doorbell at `at`. */
  writeCompletionDoorbell(id: number, head: number, at: Picoseconds): void {
    this.events.schedule(this.port.mmioWrite(at), this, DOORBELL_CQ, id * DOORBELL_RADIX + head);
  }

  /** Commands inside the drive. */
  get commandsInFlight(): number {
    return this.contexts.length - this.idleContexts.length;
  }

  handleEvent(kind: number, argument: number): void {
    switch (kind) {
      case DOORBELL_SQ: {
        const queue = this.submissionQueues[Math.floor(argument / DOORBELL_RADIX)]!;
        queue.tail = argument % DOORBELL_RADIX;
        this.fetchEntries(queue);
        break;
      }
      case DOORBELL_CQ: {
        const queue = this.completionQueues[Math.floor(argument / DOORBELL_RADIX)]!;
        queue.head = argument % DOORBELL_RADIX;
        this.drainWaitingCompletions(queue);
        break;
      }
      case SQE_FETCHED:
        this.entriesFetched(this.submissionQueues[argument]!);
        break;
      case LIST_FETCHED:
        this.listFetched(argument);
        break;
      case MEDIA_READY:
        this.mediaReady(argument);
        break;
      case DATA_MOVED:
        this.dataMoved(argument);
        break;
      case CQE_WRITTEN:
        this.completionWritten(argument);
        break;
    }
  }

  private fetchEntries(queue: NvmeSubmissionQueue): void {
    if (queue.fetching > 0) return;
    const available = (queue.tail - queue.fetched + queue.entries) % queue.entries;
    const toEnd = queue.entries - queue.fetched;
    const count = Math.min(available, toEnd, SQE_FETCH_ENTRIES, this.idleContexts.length - this.reservedContexts);
    if (count === 0) return;
    queue.fetching = count;
    this.reservedContexts += count;
    this.counters.add('descriptorFetches', 1);
    const address = dmaAddr(queue.address + queue.fetched * SUBMISSION_QUEUE_ENTRY_BYTES);
    const bytes = count * SUBMISSION_QUEUE_ENTRY_BYTES;
    this.port.read(address, bytes, queue.buffer, 0, this, SQE_FETCHED, queue.id);
  }

  private entriesFetched(queue: NvmeSubmissionQueue): void {
    const count = queue.fetching;
    queue.fetching = 0;
    this.reservedContexts -= count;
    if (this.port.lastStatus !== 0) {
      this.report(
        'error',
        `submission queue ${String(queue.id)} cannot be read: its memory is not mapped for the drive`,
      );
      return;
    }
    queue.fetched = (queue.fetched + count) % queue.entries;
    for (let index = 0; index < count; index += 1) this.startCommand(queue, index * SQE_DWORDS);
    this.fetchEntries(queue);
  }

  private startCommand(queue: NvmeSubmissionQueue, entry: number): void {
    const slot = this.idleContexts.pop()!;
    const context = this.contexts[slot]!;
    const { dwords } = queue;
    context.queue = queue.id;
    context.commandId = dwords[entry + SQE_CDW0]! >>> 16;
    context.opcode = dwords[entry + SQE_CDW0]! & 0xff;
    context.status = NVME_SC_SUCCESS;
    context.lba = dwords[entry + SQE_CDW11]! * 2 ** 32 + dwords[entry + SQE_CDW10]!;
    context.blocks = (dwords[entry + SQE_CDW12]! & 0xffff) + 1;
    if (context.opcode === NVME_CMD_FLUSH) {
      context.blocks = 0;
      this.complete(slot, NVME_SC_SUCCESS);
    } else if (context.opcode !== NVME_CMD_READ && context.opcode !== NVME_CMD_WRITE) {
      this.complete(slot, NVME_SC_INVALID_OPCODE);
    } else if (context.lba + context.blocks > this.capacityBlocks) {
      this.complete(slot, NVME_SC_LBA_RANGE);
    } else if (context.bytes > this.capabilities.maximumDataTransferBytes) {
      this.complete(slot, NVME_SC_INVALID_FIELD);
    } else {
      context.walk.start(dwords, entry, context.bytes, this.capabilities.sglSupport);
      this.continueWalk(slot);
    }
  }

  private continueWalk(slot: number): void {
    const { walk } = this.contexts[slot]!;
    if (walk.status !== NVME_SC_SUCCESS) this.complete(slot, walk.status);
    else if (walk.fetchBytes > 0) this.fetchList(slot);
    else this.dataPointerKnown(slot);
  }

  private fetchList(slot: number): void {
    const context = this.contexts[slot]!;
    const { walk } = context;
    this.counters.add('descriptorFetches', 1);
    const list = context.listBuffer(LIST_FETCH_BYTES);
    this.port.read(dmaAddr(walk.fetchAddress), walk.fetchBytes, list, 0, this, LIST_FETCHED, slot);
  }

  private listFetched(slot: number): void {
    const context = this.contexts[slot]!;
    if (this.port.lastStatus !== 0) {
      this.complete(slot, NVME_SC_DATA_XFER_ERROR);
      return;
    }
    context.walk.consume(context.listWords());
    this.continueWalk(slot);
  }

  private dataPointerKnown(slot: number): void {
    const context = this.contexts[slot]!;
    if (context.opcode === NVME_CMD_READ) this.enterMedia(slot);
    else this.takeBuffer(slot);
  }

  private enterMedia(slot: number): void {
    const context = this.contexts[slot]!;
    const ready = this.timing.access(context.opcode === NVME_CMD_WRITE, context.bytes, this.events.now);
    this.events.schedule(ready, this, MEDIA_READY, slot);
  }

  private mediaReady(slot: number): void {
    if (this.contexts[slot]!.opcode === NVME_CMD_READ) this.takeBuffer(slot);
    else this.complete(slot, NVME_SC_SUCCESS);
  }

  private takeBuffer(slot: number): void {
    const buffer = this.idleBuffers.pop();
    if (buffer === undefined) this.waitingForBuffer.push(slot);
    else this.moveData(slot, buffer);
  }

  private moveData(slot: number, idle: Uint32Array<ArrayBuffer>): void {
    const context = this.contexts[slot]!;
    const buffer = idle.byteLength >= context.bytes ? idle : new Uint32Array(context.bytes / 4);
    context.buffer = buffer;
    context.bufferBytes = new Uint8Array(buffer.buffer);
    if (context.opcode === NVME_CMD_READ) {
      this.media.read(context.lba, context.blocks, buffer);
      this.toMemory.start(slot);
    } else {
      this.fromMemory.start(slot);
    }
  }

  private dataMoved(slot: number): void {
    const context = this.contexts[slot]!;
    if (this.port.lastStatus !== 0) context.status = NVME_SC_DATA_XFER_ERROR;
    const writing = context.opcode === NVME_CMD_WRITE;
    if (!(writing ? this.fromMemory : this.toMemory).pieceMoved(slot)) return;
    const intact = context.status === NVME_SC_SUCCESS;
    if (writing && intact) this.media.write(context.lba, context.blocks, context.buffer!);
    this.returnBuffer(context.buffer!);
    context.buffer = null;
    context.bufferBytes = null;
    if (writing && intact) this.enterMedia(slot);
    else this.complete(slot, context.status);
  }

  private returnBuffer(buffer: Uint32Array<ArrayBuffer>): void {
    const next = this.waitingForBuffer.shift();
    if (next === undefined) this.idleBuffers.push(buffer);
    else this.moveData(next, buffer);
  }

  private complete(slot: number, status: number): void {
    const context = this.contexts[slot]!;
    context.status = status;
    if (status !== NVME_SC_SUCCESS) {
      const what = context.opcode === NVME_CMD_WRITE ? 'write' : context.opcode === NVME_CMD_READ ? 'read' : 'command';
      const range = `LBA ${String(context.lba)}, ${String(context.blocks)} blocks`;
      this.report('error', `${what} of ${range} ended with status "${statusName(status)}"`);
    }
    const queue = this.completionQueues[this.submissionQueues[context.queue]!.completionQueueId]!;
    if (queue.full) queue.waiting.push(slot);
    else this.writeCompletion(queue, slot);
  }

  private drainWaitingCompletions(queue: NvmeCompletionQueue): void {
    while (queue.waiting.length > 0 && !queue.full) this.writeCompletion(queue, queue.waiting.shift()!);
  }

  private writeCompletion(queue: NvmeCompletionQueue, slot: number): void {
    const context = this.contexts[slot]!;
    const submissionQueue = this.submissionQueues[context.queue]!;
    context.encodeCompletion(submissionQueue.fetched, submissionQueue.id, queue.phase);
    const address = dmaAddr(queue.address + queue.tail * COMPLETION_QUEUE_ENTRY_BYTES);
    queue.advanceTail();
    this.port.write(address, COMPLETION_QUEUE_ENTRY_BYTES, context.completionBytes, 0, this, CQE_WRITTEN, slot);
  }

  private completionWritten(slot: number): void {
    const context = this.contexts[slot]!;
    const submissionQueue = this.submissionQueues[context.queue]!;
    const queue = this.completionQueues[submissionQueue.completionQueueId]!;
    if (this.port.lastStatus !== 0) {
      this.report(
        'error',
        `completion queue ${String(queue.id)} cannot be written: its memory is not mapped for the drive`,
      );
    }
    this.idleContexts.push(slot);
    this.port.raiseInterrupt(queue.interrupt, queue.kind, queue.id);
    // A queue may have stopped fetching for want of a command slot.
    for (const waiting of this.submissionQueues) if (waiting !== undefined) this.fetchEntries(waiting);
  }

  private report(severity: 'error', message: string): void {
    this.log?.add(this.events.now, severity, this.name, message);
  }
}
