/**
 * A device that reads and writes a process's memory by its own addresses and may find a page missing: it looks, asks for the page and
 * looks again when it was answered, page after page. How it asks is a PageFaultPath.
 * Leaves out: other work while a page is missing.
 */
import { dmaAddr, PAGE_SIZE } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { PageFaultPath } from '../pcie/pageFaultPath.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

export interface FaultingDmaOptions {
  readonly port: DmaPort;
  readonly path: PageFaultPath;
  readonly events: EventQueue;
  /** What the device takes from a missing page to its request, and from the answer until it looks again. */
  readonly beforeRequest: Picoseconds;
  readonly afterAnswer: Picoseconds;
  /** Pages that one request may name; 1 for most. */
  readonly pagesPerRequest: number;
}

const LOOK = 0;
const FOUND = 1;
const ASK = 2;
const ACCESSED = 3;
const FAIL = 4;

/** How often one page may be lost again between look and access. */
const MOST_ATTEMPTS = 64;

export class FaultingDma implements EventHandler {
  /** Requests for pages that were missing, and the time from finding out until the page was there. */
  faults = 0;
  stalled = 0;
  private readonly options: FaultingDmaOptions;
  private bytes: Uint8Array = new Uint8Array(0);
  private address = 0;
  private offset = 0;
  private write = false;
  private done: ((ok: boolean) => void) | null = null;
  private faultedAt = -1;
  private attempts = 0;

  constructor(options: FaultingDmaOptions) {
    this.options = options;
  }

  /** One message at a time. */
  start(address: number, bytes: Uint8Array, write: boolean, done: (ok: boolean) => void): void {
    if (this.done !== null) throw new Error('the device has a message under way');
    this.address = address;
    this.bytes = bytes;
    this.write = write;
    this.done = done;
    this.offset = 0;
    this.attempts = 0;
    this.options.events.schedule(this.options.events.now, this, LOOK);
  }

  handleEvent(kind: number): void {
    switch (kind) {
      case LOOK:
        this.look();
        break;
      case FOUND:
        this.access();
        break;
      case ASK:
        this.ask();
        break;
      case ACCESSED:
        this.accessed();
        break;
      case FAIL:
        this.end(false);
        break;
    }
  }

  private get page(): number {
    return Math.floor((this.address + this.offset) / PAGE_SIZE);
  }

  private get chunk(): number {
    const inPage = (this.address + this.offset) % PAGE_SIZE;
    return Math.min(this.bytes.length - this.offset, PAGE_SIZE - inPage);
  }

  private look(): void {
    const { path, events, beforeRequest } = this.options;
    const present = path.present(this.page, this.write, events.now);
    const known = picoseconds(Math.max(events.now, path.readyAt));
    if (present) {
      if (this.faultedAt >= 0) this.stalled += known - this.faultedAt;
      this.faultedAt = -1;
      events.schedule(known, this, FOUND);
      return;
    }
    this.attempts += 1;
    if (!path.mayAsk || this.attempts > MOST_ATTEMPTS) {
      events.schedule(known, this, FAIL);
      return;
    }
    if (this.faultedAt < 0) {
      this.faultedAt = known;
      this.faults += 1;
    }
    events.schedule(picoseconds(known + beforeRequest), this, ASK);
  }

  private ask(): void {
    const { path, events, afterAnswer, pagesPerRequest } = this.options;
    const lastPage = Math.floor((this.address + this.bytes.length - 1) / PAGE_SIZE);
    const pages = Math.min(pagesPerRequest, lastPage - this.page + 1);
    path.ask(this.page, pages, this.write, (again) => {
      events.schedule(picoseconds(events.now + afterAnswer), this, again ? LOOK : FAIL);
    });
  }

  private access(): void {
    const { port } = this.options;
    const at = dmaAddr(this.address + this.offset);
    if (this.write) port.write(at, this.chunk, this.bytes, this.offset, this, ACCESSED, 0);
    else port.read(at, this.chunk, this.bytes, this.offset, this, ACCESSED, 0);
  }

  private accessed(): void {
    if (this.options.port.lastStatus !== 0) {
      // taken away between look and access
      this.attempts += 1;
      if (this.attempts > MOST_ATTEMPTS) this.end(false);
      else this.look();
      return;
    }
    this.attempts = 0;
    this.offset += this.chunk;
    if (this.offset < this.bytes.length) this.look();
    else this.end(true);
  }

  private end(ok: boolean): void {
    const { done } = this;
    this.done = null;
    this.faultedAt = -1;
    done?.(ok);
  }
}
