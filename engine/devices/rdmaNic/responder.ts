/**
 * The answering side of an adapter's queue pairs: packets that write are put where their key says, requests to read are answered packet by
 * packet, in the order in which they came (InfiniBand Architecture Specification 9.7.5). Where a translation is missing the rest of the
 * attempt is dropped and the sender told "not ready"; the driver hears of it once.
 * Leaves out: SEND, atomics.
 */
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import type { FaultEvents } from './faultEvents.ts';
import { FAULTED, MOVED } from './mover.ts';
import {
  ACKNOWLEDGE,
  NOT_READY,
  packetFor,
  READ_DATA,
  READ_REQUEST,
  REFUSAL,
  type Packet,
  type QueuePair,
} from './queuePair.ts';
import * as spec from './rdmaSpecification.ts';
import type { Wire } from './wire.ts';

export interface ResponderAdapter {
  readonly events: EventQueue;
  readonly wire: Wire;
  readonly faultEvents: FaultEvents;
  readonly mtu: number;
  pair(number: number): QueuePair;
}

/** A stretch has been moved. */
export const RESPONDER_MOVED = 0;
const ANSWER_MORE = 1;

export class Responder implements EventHandler {
  private readonly adapter: ResponderAdapter;

  constructor(adapter: ResponderAdapter) {
    this.adapter = adapter;
  }

  handleEvent(kind: number, number: number): void {
    const qp = this.adapter.pair(number);
    if (kind === RESPONDER_MOVED) this.moved(qp);
    else if (qp.handling !== null) this.answerMore(qp, qp.handling);
  }

  takeRequest(qp: QueuePair): void {
    while (qp.handling === null) {
      const packet = qp.requests.shift();
      if (packet === undefined) return;
      if (packet.attempt === qp.droppedAttempt) continue;
      qp.handling = packet;
      qp.readOffset = packet.offset;
      qp.responder.clear();
      qp.responder.add(packet.key, packet.address, packet.total);
      if (qp.inError) this.refuse(qp, packet, spec.MLX5_CQE_SYNDROME_REMOTE_OP_ERR);
      else if (packet.kind === READ_REQUEST) this.answerMore(qp, packet);
      else this.start(qp, packet.bytes, packet.length, true);
    }
  }

  private start(qp: QueuePair, bytes: Uint8Array, length: number, write: boolean): void {
    const need = write ? spec.MLX5_PERM_REMOTE_WRITE : spec.MLX5_PERM_REMOTE_READ;
    qp.responder.start(qp.readOffset, length, bytes, qp.options.pd, need, write);
  }

  private answerMore(qp: QueuePair, request: Packet): void {
    const { mtu } = this.adapter;
    const answer = packetFor(qp, READ_DATA, request.attempt, mtu);
    answer.offset = qp.readOffset;
    answer.length = Math.min(mtu, request.total - qp.readOffset);
    qp.answer = answer;
    this.start(qp, answer.bytes, answer.length, false);
  }

  private moved(qp: QueuePair): void {
    const { responder, handling, answer } = qp;
    if (handling === null) return;
    const { events, wire } = this.adapter;
    if (responder.status === FAULTED) this.notReady(qp, handling);
    else if (responder.status !== MOVED) this.refuse(qp, handling, spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR);
    else if (handling.kind === READ_REQUEST && answer !== null) {
      qp.readOffset += answer.length;
      const leaves = wire.transmit(answer, qp.peerWire);
      if (qp.readOffset < handling.total) events.schedule(leaves, this, ANSWER_MORE, qp.number);
      else this.handled(qp);
    } else {
      if (handling.offset + handling.length >= handling.total) {
        wire.transmit(packetFor(qp, ACKNOWLEDGE, handling.attempt, 0), qp.peerWire);
      }
      this.handled(qp);
    }
  }

  private notReady(qp: QueuePair, handling: Packet): void {
    const { wire, faultEvents } = this.adapter;
    qp.droppedAttempt = handling.attempt;
    const answer = packetFor(qp, NOT_READY, handling.attempt, 0);
    answer.offset = qp.readOffset;
    wire.transmit(answer, qp.peerWire);
    const write = handling.kind !== READ_REQUEST;
    // where there is no room for an event, the sender tries again and so does this
    if (!qp.responderFault) {
      qp.responderFault = faultEvents.raise(qp, qp.responder, handling.total - qp.readOffset, write, 'RDMA');
    }
    this.handled(qp);
  }

  private refuse(qp: QueuePair, packet: Packet, syndrome: number): void {
    const refusal = packetFor(qp, REFUSAL, packet.attempt, 0);
    refusal.status = syndrome;
    qp.inError = true;
    qp.droppedAttempt = packet.attempt;
    this.adapter.wire.transmit(refusal, qp.peerWire);
    this.handled(qp);
  }

  private handled(qp: QueuePair): void {
    qp.handling = null;
    this.takeRequest(qp);
  }
}
