/**
 * What the adapter keeps of a queue pair, and a packet on the wire.
 * Leaves out: everything but reliable connections.
 */
import type { Mover } from './mover.ts';
import { WQE_BASIC_BLOCK } from './rdmaSpecification.ts';
import type { UmrWork } from './umr.ts';
import type { Wire } from './wire.ts';

export interface QueuePairOptions {
  readonly pd: number;
  /** Bus address and basic blocks of the send queue. */
  readonly sendQueue: number;
  readonly sendBlocks: number;
  readonly sendCompletions: number;
}

/** Kinds of packets. */
export const WRITE_DATA = 0;
export const READ_REQUEST = 2;
export const READ_DATA = 3;
export const ACKNOWLEDGE = 4;
/** `status` is the syndrome. */
export const REFUSAL = 5;
export const NOT_READY = 6;

export class Packet {
  kind = WRITE_DATA;
  /** Of the receiver. */
  qpn = 0;
  /** Of the message, so that answers to an attempt given up are known. */
  attempt = 0;
  offset = 0;
  length = 0;
  total = 0;
  key = 0;
  address = 0;
  status = 0;
  readonly bytes: Uint8Array;

  constructor(mtu: number) {
    this.bytes = new Uint8Array(mtu);
  }
}

export function packetFor(qp: QueuePair, kind: number, attempt: number, bytes: number): Packet {
  const packet = new Packet(bytes);
  packet.kind = kind;
  packet.qpn = qp.peerNumber;
  packet.attempt = attempt;
  return packet;
}

export class QueuePair {
  readonly options: QueuePairOptions;
  readonly number: number;
  readonly requester: Mover;
  readonly responder: Mover;
  peerNumber = -1;
  private peer: Wire | null = null;
  inError = false;
  /** Basic blocks announced, and the first that is not done. */
  producer = 0;
  consumer = 0;
  /** The work request under way. */
  readonly entry = new Uint8Array(16 * WQE_BASIC_BLOCK);
  readonly view = new DataView(this.entry.buffer);
  busy = false;
  opcode = 0;
  counter = 0;
  blocks = 0;
  signalled = false;
  total = 0;
  offset = 0;
  attempt = 0;
  sendingAttempt = -1;
  outgoing: Packet | null = null;
  umr: UmrWork | null = null;
  /** What came and is not handled yet: for the answering side, and answers to reads. */
  readonly requests: Packet[] = [];
  readonly answers: Packet[] = [];
  handling: Packet | null = null;
  answering: Packet | null = null;
  answer: Packet | null = null;
  /** How far a read is answered; the attempt of which the rest is dropped; whether a fault of this side waits for the driver, or failed. */
  readOffset = 0;
  droppedAttempt = -1;
  responderFault = false;

  constructor(number: number, options: QueuePairOptions, mover: (responder: boolean) => Mover) {
    this.number = number;
    this.options = options;
    this.requester = mover(false);
    this.responder = mover(true);
  }

  connect(peer: Wire, peerNumber: number): void {
    this.peer = peer;
    this.peerNumber = peerNumber;
  }

  /** The other end of its cable. */
  get peerWire(): Wire {
    if (this.peer === null) throw new Error(`queue pair ${String(this.number)} is not connected`);
    return this.peer;
  }
}
