/**
 * A network adapter that translates for itself and may fault: a table of its own for each memory region, from pages of a process to bus
 * addresses, and messages that read and write by the process's addresses (on-demand paging: Lesokhin et al., "Page Fault Support for
 * Network Controllers", ASPLOS'17; Linux drivers/infiniband/hw/mlx5/odp.c). A missing entry stops the message; firmware tells the
 * driver which pages, up to so many at once; the driver fills them in and lets the message go on. None of this uses ATS or PRI.
 * A key may point to other keys, one for each piece of its addresses (KSM). Entries that are zapped are out of use when `zap` returns: the
 * adapter lets what is under way by them arrive first. An access that the IOMMU refuses ends its message in failure.
 * Leaves out: the network itself, receiver-not-ready answers; an entry that is written holds at once, only its time is the work request's.
 */
import { PAGE_SIZE, dmaAddr } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

/** Bits of a table entry (MTT). */
export const MTT_READ = 1;
export const MTT_WRITE = 2;

/** All in picoseconds. */
export interface NicFaultCosts {
  /** Firmware and hardware from the missing entry to the event that the driver's interrupt announces. */
  readonly faultEvent: Picoseconds;
  /** One write of table entries (a UMR work request), and each entry of it. */
  readonly tableUpdate: Picoseconds;
  readonly tableUpdatePerEntry: Picoseconds;
  /** From the driver's command to the message under way again. */
  readonly resume: Picoseconds;
}

export interface NicPageFaultsOptions {
  readonly port: DmaPort;
  readonly events: EventQueue;
  readonly costs: NicFaultCosts;
  /** The most pages that one fault asks for. */
  readonly pagesPerFault: number;
  /** The most pages behind those that a fault hints at, as far as its message goes; default: none. */
  readonly pagesHinted?: number;
}

/** What the driver is told; it answers with `resume`. */
export interface NicPageFault {
  readonly message: number;
  readonly key: number;
  readonly firstPage: number;
  readonly pages: number;
  /** Pages behind them that the message will want next. */
  readonly hinted: number;
  readonly write: boolean;
}

export type NicFaultListener = (fault: NicPageFault) => void;

/** A memory region: pages of a process, and what the adapter knows of each. */
class NicRegion {
  readonly firstPage: number;
  readonly addresses: Float64Array;
  readonly access: Uint8Array;

  constructor(firstPage: number, pages: number) {
    this.firstPage = firstPage;
    this.addresses = new Float64Array(pages);
    this.access = new Uint8Array(pages);
  }
}

/** A key that points to others. */
interface NicIndirectRegion {
  /** Pages of each piece. */
  readonly piece: number;
  /** By number of the piece. */
  readonly keys: Map<number, number>;
}

interface Message {
  readonly key: number;
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly write: boolean;
  readonly done: (ok: boolean) => void;
  /** Offsets of parts that have to be done, the next one last. */
  readonly parts: number[];
  inFlight: number;
  faultedAt: number;
  failed: boolean;
}

/** An access that is under way. */
interface Part {
  readonly message: number;
  readonly region: NicRegion;
  readonly entry: number;
}

const FAULT_RAISED = 0;
const RESUMED = 1;
const PART_DONE = 2;

export class NicPageFaults implements EventHandler {
  /** Faults raised, and pages that they asked for. */
  faults = 0;
  pagesAsked = 0;
  /** Time that messages have stood still, from the missing entry until they went on. */
  stalled = 0;
  onFault: NicFaultListener | null = null;
  private readonly port: DmaPort;
  private readonly events: EventQueue;
  private readonly costs: NicFaultCosts;
  private readonly pagesPerFault: number;
  private readonly pagesHinted: number;
  private readonly regions = new Map<number, NicRegion>();
  private readonly indirect = new Map<number, NicIndirectRegion>();
  private readonly messages = new Map<number, Message>();
  private readonly parts = new Map<number, Part>();
  /** Faults of messages that stand still. */
  private readonly raised = new Map<number, NicPageFault>();
  private readonly answered = new Set<number>();
  private nextMessage = 0;
  private nextPart = 0;

