/**
 * Brings the requests of a function over several links: through switches to the root complex and memory, to a peer across a switch
 * or through the root complex, and completions back (PCI Express Base Specification 1.3.3 switches, 2.2.4 routing, 2.4 ordering).
 * A part of a request that lies in one page is a burst of TLPs; it takes each link in turn, together with whatever else goes there, in the
 * order in which first TLPs come. Where it goes is decided page by page (peerRoute.ts): a peer answers as memory does, and a request that
 * the fabric stops is answered with Unsupported Request.
 * A function with a device TLB asks it first and sends the request translated, writes in the order of their calls.
 * Leaves out: room in switches, interleaving of the TLPs of two bursts; of a function with a device TLB, pages that it must not send
 * translated.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { MemoryPort } from '../memory/memoryPort.ts';
import { COUNTER } from '../metrics/counters.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import { CompletionOrder } from './completionOrder.ts';
import type { FabricOptions } from './fabric.ts';
import { COMPLETION_OVERHEAD_BYTES, REQUEST_OVERHEAD_BYTES } from './link.ts';
import type { MemoryAccess } from './memoryAccess.ts';
import {
  FAILED,
  INTERRUPT_BYTES,
  INTERRUPT_REQUEST,
  PAGE_OFFSET_MASK,
  WRITE_REQUEST,
  type Carrier,
  type Operation,
} from './operation.ts';
import { Part } from './part.ts';
import { Path, pathBetween, pathDown, pathUp } from './path.ts';
import type { PeerRoute } from './peerRoute.ts';
import type { PortNode } from './portTree.ts';
import { sizesToPeer, type TlpSizes } from './tlpSizes.ts';
import type { Way } from './way.ts';

/** Kinds of events; the argument is the part. */
const SENT = 0;
const NEXT_LEG = 1;
const AT_ROOT_COMPLEX = 2;
const AT_PEER = 3;
const STOPPED = 4;
const TRANSLATED = 5;
const ANSWERED = 6;
const RETURNED = 7;
const INTERRUPT_ARRIVES = 8;
const REFUSED = 9;

/** Between functions of one device. */
const NO_PATH = new Path([]);
/** Half of what a read of remote memory takes longer than one of local memory (105 ns, pcie-bench, SIGCOMM'18). */
const BETWEEN_HOST_BRIDGES = nanoseconds(52.5);

export interface PathCarrierOptions {
  readonly fabric: FabricOptions;
  readonly way: Way;
  readonly sizes: TlpSizes;
  readonly access: MemoryAccess;
  readonly peers: PeerRoute | null;
  /** The function translates for itself, so that its requests go out translated. */
  readonly translated: boolean;
  /** Is told each operation that is finished. */
  readonly finished: EventHandler;
}

export class PathCarrier implements Carrier, EventHandler {
  private readonly options: PathCarrierOptions;
  private readonly events: EventQueue;
  private readonly values: Float64Array;
  private readonly order: CompletionOrder | null;
  private readonly memoryPort: MemoryPort | null;
  private readonly up: Path;
  private readonly down: Path;
  private readonly parts: Part[] = [];
  private readonly idle: number[] = [];
  /** When the last write that waited for the device TLB was sent. */
  private writesSentAt = 0;

  constructor(options: PathCarrierOptions) {
    const { fabric, way } = options;
    this.options = options;
    this.events = fabric.events;
    this.values = fabric.counters.values;
    this.order = fabric.orderedCompletions === true ? new CompletionOrder() : null;
    this.memoryPort = fabric.memoryPort ?? null;
    this.up = pathUp(way, fabric.costs.rootComplex);
    this.down = pathDown(way);
  }

  send(operation: Operation): void {
    if (operation.request === INTERRUPT_REQUEST) {
      const wire = INTERRUPT_BYTES + REQUEST_OVERHEAD_BYTES;
      this.values[COUNTER.linkBytesUpstream]! += wire;
      this.values[COUNTER.tlps]! += 1;
      this.launch(this.take(operation, 0, INTERRUPT_BYTES), this.up, wire, wire, INTERRUPT_ARRIVES);
      return;
    }
    for (let from = 0; from < operation.length; from += operation.chunk(from)) {
      const part = this.take(operation, from, operation.chunk(from));
      if (this.options.translated) this.translateFirst(part);
      else this.route(part, Math.floor((operation.address + from) / PAGE_SIZE), 'untranslated');
    }
  }

  handleEvent(kind: number, argument: number): void {
    const part = this.parts[argument]!;
    switch (kind) {
      case SENT:
        this.route(part, part.page, 'translated');
        break;
      case NEXT_LEG:
        this.takeLeg(part);
        break;
      case AT_ROOT_COMPLEX:
        this.atRootComplex(part);
        break;
      case AT_PEER:
        this.atPeer(part);
        break;
      case STOPPED:
        this.answerUnsupported(part);
        break;
      case TRANSLATED:
        if (this.memoryPort !== null) this.scheduleAnswer(part, this.memoryPort.dataRead(this.events.now, part.bytes));
        break;
      case ANSWERED:
        this.answered(part);
        break;
      case RETURNED:
        this.returned(part);
        break;
      case INTERRUPT_ARRIVES:
        // Writes that left before have arrived, but may still wait for their translations.
        this.partFinished(part, Math.max(this.events.now, this.options.access.postedUntil));
        break;
      case REFUSED:
        this.partFinished(part, this.events.now);
        break;
    }
  }

