/**
 * The adapter's cache of translation tables that lie in the host's memory: lines of 64 bytes, in sets, the least recently used one
 * replaced. What is cached stays in use until the adapter is told to forget it, whatever the memory says by then.
 * Leaves out: several fetches of one line joined to one, prefetching.
 */
import { dmaAddr } from '../../memory/addresses.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import type { EventHandler } from '../../time/eventQueue.ts';
import { XLT_ALIGNMENT } from './rdmaSpecification.ts';

export interface TableCacheGeometry {
  readonly sets: number;
  readonly ways: number;
}

interface Fetch {
  line: number;
  generation: number;
  readonly bytes: Uint8Array;
  waiter: EventHandler;
  kind: number;
}

export class TableCache implements EventHandler {
  hits = 0;
  misses = 0;
  /** The lines' bytes; `find` says where. */
  readonly view: DataView;
  private readonly port: DmaPort;
  private readonly sets: number;
  private readonly ways: number;
  private readonly lines: Float64Array;
  private readonly usedAt: Float64Array;
  private readonly bytes: Uint8Array;
  private readonly fetches: Fetch[] = [];
  private readonly idle: number[] = [];
  private clock = 0;
  private generation = 0;

  constructor(port: DmaPort, geometry: TableCacheGeometry) {
    this.port = port;
    this.sets = geometry.sets;
    this.ways = geometry.ways;
    const lines = geometry.sets * geometry.ways;
    this.lines = new Float64Array(lines).fill(-1);
    this.usedAt = new Float64Array(lines);
    this.bytes = new Uint8Array(lines * XLT_ALIGNMENT);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Where in `view` the byte at this bus address is; -1: not here. */
  find(address: number): number {
    const line = Math.floor(address / XLT_ALIGNMENT);
    const first = (line % this.sets) * this.ways;
    for (let way = first; way < first + this.ways; way += 1) {
      if (this.lines[way] !== line) continue;
      this.clock += 1;
      this.usedAt[way] = this.clock;
      this.hits += 1;
      return way * XLT_ALIGNMENT + (address % XLT_ALIGNMENT);
    }
    return -1;
  }

  /** Fetches the line of this address; `waiter` hears, with argument 1 when the fetch was refused. It may not be there even so. */
  fetch(address: number, waiter: EventHandler, kind: number): void {
    this.misses += 1;
    const fresh = { line: 0, generation: 0, bytes: new Uint8Array(XLT_ALIGNMENT), waiter, kind };
    const index = this.idle.pop() ?? this.fetches.push(fresh) - 1;
    const fetch = this.fetches[index]!;
    fetch.line = Math.floor(address / XLT_ALIGNMENT);
    fetch.generation = this.generation;
    fetch.waiter = waiter;
    fetch.kind = kind;
    this.port.read(dmaAddr(fetch.line * XLT_ALIGNMENT), XLT_ALIGNMENT, fetch.bytes, 0, this, 0, index);
  }

  /** Forgets these bytes, and whatever is being fetched just now. */
  invalidate(address: number, length: number): void {
    this.generation += 1;
    const first = Math.floor(address / XLT_ALIGNMENT);
    const last = Math.floor((address + length - 1) / XLT_ALIGNMENT);
    for (let index = 0; index < this.lines.length; index += 1) {
      if (this.lines[index]! >= first && this.lines[index]! <= last) this.lines[index] = -1;
    }
  }

  handleEvent(_kind: number, index: number): void {
    const fetch = this.fetches[index]!;
    const refused = this.port.lastStatus !== 0;
    if (!refused && fetch.generation === this.generation) this.insert(fetch);
    this.idle.push(index);
    fetch.waiter.handleEvent(fetch.kind, refused ? 1 : 0);
  }

  private insert(fetch: Fetch): void {
    const first = (fetch.line % this.sets) * this.ways;
    let place = first;
    for (let way = first; way < first + this.ways; way += 1) {
      if (this.lines[way] === fetch.line) {
        place = way;
        break;
      }
      const empty = this.lines[way] === -1;
      if (this.lines[place] !== -1 && (empty || this.usedAt[way]! < this.usedAt[place]!)) place = way;
    }
    this.clock += 1;
    this.lines[place] = fetch.line;
    this.usedAt[place] = this.clock;
    this.bytes.set(fetch.bytes, place * XLT_ALIGNMENT);
  }
}
