/**
 * An RDMA adapter with reliable connections: it fetches work requests by DMA when a doorbell rings, cuts messages into packets for a wire,
 * reads and writes memory by keys whose tables lie in memory, writes completions and raises interrupts (InfiniBand Architecture
 * Specification 9.4 operations, 9.7 reliable service; layouts of rdmaSpecification.ts). A missing translation of a key on demand stops the
 * queue pair until the driver resumes it; at the answering side the packet is dropped and the sender, told "not ready", tries again.
 * Leaves out: SEND and receive queues, several messages of a queue pair under way at once, doorbell records, lost packets.
 */
import { dmaAddr } from '../../memory/addresses.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { CompletionQueues, type CompletionQueueOptions } from './completionQueues.ts';
import { FaultEvents, type FaultEventOptions, type RdmaFault } from './faultEvents.ts';
import { MemoryKeys, type MemoryKey, type MemoryKeyOptions } from './memoryKeys.ts';
import { FAULTED, MOVED, Mover, NOT_ALLOWED, type MoverAdapter } from './mover.ts';
import {
  ACKNOWLEDGE,
  NOT_READY,
  packetFor,
  QueuePair,
  READ_DATA,
  READ_REQUEST,
  WRITE_DATA,
  type Packet,
  type QueuePairOptions,
} from './queuePair.ts';
import * as spec from './rdmaSpecification.ts';
import { Responder, RESPONDER_MOVED } from './responder.ts';
import { TableCache, type TableCacheGeometry } from './tableCache.ts';
import { applyUmr, umrTarget, type UmrWork } from './umr.ts';
import { Wire, type WireOptions } from './wire.ts';

export interface RdmaNicOptions extends WireOptions, FaultEventOptions {
  readonly mtu: number;
  /** After "not ready". */
  readonly notReadyDelay: Picoseconds;
  readonly tableCache: TableCacheGeometry;
}

const DOORBELL = 0;
const ENTRY_FETCHED = 1;
const REQUESTER_MOVED = 2;
const SEND_MORE = 3;
const TRY_AGAIN = 4;
const TABLE_WRITTEN = 5;
const LOOK_AGAIN = 6;
const QUEUE_RADIX = 0x1_0000_0000;

export class RdmaNic implements EventHandler, MoverAdapter {
  readonly port: DmaPort;
  readonly cache: TableCache;
  readonly keys: MemoryKeys;
  readonly wire: Wire;
  private readonly events: EventQueue;
  private readonly options: RdmaNicOptions;
  private readonly pairs: QueuePair[] = [];
  private readonly completions: CompletionQueues;
  private readonly faultEvents: FaultEvents;
  private readonly responder: Responder;
  private readonly draining = new Map<number, MemoryKey>();

  constructor(port: DmaPort, events: EventQueue, options: RdmaNicOptions) {
    this.port = port;
    this.events = events;
    this.options = options;
    this.cache = new TableCache(port, options.tableCache);
    this.keys = new MemoryKeys(this.cache);
    this.completions = new CompletionQueues(port, events);
    this.wire = new Wire(events, options, (packet) => {
      this.arrived(packet);
    });
    this.faultEvents = new FaultEvents(events, options, (qp, kind, failed) => {
      this.resumed(qp, kind, failed);
    });
    const { wire, faultEvents } = this;
    const pair = (number: number): QueuePair => this.pairs[number]!;
    this.responder = new Responder({ events, wire, faultEvents, mtu: options.mtu, pair });
  }

  /** Faults raised. */
  get faults(): number {
    return this.faultEvents.raised;
  }

  set onFault(listener: ((fault: RdmaFault) => void) | null) {
    this.faultEvents.onFault = listener;
  }

  createMkey(options: MemoryKeyOptions): number {
    return this.keys.create(options);
  }

  destroyMkey(key: number): void {
    this.keys.destroy(key);
  }

  createCompletionQueue(options: CompletionQueueOptions): number {
    return this.completions.create(options);
  }