  private take(operation: Operation, from: number, bytes: number): Part {
    const index = this.idle.pop() ?? this.parts.push(new Part(this.parts.length, operation, this.up)) - 1;
    const part = this.parts[index]!;
    part.operation = operation;
    part.from = from;
    part.bytes = bytes;
    part.page = -1;
    part.owner = null;
    part.inOrder = false;
    return part;
  }

  private translateFirst(part: Part): void {
    const { operation } = part;
    const { access, sizes } = this.options;
    const write = operation.request === WRITE_REQUEST;
    const tlps = write ? sizes.writeTlps(part.bytes) : sizes.readTlps(part.bytes);
    part.page = access.translate(operation, part.from, write, tlps);
    let sentAt = access.translatedAt;
    if (write) {
      sentAt = Math.max(sentAt, this.writesSentAt);
      this.writesSentAt = sentAt;
    }
    if (part.page < 0 && !write) access.read(operation, part.from, part.bytes, -1);
    this.events.schedule(picoseconds(sentAt), this, part.page < 0 ? REFUSED : SENT, part.index);
  }

  /** Puts a part on its way: to memory, to a peer, or to where it will be stopped. */
  private route(part: Part, busPage: number, kind: 'untranslated' | 'translated'): void {
    const { peers, way, sizes, fabric } = this.options;
    const write = part.operation.request === WRITE_REQUEST;
    const wire = sizes.requestWire(part.bytes, write);
    const firstTlp = sizes.firstRequestTlp(part.bytes, write);
    this.values[COUNTER.tlps]! += write ? sizes.writeTlps(part.bytes) : sizes.readTlps(part.bytes);
    this.values[COUNTER.linkBytesUpstream]! += wire;
    const end = peers === null ? 'root_complex' : peers.find(busPage, kind);
    if (peers !== null && end === 'blocked') {
      const inside = peers.stoppedAt === peers.requester;
      const last = peers.stoppedAt?.way ?? null;
      part.back = inside ? NO_PATH : pathDown(way, last);
      this.launch(part, inside ? NO_PATH : pathUp(way, fabric.costs.rootComplex, last), wire, firstTlp, STOPPED);
      return;
    }
    if (peers !== null && end === 'peer') {
      part.owner = peers.owner;
      part.page = peers.physPage;
      const peerWay = peers.owner?.upstream?.way ?? null;
      if (peerWay !== null) {
        this.launch(part, pathBetween(way, peerWay, 0, true), wire, firstTlp, AT_PEER);
        return;
      }
    }
    this.launch(part, this.up, wire, firstTlp, AT_ROOT_COMPLEX);
  }

  private launch(part: Part, path: Path, wire: number, firstTlp: number, end: number): void {
    part.path = path;
    part.leg = 0;
    part.wire = wire;
    part.firstTlp = firstTlp;
    part.behind = 0;
    part.end = end;
    if (path.legs.length > 0) this.takeLeg(part);
    else this.events.schedule(this.events.now, this, end, part.index);
  }

  /** Takes the next link of the path, as soon as it is free. */
  private takeLeg(part: Part): void {
    const { path, leg, wire, firstTlp } = part;
    const { direction } = path.legs[leg]!;
    const onWire = direction.duration(wire);
    const begins = direction.reserve(wire, this.events.now) - onWire;
    part.behind = Math.max(part.behind, onWire - direction.duration(firstTlp));
    part.leg = leg + 1;
    const kind = part.leg < path.legs.length ? NEXT_LEG : part.end;
    this.events.schedule(picoseconds(begins + path.passes(leg, firstTlp)), this, kind, part.index);
  }

  private atRootComplex(part: Part): void {
    const { access, sizes, peers, fabric, translated } = this.options;
    const { operation, from, bytes } = part;
    const write = operation.request === WRITE_REQUEST;
    if (part.page >= 0) access.translatedAt = this.events.now;
    else part.page = access.translate(operation, from, write, write ? sizes.writeTlps(bytes) : sizes.readTlps(bytes));
    const behindIommu = translated || fabric.translator !== null;
    if (part.page >= 0 && part.owner === null && peers?.findBehind(part.page, behindIommu) === true) {
      if (this.sendDown(part, peers)) return;
    }
    if (write) {
      access.write(operation, from, bytes, part.page, this.events.now + part.behind);
      this.partFinished(part, access.postedUntil);
      return;
    }
    access.read(operation, from, bytes, part.page);
    part.memoryTime = access.memoryTime;
    part.inOrder = this.order !== null;
    this.order?.arrived(part.index);
    if (this.memoryPort === null) this.scheduleAnswer(part, access.translatedAt);
    else this.events.schedule(picoseconds(access.translatedAt), this, TRANSLATED, part.index);
  }

