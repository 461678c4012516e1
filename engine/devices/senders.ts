/**
 * The other end of the cable: TCP senders that always have more to send. Each flow has a congestion window that grows by one packet a
 * round trip and is halved once for each recovery from losses (RFC 5681; DCTCP does the same when packets are lost and none is marked,
 * RFC 8257 section 3.5), and never sends beyond the window that the receiver offers. A packet counts as lost when three beyond it have
 * come, in a recovery when one that was sent after it has, or when a timer says so (RFC 8985): two ticks, or the retransmission
 * time-out while the flow recovers, after which the window begins anew. Segmentation offload sends packets of a flow in trains.
 * A packet begins with its numbers (memory/packetNumbers.ts).
 * Leaves out: marks of congestion, the beginning of a connection, the senders' own limits.
 */
import { numberOf, orderOf } from '../memory/packetNumbers.ts';
import { Fifo } from '../pcie/fifo.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { RandomStream } from '../time/random.ts';
import type { Wire } from './receiveNic.ts';

export interface SendersOptions {
  readonly flows: number;
  /** Rings of the receiving adapter, to which flows are steered in turn. */
  readonly rings: number;
  readonly packetBytes: number;
  /** Packets of one flow that follow each other at most. */
  readonly trainPackets: number;
  /** From the time at which an acknowledgement leaves the receiver to the first packet that it lets go, at the receiver. */
  readonly roundTrip: Picoseconds;
  /** How long a sender waits when nothing that it sent will be acknowledged. */
  readonly probeTime: Picoseconds;
  readonly retransmissionTime: Picoseconds;
  /** Packets that a receiver takes before anybody reads them. */
  readonly receiveWindow: number;
}

/** As a flow has it that others have long taken their share from. */
const INITIAL_WINDOW = 2;
const LEAST_WINDOW = 2;
/** A packet is lost at once when so many beyond it have come. */
const LOST_BEYOND = 3;

const ACKNOWLEDGED = 0;
const PROBE = 1;
const OVERTAKEN = 2;

class SendingFlow {
  window = INITIAL_WINDOW;
  threshold = INITIAL_WINDOW;
  /** Packets that were sent and neither acknowledged nor found to be lost. */
  flying = 0;
  next = 0;
  /** Packets sent, those sent again included, and of those that were acknowledged the one that was sent last. */
  sent = 0;
  newest = -1;
  /** All packets below this number were acknowledged; the flow recovers until those below that are. */
  acknowledged = 0;
  recoversTo = 0;
  /** The recovery began with a time-out, so that the window grows in it; and how often it was in vain. */
  timedOut = false;
  backoff = 1;
  /** When the timer is due that runs while nothing that is under way will be acknowledged. */
  dueAt = Infinity;
  limit: number;
  readonly again = new Fifo();
  /** Numbers and orders of packets that were dropped and not yet found to be lost. */
  readonly droppedNumbers = new Fifo();
  readonly droppedOrders = new Fifo();
  /** Acknowledgements under way: packets, newest order, number of the first packet missing, packets beyond it, limit. */
  readonly acknowledgements = new Fifo();
  /** The order of a dropped packet that the sender waits for, for it may have been overtaken; or -1. */
  overtaken = -1;

  constructor(limit: number) {
    this.limit = limit;
  }
}

export class Senders implements Wire, EventHandler {
  ring = 0;
  flow = 0;
  readonly packet: Uint8Array;
  private readonly view: DataView;
  private readonly options: SendersOptions;
  private readonly events: EventQueue;
  private readonly random: RandomStream;
  private readonly flows: readonly SendingFlow[];
  private resume: () => void = () => undefined;
  private trainLeft = 0;
  private stopped = false;

  constructor(events: EventQueue, random: RandomStream, options: SendersOptions) {
    this.events = events;
    this.random = random;
    this.options = options;
    this.flows = Array.from({ length: options.flows }, () => new SendingFlow(options.receiveWindow));
    this.packet = new Uint8Array(options.packetBytes);
    this.view = new DataView(this.packet.buffer);
  }

  /** `resume` is called when there is something on the cable again. */
  start(resume: () => void): void {
    this.resume = resume;
    resume();
  }

  /** No more packets. */
  stop(): void {
    this.stopped = true;
  }

  next(): boolean {
    if (this.stopped) return false;
    if (this.trainLeft === 0 || !this.maySend(this.flows[this.flow]!)) {
      if (!this.choose()) return false;
      this.trainLeft = this.options.trainPackets;
    }
    this.trainLeft -= 1;
    const flow = this.flows[this.flow]!;
    const number = flow.again.length > 0 ? flow.again.shift() : flow.next;
    if (number === flow.next) flow.next += 1;
    this.ring = this.flow % this.options.rings;
    this.view.setUint32(0, number, true);
    this.view.setUint32(4, flow.sent, true);
    flow.sent += 1;
    flow.flying += 1;
    return true;
  }

  dropped(index: number, packet: Uint8Array): void {
    const flow = this.flows[index]!;
    const view = new DataView(packet.buffer);
    flow.droppedNumbers.push(numberOf(view));
    flow.droppedOrders.push(orderOf(view));
    this.probe(index, flow);
  }

