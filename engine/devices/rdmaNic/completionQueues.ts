/**
 * Completion queues: entries of 64 bytes that the adapter writes into a ring in memory, with an owner bit that says which lap they are of,
 * and an interrupt where the driver has asked for one (`mlx5_cqe64`, `mlx5_err_cqe`).
 * Leaves out: a queue that is full, moderation of interrupts: each is armed once.
 */
import { dmaAddr } from '../../memory/addresses.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import type { QueuePair } from './queuePair.ts';
import * as spec from './rdmaSpecification.ts';

export interface CompletionQueueOptions {
  readonly address: number;
  readonly entries: number;
  /** Told of interrupts, with this kind and the queue's number. */
  readonly interrupt: EventHandler;
  readonly kind: number;
}

interface CompletionQueue {
  readonly options: CompletionQueueOptions;
  written: number;
  armed: boolean;
}

export class CompletionQueues implements EventHandler {
  private readonly port: DmaPort;
  private readonly events: EventQueue;
  private readonly queues: CompletionQueue[] = [];

  constructor(port: DmaPort, events: EventQueue) {
    this.port = port;
    this.events = events;
  }

  create(options: CompletionQueueOptions): number {
    return this.queues.push({ options, written: 0, armed: true }) - 1;
  }

  /** The driver wants one more interrupt. */
  arm(number: number): void {
    this.queues[number]!.armed = true;
  }

  /** `syndrome` 0: the work request is done. */
  write(number: number, qp: QueuePair, syndrome: number): void {
    const queue = this.queues[number]!;
    const { address, entries } = queue.options;
    const entry = new Uint8Array(spec.CQE_BYTES);
    const view = new DataView(entry.buffer);
    const opcode = syndrome === 0 ? spec.MLX5_CQE_REQ : spec.MLX5_CQE_REQ_ERR;
    if (syndrome === 0) {
      view.setUint32(spec.CQE_BYTE_COUNT, qp.total);
      spec.writeBe64(view, spec.CQE_TIMESTAMP, this.events.now);
    } else entry[spec.CQE_SYNDROME] = syndrome;
    view.setUint32(spec.CQE_OPCODE_QPN, qp.opcode * 0x100_0000 + qp.number);
    view.setUint16(spec.CQE_WQE_COUNTER, qp.counter);
    entry[spec.CQE_OP_OWN] = (opcode << 4) | (Math.floor(queue.written / entries) % 2);
    const place = dmaAddr(address + (queue.written % entries) * spec.CQE_BYTES);
    queue.written += 1;
    this.port.write(place, spec.CQE_BYTES, entry, 0, this, 0, number);
  }

  /** An entry is in memory. */
  handleEvent(_kind: number, number: number): void {
    const queue = this.queues[number]!;
    if (!queue.armed) return;
    queue.armed = false;
    this.port.raiseInterrupt(queue.options.interrupt, queue.options.kind, number);
  }
}