  constructor(options: NicPageFaultsOptions) {
    this.port = options.port;
    this.events = options.events;
    this.costs = options.costs;
    this.pagesPerFault = options.pagesPerFault;
    this.pagesHinted = options.pagesHinted ?? 0;
  }

  /** Messages that have not ended. */
  get underWay(): number {
    return this.messages.size;
  }

  /** A region without any entry. */
  addRegion(key: number, firstPage: number, pages: number): void {
    this.checkFree(key);
    this.regions.set(key, new NicRegion(firstPage, pages));
  }

  /** A key over all addresses, of which no piece has a key yet. */
  addIndirectRegion(key: number, piecePages: number): void {
    this.checkFree(key);
    this.indirect.set(key, { piece: piecePages, keys: new Map() });
  }

  /** Which key a piece of an indirect region points to; null: none, so that whoever comes there faults. */
  pointTo(key: number, piece: number, target: number | null): void {
    const region = this.indirect.get(key);
    if (region === undefined) throw new Error(`the adapter has no indirect region with key ${String(key)}`);
    if (target === null) region.keys.delete(piece);
    else region.keys.set(piece, target);
  }

  removeRegion(key: number): void {
    if (!this.regions.delete(key)) this.indirect.delete(key);
  }

  /** Of an entry: its access bits; 0 where it is absent. */
  accessOf(key: number, page: number): number {
    const region = this.regions.get(key);
    return region?.access[page - region.firstPage] ?? 0;
  }

  /** The driver writes the first `count` entries of a list, from `firstPage` on; access 0: absent. When they are in force, `updateTime` says. */
  writeEntries(key: number, firstPage: number, addresses: Float64Array, access: Uint8Array, count: number): void {
    const region = this.regionOf(key);
    const first = firstPage - region.firstPage;
    region.addresses.set(addresses.subarray(0, count), first);
    region.access.set(access.subarray(0, count), first);
  }

  /** Takes entries away, and returns when no access by them is under way any more. */
  zap(key: number, firstPage: number, count: number): void {
    const region = this.regionOf(key);
    const first = firstPage - region.firstPage;
    region.access.fill(0, first, first + count);
    const waiting: number[] = [];
    for (const [index, part] of this.parts) {
      if (part.region === region && part.entry >= first && part.entry < first + count) waiting.push(index);
    }
    while (waiting.some((index) => this.parts.has(index)) && this.events.step());
  }

  updateTime(entries: number): Picoseconds {
    return picoseconds(this.costs.tableUpdate + entries * this.costs.tableUpdatePerEntry);
  }

  /** Reads the process's bytes into `bytes`, or writes `bytes` there; `done` is told once, whether all of it could be done. */
  start(key: number, address: number, bytes: Uint8Array, write: boolean, done: (ok: boolean) => void): void {
    const index = this.nextMessage;
    this.nextMessage += 1;
    const parts: number[] = [];
    for (let offset = 0; offset < bytes.length; offset += PAGE_SIZE - ((address + offset) % PAGE_SIZE)) {
      parts.push(offset);
    }
    parts.reverse();
    const message = { key, address, bytes, write, done, parts, inFlight: 0, faultedAt: 0, failed: false };
    this.messages.set(index, message);
    this.goOn(index, message);
  }

