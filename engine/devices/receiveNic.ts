/**
 * An Ethernet adapter as its host sees it: per ring a queue of receive descriptors of many pages, which packets fill one behind the
 * other in strides; a completion entry for each packet; and a send side for small packets. Everything goes by DMA: descriptors and
 * send entries are read, packets and completions written, in order (NVIDIA/Mellanox Adapters Programmer's Reference Manual, striding
 * receive queue and completion queue entries; Linux drivers/net/ethernet/mellanox/mlx5).
 * Descriptor: one little-endian 64-bit bus address a page. Completion, 64 bytes: flow 31:0, descriptor slot 63:32, first byte of the
 * packet in the descriptor 95:64, its length 127:96. Send entry, 64 bytes: bus address 63:0, length 95:64.
 * Packets come from the cable at its rate whatever the host does: those that the host cannot take yet wait in the adapter's buffer, and
 * one that finds the buffer full, or its ring without descriptors, is dropped and counted.
 * Leaves out: checksums, receive-side scaling (a packet comes for a ring), pause frames.
 */
import { dmaAddr, PAGE_SIZE } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

export const COMPLETION_BYTES = 64;
export const SEND_ENTRY_BYTES = 64;
const ADDRESS_BYTES = 8;
const FOUR_GIB = 2 ** 32;

export interface ReceiveNicOptions {
  readonly pagesPerDescriptor: number;
  /** A packet begins at a multiple of this in its descriptor. */
  readonly strideBytes: number;
  /** Between two packets that follow each other on the wire. */
  readonly packetInterval: Picoseconds;
  /** Packets on their way to memory at once, and packets that wait in the buffer behind them. */
  readonly packetsHeld: number;
  readonly packetsBuffered: number;
  /** An interrupt after so many completions, or so long after the first of them. */
  readonly interruptPackets: number;
  readonly interruptDelay: Picoseconds;
}

/** Where the packets come from. */
export interface Wire {
  /** Chooses the next packet: `ring` and `flow` are then set and its bytes are in `packet`; false: none until `resume` is called. */
  next(): boolean;
  readonly ring: number;
  readonly flow: number;
  /** Is copied. */
  readonly packet: Uint8Array;
  /** A packet was dropped. */
  dropped(flow: number, packet: Uint8Array): void;
}

/** A place for a packet in the adapter's buffer. */
class BufferedPacket {
  ring = 0;
  flow = 0;
  packet: Uint8Array = NO_DATA;
}

/** Who is told of interrupts: kind 0, the argument is the ring. */
const RING_INTERRUPT = 0;

const NEXT_PACKET = 0;
const DESCRIPTOR_READ = 1;
const PART_WRITTEN = 2;
const COMPLETION_WRITTEN = 3;
const MODERATION_OVER = 4;
const SEND_ENTRY_READ = 5;
const SENT_DATA_READ = 6;
const SEND_COMPLETED = 7;
const NO_DATA = new Uint8Array(0);

class PostedDescriptor {
  readonly pages: Float64Array;
  readonly bytes: Uint8Array;
  slot = 0;
  arrived = false;

  constructor(pages: number) {
    this.pages = new Float64Array(pages);
    this.bytes = new Uint8Array(pages * ADDRESS_BYTES);
  }
}

class NicRing {
  readonly posted: PostedDescriptor[] = [];
  readonly spare: PostedDescriptor[] = [];
  readonly completionQueue: number;
  readonly completionEntries: number;
  readonly sendQueue: number;
  readonly sendEntries: number;
  readonly sendCompletions: number;
  nextByte = 0;
  written = 0;
  visible = 0;
  sendHead = 0;
  sendWritten = 0;
  sent = 0;
  unannounced = 0;
  armed = true;
  /** Whether an event of the timer is under way, and when the oldest unannounced completion has waited long enough. */
  timing = false;
  dueAt = Infinity;

  constructor(queues: RingQueues) {
    this.completionQueue = queues.completionQueue;
    this.completionEntries = queues.completionEntries;
    this.sendQueue = queues.sendQueue;
    this.sendEntries = queues.sendEntries;
    this.sendCompletions = queues.sendCompletions;
  }
}

/** A packet on its way out. */
class Send {
  readonly entry = new Uint8Array(SEND_ENTRY_BYTES);
  data = NO_DATA;
  ring = 0;
}

/** Bus addresses of a ring's queues, and how many entries they have. */
export interface RingQueues {
  readonly completionQueue: number;
  readonly completionEntries: number;
  readonly sendQueue: number;
  readonly sendEntries: number;
  /** As many entries as the send queue. */
  readonly sendCompletions: number;
}