  /** What the root complex finds to be a peer's goes down again. False: it has no links that we know of, and is reached like memory. */
  private sendDown(part: Part, peers: PeerRoute): boolean {
    const { fabric, access } = this.options;
    const { owner } = peers;
    part.page = peers.physPage;
    if (fabric.refusesPeers === true) {
      part.back = this.down;
      this.events.schedule(picoseconds(access.translatedAt), this, STOPPED, part.index);
      return true;
    }
    const way = owner?.upstream?.way ?? null;
    if (owner === null || way === null) return false;
    part.owner = owner;
    part.path = pathDown(way);
    part.leg = 0;
    part.end = AT_PEER;
    const leaves = access.translatedAt + fabric.costs.rootComplex + this.crossing(peers, owner);
    this.events.schedule(picoseconds(leaves), this, NEXT_LEG, part.index);
    return true;
  }

  private crossing({ requester }: PeerRoute, owner: PortNode): number {
    if (owner.hostBridge === requester.hostBridge) return 0;
    return this.options.fabric.costs.betweenHostBridges ?? BETWEEN_HOST_BRIDGES;
  }

  private atPeer(part: Part): void {
    const { memory, costs } = this.options.fabric;
    const { operation, from, bytes, owner } = part;
    const offset = (operation.address + from) & PAGE_OFFSET_MASK;
    const phys = part.page * PAGE_SIZE + offset;
    const timing = owner?.memoryTiming ?? null;
    if (operation.request === WRITE_REQUEST) {
      memory.writeBytes(phys, operation.bytes, operation.offset + from, bytes);
      const arrived = this.events.now + part.behind;
      this.partFinished(part, timing === null ? arrived : timing.dataWrite(part.page, offset, bytes, arrived));
      return;
    }
    memory.readBytes(phys, operation.bytes, operation.offset + from, bytes);
    const { now } = this.events;
    const answered = timing?.dataRead(part.page, offset, bytes, now) ?? now + (costs.peerRead ?? costs.memoryRead);
    this.events.schedule(picoseconds(answered), this, ANSWERED, part.index);
  }

  /** A write that was stopped is gone; a read is told, with a completion that has no data. */
  private answerUnsupported(part: Part): void {
    const { access } = this.options;
    const { operation } = part;
    operation.status = FAILED;
    if (operation.request === WRITE_REQUEST) {
      this.partFinished(part, this.events.now);
      return;
    }
    access.read(operation, part.from, part.bytes, -1);
    this.complete(part, part.back, 0, 1, 0);
  }

  private scheduleAnswer(part: Part, readAt: number): void {
    const answered = readAt + part.memoryTime + this.options.fabric.costs.rootComplex;
    this.events.schedule(picoseconds(answered), this, ANSWERED, part.index);
  }

  private answered(part: Part): void {
    const { order } = this;
    if (order === null || !part.inOrder) {
      this.sendCompletions(part);
      return;
    }
    order.answered(part.index);
    for (let next = order.next(); next >= 0; next = order.next()) this.sendCompletions(this.parts[next]!);
  }

  private sendCompletions(part: Part): void {
    const { peers, way, fabric } = this.options;
    const { operation, from, bytes, owner } = part;
    const peerWay = owner?.upstream?.way ?? null;
    let { sizes } = this.options;
    let path = this.down;
    if (peers !== null && owner !== null && peerWay !== null) {
      sizes = sizesToPeer(way, peerWay);
      const across = peers.answersAcross(owner);
      path = pathBetween(peerWay, way, 2 * fabric.costs.rootComplex + this.crossing(peers, owner), across);
    }
    const tlps = sizes.completionTlps(operation.address + from, bytes);
    this.complete(part, path, bytes, tlps, Math.min(bytes, sizes.completionBytes));
  }

  private complete(part: Part, path: Path, bytes: number, tlps: number, firstBytes: number): void {
    const wire = bytes + tlps * COMPLETION_OVERHEAD_BYTES;
    this.values[COUNTER.tlps]! += tlps;
    this.values[COUNTER.linkBytesDownstream]! += wire;
    this.launch(part, path, wire, firstBytes + COMPLETION_OVERHEAD_BYTES, RETURNED);
  }

  private returned(part: Part): void {
    this.partFinished(part, this.events.now + part.behind);
  }

  private partFinished(part: Part, at: number): void {
    const { operation } = part;
    operation.finishesAt = Math.max(operation.finishesAt, at);
    operation.answered += part.bytes;
    this.idle.push(part.index);
    if (operation.answered < operation.length) return;
    this.events.schedule(picoseconds(operation.finishesAt), this.options.finished, 0, operation.index);
  }
}