  /**
   * An acknowledgement leaves the receiver: so many more packets have come, of all that came the flow's `newest` was sent last, none
   * below `missing` is missing, `beyond` packets above it have come, and packets below `limit` may be sent.
   */
  acknowledge(
    at: Picoseconds,
    index: number,
    packets: number,
    newest: number,
    missing: number,
    beyond: number,
    limit: number,
  ): void {
    const { acknowledgements } = this.flows[index]!;
    acknowledgements.push(packets);
    acknowledgements.push(newest);
    acknowledgements.push(missing);
    acknowledgements.push(beyond);
    acknowledgements.push(limit);
    this.events.schedule(picoseconds(at + this.options.roundTrip), this, ACKNOWLEDGED, index);
  }

  handleEvent(kind: number, index: number): void {
    const flow = this.flows[index]!;
    if (kind === ACKNOWLEDGED) this.acknowledged(index, flow);
    else if (kind === OVERTAKEN) this.notOvertaken(flow);
    else this.timeOut(flow);
    this.probe(index, flow);
    if (!this.stopped && this.maySend(flow)) this.resume();
  }

  private acknowledged(index: number, flow: SendingFlow): void {
    const { acknowledgements } = flow;
    const packets = acknowledgements.shift();
    const before = flow.acknowledged;
    flow.newest = Math.max(flow.newest, acknowledgements.shift());
    flow.acknowledged = Math.max(flow.acknowledged, acknowledgements.shift());
    const beyond = acknowledgements.shift();
    const advance = flow.acknowledged - before;
    flow.limit = Math.max(flow.limit, acknowledgements.shift());
    const usedUp = flow.flying + 1 > flow.window;
    flow.flying -= packets;
    flow.backoff = 1;
    const recovers = this.recovers(flow);
    if (recovers || beyond >= LOST_BEYOND) {
      if (this.findLost(flow, flow.newest) && !recovers) this.beginRecovery(flow, false);
    } else this.awaitOvertaken(index, flow);
    if (!usedUp || beyond > 0 || (this.recovers(flow) && !flow.timedOut)) return;
    flow.window += flow.window < flow.threshold ? advance : advance / flow.window;
  }

  private awaitOvertaken(index: number, flow: SendingFlow): void {
    const { droppedOrders } = flow;
    if (droppedOrders.length === 0 || droppedOrders.first() > flow.newest) return;
    if (flow.overtaken === droppedOrders.first()) return;
    flow.overtaken = droppedOrders.first();
    this.events.schedule(picoseconds(this.events.now + this.options.probeTime), this, OVERTAKEN, index);
  }

  private notOvertaken(flow: SendingFlow): void {
    const { droppedOrders } = flow;
    if (droppedOrders.length === 0 || flow.overtaken !== droppedOrders.first()) return;
    this.findLost(flow, flow.newest);
    if (!this.recovers(flow)) this.beginRecovery(flow, false);
  }

  private beginRecovery(flow: SendingFlow, timedOut: boolean): void {
    flow.threshold = Math.max(LEAST_WINDOW, flow.window / 2);
    flow.window = timedOut ? 1 : flow.threshold;
    flow.recoversTo = flow.next;
    flow.timedOut = timedOut;
  }

  private recovers(flow: SendingFlow): boolean {
    return flow.acknowledged < flow.recoversTo;
  }

  /** Packets that were dropped and sent before `order` are lost. */
  private findLost(flow: SendingFlow, order: number): boolean {
    let found = false;
    while (flow.droppedOrders.length > 0 && flow.droppedOrders.first() < order) {
      flow.droppedOrders.shift();
      flow.again.push(flow.droppedNumbers.shift());
      flow.flying -= 1;
      found = true;
    }
    return found;
  }

  /** Sets the timer for when nothing that is under way will be acknowledged. */
  private probe(index: number, flow: SendingFlow): void {
    if (flow.flying === 0 || flow.droppedNumbers.length < flow.flying) {
      flow.dueAt = Infinity;
      return;
    }
    if (flow.dueAt !== Infinity) return;
    const { probeTime, retransmissionTime } = this.options;
    flow.dueAt = this.events.now + (this.recovers(flow) ? retransmissionTime * flow.backoff : probeTime);
    this.events.schedule(picoseconds(flow.dueAt), this, PROBE, index);
  }

  private timeOut(flow: SendingFlow): void {
    if (this.events.now < flow.dueAt) return;
    flow.dueAt = Infinity;
    this.findLost(flow, Infinity);
    const again = this.recovers(flow);
    this.beginRecovery(flow, again);
    if (again) flow.backoff *= 2;
  }

  private maySend(flow: SendingFlow): boolean {
    if (flow.flying + 1 > flow.window) return false;
    return flow.again.length > 0 || flow.next < flow.limit;
  }

  /** Another flow that may send, any of them alike. */
  private choose(): boolean {
    const { flows } = this;
    const from = this.random.below(flows.length);
    for (let step = 0; step < flows.length; step += 1) {
      const index = (from + step) % flows.length;
      if (!this.maySend(flows[index]!)) continue;
      this.flow = index;
      return true;
    }
    return false;
  }
}