export class ReceiveNic implements EventHandler {
  /** Packets without a descriptor; packets whose bytes are in memory; accesses that were refused; bytes sent. */
  drops = 0;
  packets = 0;
  refused = 0;
  sentBytes = 0;
  private readonly port: DmaPort;
  private readonly events: EventQueue;
  private readonly options: ReceiveNicOptions;
  private readonly rings: NicRing[] = [];
  private readonly interrupts: EventHandler;
  private readonly sends: Send[] = [];
  private readonly idleSends: number[] = [];
  private wire: Wire | null = null;
  /** Packets in the buffer: those that wait, those that are being written, and places for more. */
  private readonly waiting: BufferedPacket[] = [];
  private readonly writing: BufferedPacket[] = [];
  private readonly idle: BufferedPacket[] = [];
  private wireFreeAt = 0;
  private ticking = false;

  constructor(port: DmaPort, events: EventQueue, options: ReceiveNicOptions, interrupts: EventHandler) {
    this.port = port;
    this.events = events;
    this.options = options;
    this.interrupts = interrupts;
  }

  addRing(queues: RingQueues): number {
    return this.rings.push(new NicRing(queues)) - 1;
  }

  /** Doorbell: the descriptor in this slot, at this bus address, may be used. */
  post(ring: number, slot: number, address: number): void {
    const { pagesPerDescriptor } = this.options;
    const nicRing = this.rings[ring]!;
    const descriptor = nicRing.spare.pop() ?? new PostedDescriptor(pagesPerDescriptor);
    descriptor.slot = slot;
    descriptor.arrived = false;
    nicRing.posted.push(descriptor);
    this.port.read(dmaAddr(address), descriptor.bytes.length, descriptor.bytes, 0, this, DESCRIPTOR_READ, ring);
  }

  /** Doorbell: one more entry of the send queue. */
  send(ring: number): void {
    const nicRing = this.rings[ring]!;
    const address = nicRing.sendQueue + (nicRing.sendHead % nicRing.sendEntries) * SEND_ENTRY_BYTES;
    nicRing.sendHead += 1;
    const index = this.idleSends.pop() ?? this.sends.push(new Send()) - 1;
    const send = this.sends[index]!;
    send.ring = ring;
    this.port.read(dmaAddr(address), SEND_ENTRY_BYTES, send.entry, 0, this, SEND_ENTRY_READ, index);
  }

  /** The driver wants to hear of completions again; so many are there that it has not seen. */
  enableInterrupt(ring: number, unseen: number): void {
    const nicRing = this.rings[ring]!;
    nicRing.armed = true;
    nicRing.unannounced = unseen;
    if (nicRing.unannounced > 0) this.announce(ring, nicRing);
  }

  /** Connects the cable. */
  connect(wire: Wire): void {
    this.wire = wire;
    this.resume();
  }

  /** There are packets on the cable again. */
  resume(): void {
    if (this.ticking || this.wire === null) return;
    this.ticking = true;
    this.events.schedule(picoseconds(Math.max(this.events.now, this.wireFreeAt)), this, NEXT_PACKET);
  }

  handleEvent(kind: number, argument: number): void {
    const { port } = this;
    if (kind !== NEXT_PACKET && kind !== MODERATION_OVER && port.lastStatus !== 0) this.refused += 1;
    switch (kind) {
      case NEXT_PACKET:
        this.ticking = false;
        this.takePacket();
        break;
      case DESCRIPTOR_READ:
        this.descriptorRead(this.rings[argument]!);
        break;
      case PART_WRITTEN:
        break;
      case COMPLETION_WRITTEN: {
        const ring = this.rings[argument]!;
        this.idle.push(this.writing.shift()!);
        this.packets += 1;
        ring.visible += 1;
        ring.unannounced += 1;
        this.announce(argument, ring);
        this.drain();
        break;
      }
      case MODERATION_OVER: {
        const ring = this.rings[argument]!;
        ring.timing = false;
        if (!ring.armed || ring.unannounced === 0) break;
        if (this.events.now >= ring.dueAt) this.interrupt(argument, ring);
        else this.startTimer(argument, ring);
        break;
      }
      case SEND_ENTRY_READ: {
        const send = this.sends[argument]!;
        const view = new DataView(send.entry.buffer);
        const address = view.getUint32(4, true) * FOUR_GIB + view.getUint32(0, true);
        send.data = new Uint8Array(view.getUint32(8, true));
        port.read(dmaAddr(address), send.data.length, send.data, 0, this, SENT_DATA_READ, argument);
        break;
      }
      case SENT_DATA_READ:
        this.sendCompletes(argument);
        break;
      case SEND_COMPLETED:
        this.rings[argument]!.sent += 1;
        break;
    }
  }

  /** Completions of a ring that are in memory. */
  completionsOf(ring: number): number {
    return this.rings[ring]!.visible;
  }

  /** Packets of its send queue that have left. */
  sentOf(ring: number): number {
    return this.rings[ring]!.sent;
  }

