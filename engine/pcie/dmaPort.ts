/**
 * What a device sees of the machine: reads and writes of bus addresses, and interrupts (PCI Express Base Specification 2.2,
 * memory requests; 2.4, ordering). Real bytes move when a request reaches its target.
 *
 * Writes are posted: they take the upstream link in the order of their calls, and neither a later write nor an interrupt
 * becomes visible before them. Reads send request TLPs upstream; completions take the downstream link when memory answers.
 * A function alone on its way to the root complex has one link to it (linkCarrier.ts); below a switch, or with peers, its requests
 * go by a path of links (pathCarrier.ts).
 * A fabric may also limit posted requests by credits, keep completions in order, let walks and data share one way to memory, and
 * know where data lies and what that takes; one that names none of them has none of them.
 * A function with a device TLB asks that and nobody else: on a link of its own, what an answer takes counts as if it came while the
 * request is at the root complex.
 * Leaves out: relaxed ordering, tags (a device limits its own reads), poisoned completions.
 */
import { DMA_MAPPING_ERROR, dmaAddr, type DmaAddr } from '../memory/addresses.ts';
import { COUNTER } from '../metrics/counters.ts';
import type { EventHandler } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { PostedCredits } from './postedCredits.ts';
import type { FabricOptions } from './fabric.ts';
import { REQUEST_OVERHEAD_BYTES } from './link.ts';
import { LinkCarrier } from './linkCarrier.ts';
import { MemoryAccess } from './memoryAccess.ts';
import {
  INTERRUPT_BYTES,
  INTERRUPT_REQUEST,
  NO_BYTES,
  NOBODY,
  Operation,
  READ_REQUEST,
  WRITE_REQUEST,
  type Carrier,
} from './operation.ts';
import { PathCarrier } from './pathCarrier.ts';
import type { PeerRoute } from './peerRoute.ts';
import { sizesOfWay, type TlpSizes } from './tlpSizes.ts';
import type { Translator } from './translator.ts';
import type { Way } from './way.ts';

export class DmaPort implements EventHandler {
  readonly sourceId: number;
  /** Inside a request's `done`: 0, or 1 when part of it was refused. A refused read gave zeros, a refused write was dropped. */
  lastStatus = 0;
  private readonly fabric: FabricOptions;
  private readonly way: Way;
  private readonly sizes: TlpSizes;
  private readonly carrier: Carrier;
  private readonly credits: PostedCredits | null;
  private readonly values: Float64Array;
  private readonly operations: Operation[] = [];
  private readonly idle: number[] = [];

  constructor(
    fabric: FabricOptions,
    way: Way,
    sourceId: number,
    peers: PeerRoute | null = null,
    deviceTlb: Translator | null = null,
  ) {
    this.sourceId = sourceId;
    this.fabric = fabric;
    this.way = way;
    this.sizes = sizesOfWay(way);
    this.credits = fabric.postedCredits === undefined ? null : new PostedCredits(fabric.postedCredits);
    this.values = fabric.counters.values;
    const { sizes, operations } = this;
    const access = new MemoryAccess(fabric, sourceId, deviceTlb ?? fabric.translator);
    const translated = deviceTlb !== null;
    this.carrier =
      way.above === null && peers === null
        ? new LinkCarrier({ fabric, link: way.link, sizes, access, operations, finished: this })
        : new PathCarrier({ fabric, way, sizes, access, peers, translated, finished: this });
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
    return picoseconds(at + this.fabric.costs.mmioWrite + this.way.downTime(wire));
  }

  /** An operation is finished. */
  handleEvent(_kind: number, argument: number): void {
    const operation = this.operations[argument]!;
    const { done, kind, argument: doneArgument } = operation;
    this.lastStatus = operation.status;
    if (this.credits !== null) this.returnCredits(this.credits, operation);
    operation.bytes = NO_BYTES;
    operation.done = NOBODY;
    this.idle.push(operation.index);
    done.handleEvent(kind, doneArgument);
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
      this.carrier.send(operation);
    }
  }

  /** TLPs of a request that are posted: none of a read. */
  private readonly postedTlps = (index: number): number => {
    const operation = this.operations[index]!;
    if (operation.request !== WRITE_REQUEST) return operation.request === INTERRUPT_REQUEST ? 1 : 0;
    let tlps = 0;
    for (let from = 0; from < operation.length; from += operation.chunk(from)) {
      tlps += this.sizes.writeTlps(operation.chunk(from));
    }
    return tlps;
  };

  private returnCredits(credits: PostedCredits, operation: Operation): void {
    credits.giveBack(this.postedTlps(operation.index));
    for (let next = credits.next(this.postedTlps); next >= 0; next = credits.next(this.postedTlps)) {
      this.carrier.send(this.operations[next]!);
    }
  }
}
