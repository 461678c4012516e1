/**
 * A benchmark adapter: a programmable network card that reads and writes random places of a window of host memory, as fast as it can
 * or one after the other, and measures itself (pcie-bench, SIGCOMM'18, section 5: Netronome NFP-6000). It has a command interface
 * for single accesses, and a DMA engine that takes longer to begin and keeps many reads in flight.
 * Leaves out: what the card does with the data.
 */
import { dmaAddr } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

export interface DmaBenchCardOptions {
  /** From the card's clock to the link and back, of a single access by the command interface. */
  readonly commandOverhead: Picoseconds;
  /** What the DMA engine takes on top. */
  readonly engineOverhead: Picoseconds;
  /** What the card takes for each byte that comes. */
  readonly perByte: Picoseconds;
  /** Reads that the DMA engine keeps in flight. */
  readonly readsInFlight: number;
  /** Room for the data of reads in flight. */
  readonly readBufferBytes: number;
  /** Least time between two reads, and two writes, of the DMA engine. */
  readonly readInterval: Picoseconds;
  readonly writeInterval: Picoseconds;
  /** The engine's own limit on large writes: a fixed part and a part for each byte. */
  readonly writeFixed: Picoseconds;
  readonly writePerByte: Picoseconds;
}

const NEXT_SINGLE = 0;
const SINGLE_DONE = 1;
const NEXT_READ = 2;
const READ_DONE = 3;
const NEXT_WRITE = 4;
const WRITE_DONE = 5;
const TAG_FREE = 6;

/** Bus addresses to access, in order; called once for each access. */
export type NextAddress = () => number;

export class DmaBenchCard implements EventHandler {
  private readonly port: DmaPort;
  private readonly events: EventQueue;
  private readonly options: DmaBenchCardOptions;
  private readonly bytes: Uint8Array;
  private next: NextAddress = () => 0;
  private size = 0;
  private left = 0;
  private inFlight = 0;
  private overhead = 0;
  private begun = 0;
  private finished = 0;
  private total = 0;
  private issuedAt = 0;
  private armed = false;
  private errors = 0;

  constructor(port: DmaPort, events: EventQueue, options: DmaBenchCardOptions, largest = 4096) {
    this.port = port;
    this.events = events;
    this.options = options;
    this.bytes = new Uint8Array(largest);
  }

  /** Accesses that the host refused. */
  get refused(): number {
    return this.errors;
  }

  /** Mean time of single reads, one after the other, in picoseconds. */
  readLatency(engine: 'command' | 'dma', size: number, count: number, next: NextAddress): number {
    const { commandOverhead, engineOverhead, perByte } = this.options;
    this.overhead = commandOverhead + (engine === 'dma' ? engineOverhead : 0) + perByte * size;
    this.run(NEXT_SINGLE, size, count, next);
    return this.total / count;
  }

  /** Reads a second, as many in flight as the engine can; one is in flight until the card has taken its data. */
  readRate(size: number, count: number, next: NextAddress): number {
    const begun = this.events.now;
    this.overhead = this.options.commandOverhead + this.options.perByte * size;
    return (count * 1e12) / (this.run(NEXT_READ, size, count, next) - begun);
  }

  /** Writes a second, until the last one is in memory. */
  writeRate(size: number, count: number, next: NextAddress): number {
    const begun = this.events.now;
    return (count * 1e12) / (this.run(NEXT_WRITE, size, count, next) - begun);
  }

  handleEvent(kind: number, argument: number): void {
    switch (kind) {
      case NEXT_SINGLE:
        this.begun = this.events.now;
        this.left -= 1;
        this.port.read(dmaAddr(this.next()), this.size, this.bytes, 0, this, SINGLE_DONE, 0);
        break;
      case SINGLE_DONE:
        this.count();
        this.total += this.events.now - this.begun + this.overhead;
        if (this.left > 0) this.events.schedule(picoseconds(this.events.now + this.overhead), this, NEXT_SINGLE);
        break;
      case NEXT_READ:
        this.armed = false;
        this.issue(false);
        break;
      case READ_DONE:
        this.count();
        this.events.schedule(picoseconds(this.events.now + this.overhead), this, TAG_FREE);
        break;
      case TAG_FREE:
        this.inFlight -= 1;
        this.arm(NEXT_READ, this.options.readInterval);
        break;
      case NEXT_WRITE:
        this.armed = false;
        this.issue(true);
        break;
      case WRITE_DONE:
        this.count();
        this.inFlight -= argument;
        this.arm(NEXT_WRITE, this.writeInterval());
        break;
    }
  }

  /** Returns when the last access had ended. */
  private run(kind: number, size: number, count: number, next: NextAddress): number {
    this.next = next;
    this.size = size;
    this.left = count;
    this.total = 0;
    this.finished = 0;
    this.issuedAt = -Infinity;
    this.events.schedule(this.events.now, this, kind);
    while (this.finished < count && this.events.step());
    const end = this.events.now;
    while (this.inFlight > 0 && this.events.step());
    return end;
  }

  private issue(write: boolean): void {
    const limit = write ? WRITES_IN_FLIGHT : this.readsInFlight();
    if (this.left === 0 || this.inFlight >= limit) return;
    this.left -= 1;
    this.inFlight += 1;
    this.issuedAt = this.events.now;
    const address = dmaAddr(this.next());
    if (write) this.port.write(address, this.size, this.bytes, 0, this, WRITE_DONE, 1);
    else this.port.read(address, this.size, this.bytes, 0, this, READ_DONE, 0);
    if (write) this.arm(NEXT_WRITE, this.writeInterval());
    else this.arm(NEXT_READ, this.options.readInterval);
  }

  private arm(kind: number, interval: number): void {
    if (this.armed || this.left === 0) return;
    this.armed = true;
    this.events.schedule(picoseconds(Math.max(this.events.now, this.issuedAt + interval)), this, kind);
  }

  private readsInFlight(): number {
    const { readsInFlight, readBufferBytes } = this.options;
    return Math.max(1, Math.min(readsInFlight, Math.floor(readBufferBytes / this.size)));
  }

  private writeInterval(): number {
    const { writeInterval, writeFixed, writePerByte } = this.options;
    return Math.max(writeInterval, writeFixed + writePerByte * this.size);
  }

  private count(): void {
    this.finished += 1;
    if (this.port.lastStatus !== 0) this.errors += 1;
  }
}

/** Writes whose credits have not come back; the root port's credits are the limit, this only bounds the card's memory. */
const WRITES_IN_FLIGHT = 512;
