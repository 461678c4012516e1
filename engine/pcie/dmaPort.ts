/**
 * What a device sees of the machine: reads and writes of bus addresses, and interrupts (PCI Express Base Specification 2.2,
 * memory requests; 2.4, ordering). A request is cut at page boundaries; the burst of TLPs to one page is one step, simulated when
 * its first TLP reaches the root complex and counted in full. Real bytes move at that moment.
 *
 * Writes are posted: they take the upstream link in the order of their calls, and neither a later write nor an interrupt
 * becomes visible before them. Reads send request TLPs upstream; completions take the downstream link when memory answers.
 * A bus address that a switch below the root complex routes to a peer never meets the IOMMU (6.12); it takes the time of the
 * way to memory all the same.
 * A fabric may also limit posted requests by credits, keep completions in order, let walks and data share one way to memory, and
 * know which data the last-level cache holds; one that names none of them has none of them.
 * A function with a device TLB asks that and nobody else: what an answer takes counts as if it came while the request is at the root complex.
 * Leaves out: relaxed ordering, tags (a device limits its own reads), poisoned completions.
 */
import { DMA_MAPPING_ERROR, dmaAddr, PAGE_SIZE, type DmaAddr } from '../memory/addresses.ts';
import type { ByteMemory } from '../memory/byteMemory.ts';
import type { LastLevelCache } from '../memory/lastLevelCache.ts';
import type { MemoryPort } from '../memory/memoryPort.ts';
import { COUNTER } from '../metrics/counters.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { PostedCredits } from './postedCredits.ts';
import type { FabricCosts, FabricOptions } from './fabric.ts';
import { CompletionOrder } from './completionOrder.ts';
import { COMPLETION_OVERHEAD_BYTES, REQUEST_OVERHEAD_BYTES, type Link } from './link.ts';
import {
  INTERRUPT_REQUEST,
  NO_BYTES,
  NOBODY,
  Operation,
  PAGE_OFFSET_MASK,
  READ_REQUEST,
  WRITE_REQUEST,
} from './operation.ts';
import type { PeerRoute } from './peerRoute.ts';
import type { Translator } from './translator.ts';

/** Kinds of the port's own events; the argument is the operation. */
const WRITE_ARRIVES = 0;
const READ_ARRIVES = 1;
const READ_ANSWERED = 2;
const FINISHED = 3;
const INTERRUPT_ARRIVES = 4;
const READ_TRANSLATED = 5;

const FAILED = 1;
/** An MSI is a posted write of one doubleword. */
const INTERRUPT_BYTES = 4;

export class DmaPort implements EventHandler {
  readonly sourceId: number;
  /** Inside a request's `done`: 0, or 1 when part of it was refused. A refused read gave zeros, a refused write was dropped. */
  lastStatus = 0;
  private readonly events: EventQueue;
  private readonly memory: ByteMemory;
  private readonly translator: Translator | null;
  private readonly peers: PeerRoute | null;
  private readonly costs: FabricCosts;
  private readonly link: Link;
  private readonly credits: PostedCredits | null;
  private readonly order: CompletionOrder | null;
  private readonly memoryPort: MemoryPort | null;
  private readonly cache: LastLevelCache | null;
  private readonly values: Float64Array;
  private readonly operations: Operation[] = [];
  private readonly idle: number[] = [];
  /** When all writes so far are visible in memory. */
  private postedUntil = 0;
  /** When the translation that `translate` asked for last is known. */
  private translatedAt = 0;

  constructor(
    fabric: FabricOptions,
    link: Link,
    sourceId: number,
    peers: PeerRoute | null = null,
    deviceTlb: Translator | null = null,
  ) {
    this.sourceId = sourceId;
    this.events = fabric.events;
    this.memory = fabric.memory;
    this.translator = deviceTlb ?? fabric.translator;
    this.peers = peers;
    this.costs = fabric.costs;
    this.link = link;
    this.credits = fabric.postedCredits === undefined ? null : new PostedCredits(fabric.postedCredits);
    this.order = fabric.orderedCompletions === true ? new CompletionOrder() : null;
    this.memoryPort = fabric.memoryPort ?? null;
    this.cache = fabric.lastLevelCache ?? null;
    this.values = fabric.counters.values;
  }

