/**
 * A PCIe link: two directions, each a serial resource (PCI Express Base Specification, chapter 3 and 4; wire overhead as in the
 * bandwidth model of pcie-bench, SIGCOMM'18). Bytes on the wire are payload plus header, sequence number, LCRC and framing.
 * Leaves out: flow-control credits, acknowledgement traffic beyond its share in the overhead, retraining, errors.
 */
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

export interface LinkOptions {
  /** 1 to 6. */
  readonly generation: number;
  readonly lanes: number;
  /** MPS: the largest payload of one TLP, bytes. */
  readonly maxPayloadSize: number;
  /** MRRS: the largest read that one request TLP may ask for, bytes. */
  readonly maxReadRequestSize: number;
  /**
   * Into how much data the root complex cuts its completions, bytes, a multiple of the read completion boundary; default MPS. Many
   * cut at every cache line.
   */
  readonly completionBytes?: number;
  /** RCB: where the root complex may cut the completions of one request, 64 or 128 bytes; default 64. */
  readonly readCompletionBoundary?: number;
  /** One way, ports and wire. */
  readonly propagation: Picoseconds;
}

/** Gb/s per lane after line encoding, by generation. */
const GIGABITS_PER_LANE: readonly number[] = [0, 2, 4, 7.88, 15.75, 31.5, 60.5];
const PICOSECONDS_PER_BIT_AT_1_GBPS = 1000;
/** A memory request: 16-byte header (64-bit address), 2 sequence, 4 LCRC, 2 framing. */
export const REQUEST_OVERHEAD_BYTES = 24;
/** A completion: 12-byte header, 2 sequence, 4 LCRC, 2 framing. */
export const COMPLETION_OVERHEAD_BYTES = 20;

/** One direction of a link. */
export class Direction {
  private readonly picosecondsPerByte: number;
  private busyUntil = 0;

  constructor(picosecondsPerByte: number) {
    this.picosecondsPerByte = picosecondsPerByte;
  }

  /** How long bytes are on the wire. */
  duration(bytes: number): number {
    return Math.ceil(bytes * this.picosecondsPerByte);
  }

  /** Takes the direction for some bytes, from `at` or as soon as it is free; returns when they have left. */
  reserve(bytes: number, at: number): Picoseconds {
    const start = Math.max(at, this.busyUntil);
    this.busyUntil = start + this.duration(bytes);
    return picoseconds(this.busyUntil);
  }
}

export class Link {
  readonly options: LinkOptions;
  readonly propagation: Picoseconds;
  /** From the device to the root complex. */
  readonly upstream: Direction;
  readonly downstream: Direction;

  constructor(options: LinkOptions) {
    const gigabits = GIGABITS_PER_LANE[options.generation];
    if (gigabits === undefined || gigabits === 0) throw new Error(`no PCIe generation ${String(options.generation)}`);
    const picosecondsPerByte = (8 * PICOSECONDS_PER_BIT_AT_1_GBPS) / (gigabits * options.lanes);
    this.options = options;
    this.propagation = options.propagation;
    this.upstream = new Direction(picosecondsPerByte);
    this.downstream = new Direction(picosecondsPerByte);
  }
}