  createQueuePair(options: QueuePairOptions): number {
    const number = this.pairs.length;
    const mover = (responder: boolean): Mover =>
      responder
        ? new Mover(this, this.responder, RESPONDER_MOVED, number)
        : new Mover(this, this, REQUESTER_MOVED, number);
    return this.pairs.push(new QueuePair(number, options, mover)) - 1;
  }

  connect(number: number, peer: RdmaNic, peerNumber: number): void {
    this.pairs[number]!.connect(peer.wire, peerNumber);
  }

  /** A CPU announces at `at` that the send queue reaches to this basic block (counted without end). */
  ringDoorbell(number: number, producer: number, at: Picoseconds): void {
    this.events.schedule(this.port.mmioWrite(at), this, DOORBELL, number * QUEUE_RADIX + producer);
  }

  /** The driver wants one more interrupt of this queue. */
  armCompletionQueue(number: number): void {
    this.completions.arm(number);
  }

  /** The driver's answer to a fault, at `at`; `error`: it could not be served. */
  resume(token: number, error: boolean, at: Picoseconds): void {
    this.faultEvents.resume(token, error, at);
  }

  accessEnded(key: MemoryKey): void {
    key.inFlight -= 1;
    if (key.inFlight > 0) return;
    for (const [number, waiting] of this.draining) {
      if (waiting !== key) continue;
      this.draining.delete(number);
      this.complete(this.pairs[number]!, 0);
    }
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === DOORBELL) {
      const qp = this.pairs[Math.floor(argument / QUEUE_RADIX)]!;
      qp.producer = argument % QUEUE_RADIX;
      this.fetch(qp);
    } else this.pairEvent(kind, this.pairs[argument]!);
  }

  private pairEvent(kind: number, qp: QueuePair): void {
    if (kind === ENTRY_FETCHED) this.entryFetched(qp);
    else if (kind === REQUESTER_MOVED) this.requesterMoved(qp);
    else if (kind === SEND_MORE) this.sendMore(qp);
    else if (kind === LOOK_AGAIN) this.lookAgain(qp);
    else if (kind === TRY_AGAIN) this.beginAttempt(qp);
    else if (this.port.lastStatus !== 0) this.complete(qp, spec.MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR);
    else if (qp.umr !== null) this.umrWritten(qp, qp.umr);
  }

  private fetch(qp: QueuePair): void {
    if (qp.busy || qp.consumer >= qp.producer) return;
    qp.busy = true;
    qp.blocks = 0;
    this.fetchBlock(qp);
  }

  private fetchBlock(qp: QueuePair): void {
    const { sendQueue, sendBlocks } = qp.options;
    const block = (qp.consumer + qp.blocks) % sendBlocks;
    const address = dmaAddr(sendQueue + block * spec.WQE_BASIC_BLOCK);
    this.port.read(
      address,
      spec.WQE_BASIC_BLOCK,
      qp.entry,
      qp.blocks * spec.WQE_BASIC_BLOCK,
      this,
      ENTRY_FETCHED,
      qp.number,
    );
  }

  private entryFetched(qp: QueuePair): void {
    const { view, requester } = qp;
    if (this.port.lastStatus !== 0) {
      qp.blocks += 1;
      this.complete(qp, spec.MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR);
      return;
    }
    qp.blocks += 1;
    const segments = view.getUint32(spec.CONTROL_QPN_DS) & 0x3f;
    if (qp.blocks * spec.WQE_BASIC_BLOCK < segments * spec.SEGMENT_BYTES) {
      this.fetchBlock(qp);
      return;
    }
    qp.opcode = view.getUint32(spec.CONTROL_OPCODE) & 0xff;
    qp.counter = (view.getUint32(spec.CONTROL_OPCODE) >>> 8) & 0xffff;
    qp.signalled = (qp.entry[spec.CONTROL_FLAGS]! & spec.MLX5_WQE_CTRL_CQ_UPDATE) !== 0;
    qp.total = 0;
    qp.offset = 0;
    if (qp.inError) {
      this.complete(qp, spec.MLX5_CQE_SYNDROME_WR_FLUSH_ERR);
      return;
    }
    const umr = qp.opcode === spec.MLX5_OPCODE_UMR;
    const inline = umr && (qp.entry[spec.SEGMENT_BYTES]! & spec.MLX5_UMR_INLINE) !== 0;
    requester.clear();
    for (let segment = umr ? 8 : 2; segment < segments && !inline; segment += 1) {
      const at = segment * spec.SEGMENT_BYTES;
      const length = view.getUint32(at + spec.DATA_BYTE_COUNT);
      requester.add(view.getUint32(at + spec.DATA_LKEY), spec.readBe64(view, at + spec.DATA_ADDRESS), length);
      qp.total += length;
    }
    if (umr) this.startUmr(qp);
    else if (qp.opcode === spec.MLX5_OPCODE_NOP) this.complete(qp, 0);
    else if (qp.opcode === spec.MLX5_OPCODE_RDMA_WRITE || qp.opcode === spec.MLX5_OPCODE_RDMA_READ) {
      this.beginAttempt(qp);
    } else this.complete(qp, spec.MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR);
  }

  private startUmr(qp: QueuePair): void {
    const work = umrTarget(qp, this.keys);
    qp.umr = work;
    if (work === null) this.complete(qp, spec.MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR);
    else if (work.bytes.length === 0) this.umrWritten(qp, work);
    else if (qp.total === 0) this.writeTable(qp, work);
    else this.requesterStart(qp, work.bytes, work.bytes.length);
  }

  private writeTable(qp: QueuePair, work: UmrWork): void {
    this.port.write(dmaAddr(work.address), work.bytes.length, work.bytes, 0, this, TABLE_WRITTEN, qp.number);
  }

  private umrWritten(qp: QueuePair, work: UmrWork): void {
    applyUmr(qp, work, this.cache);
    qp.umr = null;
    if (work.key.inFlight > 0) this.draining.set(qp.number, work.key);
    else this.complete(qp, 0);
  }

  /** Begins a message, or goes on with what the other side has not taken. */
  private beginAttempt(qp: QueuePair): void {
    if (qp.inError) {
      this.complete(qp, spec.MLX5_CQE_SYNDROME_WR_FLUSH_ERR);
      return;
    }
    // an answer that came before is still being written, and the rest follows it
    if (qp.answering !== null) {
      this.tryAgain(qp);
      return;
    }
    qp.attempt += 1;
    qp.sendingAttempt = qp.attempt;
    if (qp.opcode === spec.MLX5_OPCODE_RDMA_WRITE) {
      this.sendMore(qp);
      return;
    }
    const request = packetFor(qp, READ_REQUEST, qp.attempt, 0);
    request.offset = qp.offset;
    this.address(qp, request);
    this.wire.transmit(request, qp.peerWire);
  }

  private address(qp: QueuePair, packet: Packet): void {
    packet.total = qp.total;
    packet.address = spec.readBe64(qp.view, spec.SEGMENT_BYTES + spec.REMOTE_ADDRESS);
    packet.key = qp.view.getUint32(spec.SEGMENT_BYTES + spec.REMOTE_KEY);
  }

  private sendMore(qp: QueuePair): void {
    if (qp.outgoing !== null || qp.sendingAttempt !== qp.attempt || (qp.total > 0 && qp.offset >= qp.total)) return;
    const packet = packetFor(qp, WRITE_DATA, qp.attempt, this.options.mtu);
    packet.offset = qp.offset;
    packet.length = Math.min(this.options.mtu, qp.total - qp.offset);
    this.address(qp, packet);
    qp.outgoing = packet;
    this.requesterStart(qp, packet.bytes, packet.length);
  }

  private requesterStart(qp: QueuePair, bytes: Uint8Array, length: number): void {
    const reading = qp.answering !== null;
    const need = reading ? spec.MLX5_PERM_LOCAL_WRITE : spec.MLX5_PERM_LOCAL_READ;
    qp.requester.start(qp.offset, length, bytes, qp.options.pd, need, reading);
  }

  private requesterMoved(qp: QueuePair): void {
    const { requester, outgoing, answering, umr } = qp;
    if (requester.status === FAULTED) {
      this.fault(qp, requester, answering !== null);
    } else if (requester.status !== MOVED) {
      qp.outgoing = null;
      qp.answering = null;
      const denied = requester.status === NOT_ALLOWED;
      this.complete(qp, denied ? spec.MLX5_CQE_SYNDROME_LOCAL_PROT_ERR : spec.MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR);
    } else if (umr !== null) {
      this.writeTable(qp, umr);
    } else if (answering !== null) {
      qp.answering = null;
      qp.offset += answering.length;
      if (qp.offset >= qp.total) this.complete(qp, 0);
      else this.takeAnswer(qp);
    } else if (outgoing !== null) {
      qp.outgoing = null;
      // the other side was not ready for an earlier one: all of it goes again
      if (outgoing.attempt !== qp.attempt) {
        this.sendMore(qp);
        return;
      }
      qp.offset += outgoing.length;
      const leaves = this.wire.transmit(outgoing, qp.peerWire);
      if (qp.offset < qp.total) this.events.schedule(leaves, this, SEND_MORE, qp.number);
    }
  }

  /** Answers to a read are used in their order. */
  private takeAnswer(qp: QueuePair): void {
    if (qp.answering !== null) return;
    for (let packet = qp.answers.shift(); packet !== undefined; packet = qp.answers.shift()) {
      if (!qp.busy || packet.attempt !== qp.attempt || packet.offset !== qp.offset) continue;
      qp.answering = packet;
      this.requesterStart(qp, packet.bytes, packet.length);
      return;
    }
  }

  private arrived(packet: Packet): void {
    const qp = this.pairs[packet.qpn]!;
    if (packet.kind === WRITE_DATA || packet.kind === READ_REQUEST) {
      qp.requests.push(packet);
      this.responder.takeRequest(qp);
    } else if (packet.kind === READ_DATA) {
      qp.answers.push(packet);
      this.takeAnswer(qp);
    } else if (qp.busy && packet.attempt === qp.attempt) {
      if (packet.kind === NOT_READY) this.notReady(qp, packet);
      else this.complete(qp, packet.kind === ACKNOWLEDGE ? 0 : packet.status);
    }
  }

  /** What was sent since is dropped by the other side; all of it goes again after a while. */
  private notReady(qp: QueuePair, packet: Packet): void {
    qp.attempt += 1;
    if (qp.opcode === spec.MLX5_OPCODE_RDMA_WRITE) qp.offset = packet.offset;
    this.tryAgain(qp);
  }

  private tryAgain(qp: QueuePair): void {
    const again = picoseconds(this.events.now + this.options.notReadyDelay);
    this.events.schedule(again, this, TRY_AGAIN, qp.number);
  }

  private fault(qp: QueuePair, mover: Mover, write: boolean): void {
    if (this.faultEvents.raise(qp, mover, qp.total - qp.offset, write, 'WQE')) return;
    const later = picoseconds(this.events.now + this.options.notReadyDelay);
    this.events.schedule(later, this, LOOK_AGAIN, qp.number);
  }

  private resumed(qp: QueuePair, kind: RdmaFault['kind'], failed: boolean): void {
    if (kind === 'RDMA') {
      qp.responderFault = false;
      if (failed) qp.inError = true;
    } else if (failed) {
      qp.outgoing = null;
      qp.answering = null;
      this.complete(qp, spec.MLX5_CQE_SYNDROME_LOCAL_PROT_ERR);
    } else this.lookAgain(qp);
  }

  /** The stretch whose translation was missing, once more from its start. */
  private lookAgain(qp: QueuePair): void {
    const stretch = qp.answering ?? qp.outgoing;
    if (stretch !== null) this.requesterStart(qp, stretch.bytes, stretch.length);
    else if (qp.umr !== null) this.requesterStart(qp, qp.umr.bytes, qp.umr.bytes.length);
  }

  /** Ends the work request: a completion where it asked for one or went wrong, and the next one begins. */
  private complete(qp: QueuePair, syndrome: number): void {
    qp.busy = false;
    qp.consumer += qp.blocks;
    qp.attempt += 1;
    qp.umr = null;
    if (syndrome !== 0) qp.inError = true;
    if (syndrome !== 0 || qp.signalled) this.completions.write(qp.options.sendCompletions, qp, syndrome);
    this.fetch(qp);
  }
}