  /** Reads into `target`; `done` is called when the last completion has arrived. Length is at least 1. */
  read(
    address: DmaAddr,
    length: number,
    target: Uint8Array,
    targetOffset: number,
    done: EventHandler,
    kind: number,
    argument: number,
  ): void {
    const operation = this.take(address, length, target, targetOffset, done, kind, argument);
    this.send(operation, READ_REQUEST);
  }

  /** Writes from `source`; `done` is called when the bytes are visible in memory. Length is at least 1. */
  write(
    address: DmaAddr,
    length: number,
    source: Uint8Array,
    sourceOffset: number,
    done: EventHandler,
    kind: number,
    argument: number,
  ): void {
    const operation = this.take(address, length, source, sourceOffset, done, kind, argument);
    this.send(operation, WRITE_REQUEST);
  }

  /** Raises an interrupt: a posted write of four bytes behind all earlier writes; the handler is called when it arrives. */
  raiseInterrupt(handler: EventHandler, kind: number, argument: number): void {
    this.values[COUNTER.interrupts]! += 1;
    const operation = this.take(dmaAddr(0), INTERRUPT_BYTES, NO_BYTES, 0, handler, kind, argument);
    this.send(operation, INTERRUPT_REQUEST);
  }

  /** When a register write that a CPU issues at `at` reaches the device. */
  mmioWrite(at: Picoseconds): Picoseconds {
    const wire = INTERRUPT_BYTES + REQUEST_OVERHEAD_BYTES;
    this.values[COUNTER.linkBytesDownstream]! += wire;
    this.values[COUNTER.tlps]! += 1;
    return picoseconds(at + this.costs.mmioWrite + this.link.downstream.duration(wire) + this.link.propagation);
  }

  handleEvent(kind: number, argument: number): void {
    const operation = this.operations[argument]!;
    switch (kind) {
      case WRITE_ARRIVES:
        this.writeArrives(operation);
        break;
      case READ_ARRIVES:
        this.readArrives(operation);
        break;
      case READ_TRANSLATED:
        if (this.memoryPort !== null) this.readTranslated(operation, this.memoryPort);
        break;
      case READ_ANSWERED:
        this.dataCame(operation);
        break;
      case FINISHED:
        this.finish(operation);
        break;
      case INTERRUPT_ARRIVES:
        // Writes that left before have arrived, but may still wait for their translations.
        this.events.schedule(picoseconds(Math.max(this.events.now, this.postedUntil)), this, FINISHED, argument);
        break;
    }
  }

  private take(
    address: DmaAddr,
    length: number,
    bytes: Uint8Array,
    offset: number,
    done: EventHandler,
    kind: number,
    argument: number,
  ): Operation {
    if (address === DMA_MAPPING_ERROR) throw new Error('a device was given DMA_MAPPING_ERROR as an address');
    const index = this.idle.pop() ?? this.operations.push(new Operation(this.operations.length)) - 1;
    const operation = this.operations[index]!;
    operation.address = address;
    operation.length = length;
    operation.arrived = 0;
    operation.translated = 0;
    operation.answered = 0;
    operation.bytes = bytes;
    operation.offset = offset;
    operation.finishesAt = 0;
    operation.status = 0;
    operation.done = done;
    operation.kind = kind;
    operation.argument = argument;
    return operation;
  }

  /** Sends a request, or keeps it until there are credits for it and for all before it. */
  private send(operation: Operation, request: number): void {
    operation.request = request;
    if (this.credits === null || this.credits.send(operation.index, this.postedTlps(operation.index))) {
      this.putOnLink(operation);
    }
  }