  /** The driver's answer to a fault; a message that is not `served` ends in failure. */
  resume(fault: NicPageFault, served: boolean, at: Picoseconds): void {
    const message = this.messages.get(fault.message);
    if (message === undefined) throw new Error(`message ${String(fault.message)} is resumed, and there is none`);
    if (this.answered.has(fault.message)) throw new Error(`message ${String(fault.message)} is resumed twice`);
    this.answered.add(fault.message);
    if (!served) message.failed = true;
    const goesOn = Math.max(at, this.events.now) + this.costs.resume;
    this.events.schedule(picoseconds(goesOn), this, RESUMED, fault.message);
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === PART_DONE) {
      this.partDone(argument);
    } else if (kind === RESUMED) {
      const message = this.messages.get(argument)!;
      this.stalled += this.events.now - message.faultedAt;
      this.raised.delete(argument);
      this.answered.delete(argument);
      this.goOn(argument, message);
    } else {
      const fault = this.raised.get(argument);
      if (fault !== undefined) this.onFault?.(fault);
    }
  }

  private goOn(index: number, message: Message): void {
    const { parts } = message;
    while (parts.length > 0 && !message.failed) {
      if (!this.issue(index, message, parts.at(-1)!)) return;
      parts.pop();
    }
    if (message.inFlight > 0) return;
    this.messages.delete(index);
    message.done(!message.failed);
  }

  /** False: the message stands still. */
  private issue(index: number, message: Message, offset: number): boolean {
    const at = message.address + offset;
    const page = Math.floor(at / PAGE_SIZE);
    const region = this.find(message.key, page);
    if (region === 'missing') {
      this.fault(index, message, page, Infinity);
      return false;
    }
    const entry = page - (region?.firstPage ?? 0);
    if (region === null || entry < 0 || entry >= region.access.length) {
      message.failed = true;
      return true;
    }
    if ((region.access[entry]! & (message.write ? MTT_WRITE : MTT_READ)) === 0) {
      this.fault(index, message, page, region.firstPage + region.access.length);
      return false;
    }
    const length = Math.min(message.bytes.length - offset, PAGE_SIZE - (at % PAGE_SIZE));
    const address = dmaAddr(region.addresses[entry]! + (at % PAGE_SIZE));
    const part = this.nextPart;
    this.nextPart += 1;
    this.parts.set(part, { message: index, region, entry });
    message.inFlight += 1;
    if (message.write) this.port.write(address, length, message.bytes, offset, this, PART_DONE, part);
    else this.port.read(address, length, message.bytes, offset, this, PART_DONE, part);
    return true;
  }

  private fault(index: number, message: Message, page: number, end: number): void {
    if (this.raised.has(index)) return;
    const { key, address, bytes, write } = message;
    const lastPage = Math.floor((address + bytes.length - 1) / PAGE_SIZE);
    const wanted = Math.min(lastPage + 1, end) - page;
    const pages = Math.min(wanted, this.pagesPerFault);
    const hinted = Math.min(wanted - pages, this.pagesHinted);
    message.faultedAt = this.events.now;
    this.faults += 1;
    this.pagesAsked += pages;
    this.raised.set(index, { message: index, key, firstPage: page, pages, hinted, write });
    this.events.schedule(picoseconds(this.events.now + this.costs.faultEvent), this, FAULT_RAISED, index);
  }

  private partDone(argument: number): void {
    const { message: index } = this.parts.get(argument)!;
    this.parts.delete(argument);
    const message = this.messages.get(index)!;
    message.inFlight -= 1;
    if (this.port.lastStatus !== 0) message.failed = true;
    // a message that stands still goes on when it is resumed
    if (!this.raised.has(index)) this.goOn(index, message);
  }

  /** The region that holds a page; `missing`: of a piece that points nowhere; null: there is no such key. */
  private find(key: number, page: number): NicRegion | 'missing' | null {
    const region = this.regions.get(key);
    if (region !== undefined) return region;
    const indirect = this.indirect.get(key);
    if (indirect === undefined) return null;
    const target = indirect.keys.get(Math.floor(page / indirect.piece));
    return target === undefined ? 'missing' : (this.regions.get(target) ?? 'missing');
  }

  private regionOf(key: number): NicRegion {
    const region = this.regions.get(key);
    if (region === undefined) throw new Error(`the adapter has no region with key ${String(key)}`);
    return region;
  }

  private checkFree(key: number): void {
    if (this.regions.has(key) || this.indirect.has(key)) {
      throw new Error(`the adapter has a region with key ${String(key)}`);
    }
  }
}
