/**
 * Moves a stretch of a message between the adapter and memory: follows a list of data segments, translates each address by the tables of
 * its key, fetches what the cache lacks, and reads or writes by DMA. At most `WINDOW` accesses are under way at once.
 * Leaves out: what is done about a missing translation, which its owner decides.
 */
import { dmaAddr } from '../../memory/addresses.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import type { EventHandler } from '../../time/eventQueue.ts';
import { DENIED, MISSING, NOT_CACHED, type MemoryKey, type MemoryKeys } from './memoryKeys.ts';
import type { TableCache } from './tableCache.ts';

export const MOVED = 0;
/** No such key, or it does not allow this. */
export const NOT_ALLOWED = 1;
/** The IOMMU, or whoever else stands before memory, refused an access. */
const REFUSED = 2;
/** A translation is missing; `missingKey` and `missingAddress` say which. */
export const FAULTED = 3;

export interface MoverAdapter {
  readonly port: DmaPort;
  readonly cache: TableCache;
  readonly keys: MemoryKeys;
  /** An access by a key's translation has ended. */
  accessEnded(key: MemoryKey): void;
}

const PIECE_DONE = 0;
const LINE_FETCHED = 1;
const WINDOW = 8;
const LARGEST_ACCESS = 4096;

export class Mover implements EventHandler {
  status = MOVED;
  missingKey = 0;
  missingAddress = 0;
  /** Data segments: where a message lies. */
  segments = 0;
  readonly keys: number[] = [];
  readonly addresses: number[] = [];
  readonly lengths: number[] = [];
  private readonly adapter: MoverAdapter;
  private readonly owner: EventHandler;
  private readonly kind: number;
  private readonly argument: number;
  private buffer: Uint8Array = new Uint8Array(0);
  private pd = 0;
  private need = 0;
  private write = false;
  private segment = 0;
  private inSegment = 0;
  private position = 0;
  private end = 0;
  private pending = 0;
  private fetching = false;
  private running = false;
  private readonly pieceKeys: (MemoryKey | null)[] = [];
  private readonly idlePieces: number[] = [];

  /** `owner` hears with this kind and argument when a stretch has ended, whatever its status. */
  constructor(adapter: MoverAdapter, owner: EventHandler, kind: number, argument: number) {
    this.adapter = adapter;
    this.owner = owner;
    this.kind = kind;
    this.argument = argument;
  }

  get busy(): boolean {
    return this.running;
  }

  clear(): void {
    this.segments = 0;
  }

  add(key: number, address: number, length: number): void {
    this.keys[this.segments] = key;
    this.addresses[this.segments] = address;
    this.lengths[this.segments] = length;
    this.segments += 1;
  }

  /** `offset`: of the stretch in the message; `buffer` holds the stretch alone. `write`: into memory. */
  start(offset: number, length: number, buffer: Uint8Array, pd: number, need: number, write: boolean): void {
    this.status = MOVED;
    this.buffer = buffer;
    this.pd = pd;
    this.need = need;
    this.write = write;
    this.position = 0;
    this.end = length;
    this.segment = 0;
    this.inSegment = offset;
    this.running = true;
    while (this.segment < this.segments && this.inSegment >= this.lengths[this.segment]!) {
      this.inSegment -= this.lengths[this.segment]!;
      this.segment += 1;
    }
    this.pump();
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === LINE_FETCHED) {
      this.fetching = false;
      if (argument !== 0) this.status = REFUSED;
    } else {
      if (this.adapter.port.lastStatus !== 0) this.status = REFUSED;
      this.pending -= 1;
      const key = this.pieceKeys[argument]!;
      this.pieceKeys[argument] = null;
      this.idlePieces.push(argument);
      this.adapter.accessEnded(key);
    }
    this.pump();
  }

  private pump(): void {
    while (this.status === MOVED && !this.fetching && this.position < this.end && this.pending < WINDOW) this.piece();
    if (this.pending > 0 || this.fetching || !this.running) return;
    this.running = false;
    this.owner.handleEvent(this.kind, this.argument);
  }

  private piece(): void {
    const { adapter, segment } = this;
    if (segment >= this.segments) {
      this.status = NOT_ALLOWED;
      return;
    }
    const address = this.addresses[segment]! + this.inSegment;
    const left = Math.min(this.lengths[segment]! - this.inSegment, this.end - this.position);
    const outcome = adapter.keys.translate(this.keys[segment]!, this.pd, address, left, this.need, this.write);
    if (outcome === NOT_CACHED) {
      this.fetching = true;
      adapter.cache.fetch(adapter.keys.address, this, LINE_FETCHED);
    } else if (outcome === DENIED) {
      this.status = NOT_ALLOWED;
    } else if (outcome === MISSING) {
      this.status = FAULTED;
      this.missingKey = adapter.keys.missingKey;
      this.missingAddress = adapter.keys.missingAddress;
    } else {
      this.access(dmaAddr(adapter.keys.address), Math.min(adapter.keys.length, LARGEST_ACCESS), adapter.keys.key!);
    }
  }

  private access(address: ReturnType<typeof dmaAddr>, length: number, key: MemoryKey): void {
    const { port } = this.adapter;
    const offset = this.position;
    const index = this.idlePieces.pop() ?? this.pieceKeys.push(null) - 1;
    this.pieceKeys[index] = key;
    key.inFlight += 1;
    this.pending += 1;
    this.position += length;
    this.inSegment += length;
    if (this.inSegment >= this.lengths[this.segment]!) {
      this.inSegment = 0;
      this.segment += 1;
    }
    if (this.write) port.write(address, length, this.buffer, offset, this, PIECE_DONE, index);
    else port.read(address, length, this.buffer, offset, this, PIECE_DONE, index);
  }
}