  /** Puts all TLPs of a request on the upstream link, one after the other. */
  private putOnLink(operation: Operation): void {
    const { upstream } = this.link;
    const { request } = operation;
    let wire = 0;
    if (request === INTERRUPT_REQUEST) wire = INTERRUPT_BYTES + REQUEST_OVERHEAD_BYTES;
    else {
      for (let from = 0; from < operation.length; from += operation.chunk(from)) {
        wire += this.wireBytes(operation.chunk(from), request === WRITE_REQUEST);
      }
    }
    const left = upstream.reserve(wire, this.events.now);
    this.values[COUNTER.linkBytesUpstream]! += wire;
    if (request !== INTERRUPT_REQUEST) {
      operation.started = left - upstream.duration(wire);
      this.scheduleArrival(operation, request === WRITE_REQUEST);
      return;
    }
    this.values[COUNTER.tlps]! += 1;
    const arrives = left + this.link.propagation + this.costs.rootComplex;
    this.events.schedule(picoseconds(arrives), this, INTERRUPT_ARRIVES, operation.index);
  }

  /** TLPs of a request that are posted: none of a read. */
  private readonly postedTlps = (index: number): number => {
    const operation = this.operations[index]!;
    if (operation.request !== WRITE_REQUEST) return operation.request === INTERRUPT_REQUEST ? 1 : 0;
    let tlps = 0;
    for (let from = 0; from < operation.length; from += operation.chunk(from)) {
      tlps += this.link.writeTlps(operation.chunk(from));
    }
    return tlps;
  };

  /** Bytes on the upstream link for a part of a request that lies in one page. */
  private wireBytes(chunk: number, write: boolean): number {
    const { link } = this;
    return write
      ? chunk + link.writeTlps(chunk) * REQUEST_OVERHEAD_BYTES
      : link.readTlps(chunk) * REQUEST_OVERHEAD_BYTES;
  }

  /** Of the next page, the first TLP. */
  private firstTlpBytes(chunk: number, write: boolean): number {
    return (write ? Math.min(chunk, this.link.options.maxPayloadSize) : 0) + REQUEST_OVERHEAD_BYTES;
  }

  private scheduleArrival(operation: Operation, write: boolean): void {
    const { link, costs } = this;
    const onWire = link.upstream.duration(this.firstTlpBytes(operation.chunk(operation.arrived), write));
    const arrives = operation.started + onWire + link.propagation + costs.rootComplex;
    this.events.schedule(picoseconds(arrives), this, write ? WRITE_ARRIVES : READ_ARRIVES, operation.index);
  }

  private writeArrives(operation: Operation): void {
    const { link, values, events } = this;
    const from = operation.arrived;
    const chunk = operation.chunk(from);
    const tlps = link.writeTlps(chunk);
    const wire = this.wireBytes(chunk, true);
    values[COUNTER.tlps]! += tlps;
    const page = this.translate(operation, from, true, tlps);
    if (page >= 0) {
      const phys = page * PAGE_SIZE + ((operation.address + from) & PAGE_OFFSET_MASK);
      this.memory.writeBytes(phys, operation.bytes, operation.offset + from, chunk);
      if (this.cache !== null) this.cache.deviceWrite(phys, chunk);
    }
    const firstTlp = link.upstream.duration(this.firstTlpBytes(chunk, true));
    const lastTlp = events.now + link.upstream.duration(wire) - firstTlp;
    this.postedUntil = Math.max(this.postedUntil, lastTlp, this.translatedAt);
    operation.arrived = from + chunk;
    operation.started += link.upstream.duration(wire);
    if (operation.arrived < operation.length) this.scheduleArrival(operation, true);
    else events.schedule(picoseconds(this.postedUntil), this, FINISHED, operation.index);
  }

