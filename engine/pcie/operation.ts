/**
 * A request of a function under way, and how it is cut: at page boundaries, since each page is translated by itself (PCI Express
 * Base Specification 2.2.2 forbids a request to cross one). Leaves out: what happens to it on its way (linkCarrier.ts,
 * pathCarrier.ts).
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { EventHandler } from '../time/eventQueue.ts';

export const NO_BYTES = new Uint8Array(0);
export const NOBODY: EventHandler = { handleEvent: () => undefined };
/** `&` keeps the low bits of any whole number below 2^53, and spares a floating-point division. */
export const PAGE_OFFSET_MASK = PAGE_SIZE - 1;

/** `Operation.status`: part of it was refused. */
export const FAILED = 1;
/** An MSI is a posted write of one doubleword. */
export const INTERRUPT_BYTES = 4;

/** What a request asks of the link. */
export const READ_REQUEST = 0;
export const WRITE_REQUEST = 1;
export const INTERRUPT_REQUEST = 2;

/** What brings requests to where they go, and tells when they are finished. */
export interface Carrier {
  /** Puts all TLPs of a request on the upstream link, one after the other. */
  send(operation: Operation): void;
}

/** A request under way. Reused, so that none is allocated per request. */
export class Operation {
  readonly index: number;
  address = 0;
  length = 0;
  request = READ_REQUEST;
  /** Bytes whose page has reached the root complex, whose translation is known, and bytes that are finished. */
  arrived = 0;
  translated = 0;
  answered = 0;
  bytes: Uint8Array = NO_BYTES;
  offset = 0;
  /** When the first byte of a write is on the wire. */
  started = 0;
  finishesAt = 0;
  /** From the memory port to the data. */
  memoryTime = 0;
  status = 0;
  done: EventHandler = NOBODY;
  kind = 0;
  argument = 0;

  constructor(index: number) {
    this.index = index;
  }

  /** Bytes from `from` to the next page boundary or the end. */
  chunk(from: number): number {
    return Math.min(this.length - from, PAGE_SIZE - ((this.address + from) & PAGE_OFFSET_MASK));
  }
}
