/**
 * Into how many TLPs a request and its data are cut (PCI Express Base Specification 2.2.2 length and 4 KiB rules, 2.2.7 requests,
 * 2.3.1.1 read completions): writes by the maximum payload size, reads by the maximum read request size, and the completions of each
 * read request by the payload size and at the completer's read completion boundary. What crosses a 4-KiB boundary is cut there
 * before it comes here (operation.ts).
 * Leaves out: byte enables and the rounding to doublewords, which the overhead in link.ts stands for.
 */
import { REQUEST_OVERHEAD_BYTES } from './link.ts';
import type { Way } from './way.ts';

/** RCB of root complexes; some have 128, as all other completers do. */
const ROOT_COMPLEX_BOUNDARY = 64;
const PEER_BOUNDARY = 128;

export interface TlpSizeOptions {
  /** MPS, bytes. */
  readonly maxPayloadSize: number;
  /** MRRS, bytes. */
  readonly maxReadRequestSize: number;
  /** The most data of one completion, bytes; default MPS. */
  readonly completionBytes?: number;
  /** RCB, bytes: 64 or 128; default 64. */
  readonly readCompletionBoundary?: number;
}

export class TlpSizes {
  readonly maxPayloadSize: number;
  readonly maxReadRequestSize: number;
  /** Whatever begins on a boundary is cut by this. */
  readonly completionBytes: number;
  private readonly boundary: number;

  constructor({
    maxPayloadSize,
    maxReadRequestSize,
    completionBytes = Infinity,
    readCompletionBoundary = ROOT_COMPLEX_BOUNDARY,
  }: TlpSizeOptions) {
    this.maxPayloadSize = maxPayloadSize;
    this.maxReadRequestSize = maxReadRequestSize;
    this.completionBytes = Math.min(completionBytes, maxPayloadSize);
    this.boundary = readCompletionBoundary;
  }

  /** TLPs of a write of this many bytes. */
  writeTlps(bytes: number): number {
    return Math.ceil(bytes / this.maxPayloadSize);
  }

  /** Request TLPs of a read of this many bytes. */
  readTlps(bytes: number): number {
    return Math.ceil(bytes / this.maxReadRequestSize);
  }

  /**
   * Completion TLPs of a read that begins at `address`: each of its requests is answered on its own, with as much as MPS
   * allows and the completer gives, cut at the read completion boundary (2.3.1.1).
   */
  completionTlps(address: number, bytes: number): number {
    const { maxReadRequestSize } = this;
    // MRRS is a multiple of the boundary, so every request begins at the same distance from one.
    const skew = address & (this.boundary - 1);
    const whole = Math.floor(bytes / maxReadRequestSize);
    const rest = bytes - whole * maxReadRequestSize;
    return whole * this.completionsOfRequest(skew, maxReadRequestSize) + this.completionsOfRequest(skew, rest);
  }

  /** Bytes on the wire for a part of a request that lies in one page. */
  requestWire(bytes: number, write: boolean): number {
    return write
      ? bytes + this.writeTlps(bytes) * REQUEST_OVERHEAD_BYTES
      : this.readTlps(bytes) * REQUEST_OVERHEAD_BYTES;
  }

  /** Bytes on the wire of the first TLP of such a part. */
  firstRequestTlp(bytes: number, write: boolean): number {
    return (write ? Math.min(bytes, this.maxPayloadSize) : 0) + REQUEST_OVERHEAD_BYTES;
  }

  private completionsOfRequest(skew: number, bytes: number): number {
    return bytes === 0 ? 0 : Math.ceil((skew + bytes) / this.completionBytes);
  }
}

/** Of a function whose requests go to the root complex by this way: the smallest payload on it, and the completions of its root port. */
export function sizesOfWay(way: Way): TlpSizes {
  let root = way;
  for (; root.above !== null; root = root.above);
  const { completionBytes, readCompletionBoundary } = root.link.options;
  return new TlpSizes({
    maxPayloadSize: smallestPayload(way),
    maxReadRequestSize: way.link.options.maxReadRequestSize,
    ...(completionBytes === undefined ? {} : { completionBytes }),
    ...(readCompletionBoundary === undefined ? {} : { readCompletionBoundary }),
  });
}

/** Of a function that reads from a peer. */
export function sizesToPeer(requester: Way, peer: Way): TlpSizes {
  return new TlpSizes({
    maxPayloadSize: Math.min(smallestPayload(requester), smallestPayload(peer)),
    maxReadRequestSize: requester.link.options.maxReadRequestSize,
    readCompletionBoundary: PEER_BOUNDARY,
  });
}

function smallestPayload(way: Way): number {
  let smallest = Infinity;
  for (let step: Way | null = way; step !== null; step = step.above) {
    smallest = Math.min(smallest, step.link.options.maxPayloadSize);
  }
  return smallest;
}