  private readArrives(operation: Operation): void {
    const from = operation.arrived;
    const chunk = operation.chunk(from);
    const { link, values, costs } = this;
    const tlps = link.readTlps(chunk);
    values[COUNTER.tlps]! += tlps;
    operation.memoryTime = costs.memoryRead;
    const page = this.translate(operation, from, false, tlps);
    if (page >= 0) {
      const phys = page * PAGE_SIZE + ((operation.address + from) & PAGE_OFFSET_MASK);
      this.memory.readBytes(phys, operation.bytes, operation.offset + from, chunk);
      if (this.cache !== null && !this.cache.deviceRead(phys, chunk)) operation.memoryTime += costs.dramRead ?? 0;
    } else {
      operation.bytes.fill(0, operation.offset + from, operation.offset + from + chunk);
    }
    operation.arrived = from + chunk;
    operation.started += link.upstream.duration(this.wireBytes(chunk, false));
    if (this.order !== null) this.order.arrived(operation.index);
    if (this.memoryPort === null) this.scheduleAnswer(operation, this.translatedAt);
    else this.events.schedule(picoseconds(this.translatedAt), this, READ_TRANSLATED, operation.index);
    if (operation.arrived < operation.length) this.scheduleArrival(operation, false);
  }

  private readTranslated(operation: Operation, memoryPort: MemoryPort): void {
    const chunk = operation.chunk(operation.translated);
    operation.translated += chunk;
    this.scheduleAnswer(operation, memoryPort.dataRead(this.events.now, chunk));
  }

  private scheduleAnswer(operation: Operation, readAt: number): void {
    const answered = readAt + operation.memoryTime + this.costs.rootComplex;
    this.events.schedule(picoseconds(answered), this, READ_ANSWERED, operation.index);
  }

  private dataCame(operation: Operation): void {
    const { order } = this;
    if (order === null) {
      this.readAnswered(operation);
      return;
    }
    order.answered(operation.index);
    for (let next = order.next(); next >= 0; next = order.next()) this.readAnswered(this.operations[next]!);
  }

  /** Answers of one operation come in the order of its pages, or nearly so; each takes the link when it comes. */
  private readAnswered(operation: Operation): void {
    const { link, values } = this;
    const chunk = operation.chunk(operation.answered);
    const tlps = link.completionTlps(operation.address + operation.answered, chunk);
    const wire = chunk + tlps * COMPLETION_OVERHEAD_BYTES;
    values[COUNTER.tlps]! += tlps;
    values[COUNTER.linkBytesDownstream]! += wire;
    operation.answered += chunk;
    const arrives = link.downstream.reserve(wire, this.events.now) + link.propagation;
    operation.finishesAt = Math.max(operation.finishesAt, arrives);
    if (operation.answered < operation.length) return;
    this.events.schedule(picoseconds(operation.finishesAt), this, FINISHED, operation.index);
  }

  private finish(operation: Operation): void {
    const { done, kind, argument } = operation;
    this.lastStatus = operation.status;
    if (this.credits !== null) this.returnCredits(this.credits, operation);
    operation.bytes = NO_BYTES;
    operation.done = NOBODY;
    this.idle.push(operation.index);
    done.handleEvent(kind, argument);
  }

  private returnCredits(credits: PostedCredits, operation: Operation): void {
    credits.giveBack(this.postedTlps(operation.index));
    for (let next = credits.next(this.postedTlps); next >= 0; next = credits.next(this.postedTlps)) {
      this.putOnLink(this.operations[next]!);
    }
  }

  /** The physical page of the byte at `from`, or -1 when the access is refused. */
  private translate(operation: Operation, from: number, write: boolean, accesses: number): number {
    const { translator, peers, events } = this;
    const busPage = Math.floor((operation.address + from) / PAGE_SIZE);
    if (peers !== null) {
      const peerPage = peers.physPageOf(busPage);
      if (peerPage >= 0) {
        this.translatedAt = events.now;
        return peerPage;
      }
    }
    if (translator === null) {
      this.translatedAt = events.now;
      return busPage;
    }
    const allowed = translator.translate(this.sourceId, busPage, write, accesses, events.now);
    this.translatedAt = translator.readyAt;
    if (allowed) return translator.physPage;
    operation.status = FAILED;
    return -1;
  }
}
