/**
 * An adapter's end of its cable: packets leave one after the other, at the rate of the cable and no faster than the adapter makes them, and
 * reach the other end after the propagation time.
 * Leaves out: lost packets, pauses, switches between the ends.
 */
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { Packet } from './queuePair.ts';

export interface WireOptions {
  readonly picosecondsPerByte: number;
  /** Headers and gaps of each packet. */
  readonly packetOverheadBytes: number;
  /** The least between two packets. */
  readonly packetInterval: Picoseconds;
  readonly propagation: Picoseconds;
}

export class Wire implements EventHandler {
  packetsSent = 0;
  bytesSent = 0;
  private readonly events: EventQueue;
  private readonly options: WireOptions;
  private readonly receive: (packet: Packet) => void;
  /** On their way to this end. */
  private readonly arriving: (Packet | null)[] = [];
  private freeAt = 0;

  constructor(events: EventQueue, options: WireOptions, receive: (packet: Packet) => void) {
    this.events = events;
    this.options = options;
    this.receive = receive;
  }

  /** When the packet has left for the other end. */
  transmit(packet: Packet, other: Wire): Picoseconds {
    const { packetInterval, picosecondsPerByte, packetOverheadBytes, propagation } = this.options;
    const onWire = (packet.length + packetOverheadBytes) * picosecondsPerByte;
    const leaves = Math.max(this.freeAt, this.events.now) + Math.max(packetInterval, onWire);
    this.freeAt = leaves;
    this.packetsSent += 1;
    this.bytesSent += packet.length;
    this.events.schedule(picoseconds(leaves + propagation), other, 0, other.hold(packet));
    return picoseconds(leaves);
  }

  /** A packet arrives. */
  handleEvent(_kind: number, index: number): void {
    const packet = this.arriving[index] ?? null;
    this.arriving[index] = null;
    if (packet !== null) this.receive(packet);
  }

  private hold(packet: Packet): number {
    const free = this.arriving.indexOf(null);
    if (free < 0) return this.arriving.push(packet) - 1;
    this.arriving[free] = packet;
    return free;
  }
}
