/**
 * Brings the requests of a function over one link to the root complex, and their completions back. The whole of a request is put on
 * the link at once; the burst of TLPs to one page is one step, simulated when its first TLP reaches the root complex and counted
 * in full. Requests of different functions of the link follow each other as they were sent.
 * Leaves out: switches and peers (pathCarrier.ts), poisoned completions.
 */
import type { MemoryPort } from '../memory/memoryPort.ts';
import { COUNTER } from '../metrics/counters.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { CompletionOrder } from './completionOrder.ts';
import type { FabricCosts, FabricOptions } from './fabric.ts';
import { COMPLETION_OVERHEAD_BYTES, REQUEST_OVERHEAD_BYTES, type Link } from './link.ts';
import type { MemoryAccess } from './memoryAccess.ts';
import { INTERRUPT_BYTES, INTERRUPT_REQUEST, WRITE_REQUEST, type Carrier, type Operation } from './operation.ts';
import type { TlpSizes } from './tlpSizes.ts';

/** Kinds of events; the argument is the operation. */
const WRITE_ARRIVES = 0;
const READ_ARRIVES = 1;
const READ_ANSWERED = 2;
const INTERRUPT_ARRIVES = 3;
const READ_TRANSLATED = 4;

export interface LinkCarrierOptions {
  readonly fabric: FabricOptions;
  readonly link: Link;
  readonly sizes: TlpSizes;
  readonly access: MemoryAccess;
  readonly operations: readonly Operation[];
  /** Is told each operation that is finished. */
  readonly finished: EventHandler;
}

export class LinkCarrier implements Carrier, EventHandler {
  private readonly events: EventQueue;
  private readonly costs: FabricCosts;
  private readonly link: Link;
  private readonly sizes: TlpSizes;
  private readonly access: MemoryAccess;
  private readonly order: CompletionOrder | null;
  private readonly memoryPort: MemoryPort | null;
  private readonly values: Float64Array;
  private readonly operations: readonly Operation[];
  private readonly finished: EventHandler;

  constructor({ fabric, link, sizes, access, operations, finished }: LinkCarrierOptions) {
    this.events = fabric.events;
    this.costs = fabric.costs;
    this.link = link;
    this.sizes = sizes;
    this.access = access;
    this.order = fabric.orderedCompletions === true ? new CompletionOrder() : null;
    this.memoryPort = fabric.memoryPort ?? null;
    this.values = fabric.counters.values;
    this.operations = operations;
    this.finished = finished;
  }

  send(operation: Operation): void {
    const { upstream } = this.link;
    const { request } = operation;
    let wire = 0;
    if (request === INTERRUPT_REQUEST) wire = INTERRUPT_BYTES + REQUEST_OVERHEAD_BYTES;
    else {
      for (let from = 0; from < operation.length; from += operation.chunk(from)) {
        wire += this.sizes.requestWire(operation.chunk(from), request === WRITE_REQUEST);
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
      case INTERRUPT_ARRIVES:
        // Writes that left before have arrived, but may still wait for their translations.
        this.finish(operation, Math.max(this.events.now, this.access.postedUntil));
        break;
    }
  }

  private scheduleArrival(operation: Operation, write: boolean): void {
    const { link, costs, sizes } = this;
    const onWire = link.upstream.duration(sizes.firstRequestTlp(operation.chunk(operation.arrived), write));
    const arrives = operation.started + onWire + link.propagation + costs.rootComplex;
    this.events.schedule(picoseconds(arrives), this, write ? WRITE_ARRIVES : READ_ARRIVES, operation.index);
  }

  private writeArrives(operation: Operation): void {
    const { link, sizes, values, events, access } = this;
    const from = operation.arrived;
    const chunk = operation.chunk(from);
    const tlps = sizes.writeTlps(chunk);
    const onWire = link.upstream.duration(sizes.requestWire(chunk, true));
    values[COUNTER.tlps]! += tlps;
    const page = access.translate(operation, from, true, tlps);
    const firstTlp = link.upstream.duration(sizes.firstRequestTlp(chunk, true));
    access.write(operation, from, chunk, page, events.now + onWire - firstTlp);
    operation.arrived = from + chunk;
    operation.started += onWire;
    if (operation.arrived < operation.length) this.scheduleArrival(operation, true);
    else this.finish(operation, access.postedUntil);
  }

  private readArrives(operation: Operation): void {
    const from = operation.arrived;
    const chunk = operation.chunk(from);
    const { link, sizes, values, access } = this;
    const tlps = sizes.readTlps(chunk);
    values[COUNTER.tlps]! += tlps;
    const page = access.translate(operation, from, false, tlps);
    access.read(operation, from, chunk, page);
    operation.memoryTime = access.memoryTime;
    operation.arrived = from + chunk;
    operation.started += link.upstream.duration(sizes.requestWire(chunk, false));
    if (this.order !== null) this.order.arrived(operation.index);
    if (this.memoryPort === null) this.scheduleAnswer(operation, access.translatedAt);
    else this.events.schedule(picoseconds(access.translatedAt), this, READ_TRANSLATED, operation.index);
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
    const { link, sizes, values } = this;
    const chunk = operation.chunk(operation.answered);
    const tlps = sizes.completionTlps(operation.address + operation.answered, chunk);
    const wire = chunk + tlps * COMPLETION_OVERHEAD_BYTES;
    values[COUNTER.tlps]! += tlps;
    values[COUNTER.linkBytesDownstream]! += wire;
    operation.answered += chunk;
    const arrives = link.downstream.reserve(wire, this.events.now) + link.propagation;
    operation.finishesAt = Math.max(operation.finishesAt, arrives);
    if (operation.answered === operation.length) this.finish(operation, operation.finishesAt);
  }

  private finish(operation: Operation, at: number): void {
    this.events.schedule(picoseconds(at), this.finished, 0, operation.index);
  }
}