  private descriptorRead(ring: NicRing): void {
    const descriptor = ring.posted.find((one) => !one.arrived);
    if (descriptor === undefined) throw new Error('a descriptor was read that nobody posted');
    const view = new DataView(descriptor.bytes.buffer);
    for (let page = 0; page < descriptor.pages.length; page += 1) {
      const at = page * ADDRESS_BYTES;
      descriptor.pages[page] = view.getUint32(at + 4, true) * FOUR_GIB + view.getUint32(at, true);
    }
    descriptor.arrived = true;
  }

  private takePacket(): void {
    const { wire, waiting } = this;
    if (wire?.next() !== true) return;
    this.wireFreeAt = Math.max(this.wireFreeAt, this.events.now) + this.options.packetInterval;
    const { packet } = wire;
    if (waiting.length < this.options.packetsBuffered) {
      const place = this.idle.pop() ?? new BufferedPacket();
      place.ring = wire.ring;
      place.flow = wire.flow;
      if (place.packet.length !== packet.length) place.packet = new Uint8Array(packet.length);
      place.packet.set(packet);
      waiting.push(place);
      this.drain();
    } else this.drop(wire.flow, packet);
    this.resume();
  }

  private drain(): void {
    const { waiting, writing } = this;
    while (writing.length < this.options.packetsHeld) {
      const next = waiting.shift();
      if (next === undefined) return;
      if (this.store(next.ring, next.flow, next.packet)) writing.push(next);
      else {
        this.drop(next.flow, next.packet);
        this.idle.push(next);
      }
    }
  }

  private drop(flow: number, packet: Uint8Array): void {
    this.drops += 1;
    this.wire?.dropped(flow, packet);
  }

  /** Writes a packet behind the one before it, and its completion; false without a descriptor. */
  private store(ringIndex: number, flow: number, packet: Uint8Array): boolean {
    const { strideBytes, pagesPerDescriptor } = this.options;
    const ring = this.rings[ringIndex]!;
    if (ring.nextByte + packet.length > pagesPerDescriptor * PAGE_SIZE) {
      const used = ring.posted.shift();
      if (used !== undefined) ring.spare.push(used);
      ring.nextByte = 0;
    }
    const descriptor = ring.posted[0];
    if (descriptor?.arrived !== true) return false;
    const first = ring.nextByte;
    for (let from = 0; from < packet.length;) {
      const at = first + from;
      const offset = at % PAGE_SIZE;
      const bytes = Math.min(packet.length - from, PAGE_SIZE - offset);
      const address = descriptor.pages[Math.floor(at / PAGE_SIZE)]! + offset;
      this.port.write(dmaAddr(address), bytes, packet, from, this, PART_WRITTEN, ringIndex);
      from += bytes;
    }
    ring.nextByte += Math.ceil(packet.length / strideBytes) * strideBytes;
    this.complete(ringIndex, ring, flow, descriptor.slot, first, packet.length);
    return true;
  }

  private complete(
    ringIndex: number,
    ring: NicRing,
    flow: number,
    slot: number,
    firstByte: number,
    length: number,
  ): void {
    const entry = new Uint8Array(COMPLETION_BYTES);
    const view = new DataView(entry.buffer);
    view.setUint32(0, flow, true);
    view.setUint32(4, slot, true);
    view.setUint32(8, firstByte, true);
    view.setUint32(12, length, true);
    const address = ring.completionQueue + (ring.written % ring.completionEntries) * COMPLETION_BYTES;
    ring.written += 1;
    this.port.write(dmaAddr(address), COMPLETION_BYTES, entry, 0, this, COMPLETION_WRITTEN, ringIndex);
  }

  private sendCompletes(index: number): void {
    const send = this.sends[index]!;
    const ring = this.rings[send.ring]!;
    this.sentBytes += send.data.length;
    send.data = NO_DATA;
    this.idleSends.push(index);
    const address = ring.sendCompletions + (ring.sendWritten % ring.sendEntries) * COMPLETION_BYTES;
    ring.sendWritten += 1;
    const entry = new Uint8Array(COMPLETION_BYTES);
    this.port.write(dmaAddr(address), COMPLETION_BYTES, entry, 0, this, SEND_COMPLETED, send.ring);
  }

  private announce(index: number, ring: NicRing): void {
    if (!ring.armed) return;
    if (ring.unannounced >= this.options.interruptPackets) {
      this.interrupt(index, ring);
      return;
    }
    if (ring.dueAt === Infinity) ring.dueAt = this.events.now + this.options.interruptDelay;
    this.startTimer(index, ring);
  }

  private startTimer(index: number, ring: NicRing): void {
    if (ring.timing) return;
    ring.timing = true;
    this.events.schedule(picoseconds(ring.dueAt), this, MODERATION_OVER, index);
  }

  private interrupt(index: number, ring: NicRing): void {
    ring.armed = false;
    ring.unannounced = 0;
    ring.dueAt = Infinity;
    this.port.raiseInterrupt(this.interrupts, RING_INTERRUPT, index);
  }
}
