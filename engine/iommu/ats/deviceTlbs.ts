/**
 * Device TLBs as an IOMMU's queue reaches them (PCI Express Base Specification 10.3; VT-d specification 6.5.2.5): an invalidate request goes
 * down the device's link and an answer comes back when no access uses the translations any more. Requests to one device are told apart by an
 * ITag of five bits, so that 32 of them may be under way, or fewer where the device has room for fewer; the next one waits. A device that
 * does not answer ends the request when its time is over.
 * Leaves out: answers that arrive in several parts, by traffic class.
 */
import { InvalidateRange } from '../../pcie/atsMessages.ts';
import { REQUEST_OVERHEAD_BYTES } from '../../pcie/link.ts';
import type { Way } from '../../pcie/way.ts';
import { PICOSECONDS_PER_MICROSECOND, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';

/** ITags. */
const MOST_UNDER_WAY = 32;
const BODY_BYTES = 8;
/** PCI Express Base Specification 10.3.1: a minute, and half of it more at the most. */
const TIME_OUT = picoseconds(60_000_000 * PICOSECONDS_PER_MICROSECOND);

/** A cache of translations in a device; see DeviceTlb. */
export interface InvalidatedTlb {
  invalidate(words: Uint32Array, wordAt: number, pasid: number, at: Picoseconds): Picoseconds;
}

export interface DeviceTlbPlace {
  readonly tlb: InvalidatedTlb;
  readonly way: Way;
  /** One way through the root complex. */
  readonly rootComplex: Picoseconds;
  /** Invalidate requests that the device takes before it answers: ATS capability, Invalidate Queue Depth; 0 stands for 32. */
  readonly queueDepth: number;
  /** False: the device is gone. */
  answers?: boolean;
}

/** What a queue asks of the device TLBs behind its IOMMU, submission by submission. */
export interface InvalidatedDevices {
  /** Whether a request of this submission ran out of time. */
  readonly lost: boolean;
  begin(at: Picoseconds): void;
  invalidate(sourceId: number, pasid: number, firstPage: number, pages: number, global: boolean): void;
  end(): Picoseconds;
}

/** An IOMMU behind which no device has a TLB. */
export const NO_DEVICES: InvalidatedDevices = {
  lost: false,
  begin: () => undefined,
  invalidate: () => undefined,
  end: () => picoseconds(0),
};

class ReachedDevice {
  readonly place: DeviceTlbPlace;
  /** By ITag, when its request is answered. */
  readonly answeredAt: Float64Array;

  constructor(place: DeviceTlbPlace) {
    this.place = place;
    const depth = place.queueDepth === 0 ? MOST_UNDER_WAY : Math.min(place.queueDepth, MOST_UNDER_WAY);
    this.answeredAt = new Float64Array(depth);
  }
}

export class DeviceTlbs implements InvalidatedDevices {
  /** Requests sent, and those that nobody answered. */
  requests = 0;
  timeOuts = 0;
  private readonly devices = new Map<number, ReachedDevice>();
  private readonly range = new InvalidateRange();
  private readonly words = new Uint32Array(2);
  private sentAt = 0;
  private answeredBy = 0;
  private timedOut = false;

  add(sourceId: number, place: DeviceTlbPlace): void {
    this.devices.set(sourceId, new ReachedDevice(place));
  }

  /** The requests of one submission, which begins at `at`. */
  begin(at: Picoseconds): void {
    this.sentAt = at;
    this.answeredBy = at;
    this.timedOut = false;
  }

  /** `pages`: a power of two, naturally aligned; `pasid`: NO_PASID for translations without one; `global`: of all PASIDs. */
  invalidate(sourceId: number, pasid: number, firstPage: number, pages: number, global: boolean): void {
    const device = this.devices.get(sourceId);
    if (device === undefined) return;
    const { range, words } = this;
    const { tlb, way, rootComplex, answers = true } = device.place;
    const tag = earliest(device.answeredAt);
    const start = Math.max(this.sentAt, device.answeredAt[tag]!);
    range.firstPage = firstPage;
    range.pages = pages;
    range.global = global;
    range.encode(words, 0);
    this.requests += 1;
    const arrives = way.messageDown(REQUEST_OVERHEAD_BYTES + BODY_BYTES, start + rootComplex);
    let answered: number = start + TIME_OUT;
    if (answers) {
      const done = tlb.invalidate(words, 0, pasid, picoseconds(arrives));
      answered = way.messageUp(REQUEST_OVERHEAD_BYTES, done) + rootComplex;
    } else {
      this.timeOuts += 1;
      this.timedOut = true;
    }
    device.answeredAt[tag] = answered;
    this.answeredBy = Math.max(this.answeredBy, answered);
  }

  /** When the last answer to this submission is there, or its time is over. */
  end(): Picoseconds {
    return picoseconds(this.answeredBy);
  }

  /** Whether a request of this submission ran out of time. */
  get lost(): boolean {
    return this.timedOut;
  }
}

function earliest(moments: Float64Array): number {
  let first = 0;
  for (let at = 1; at < moments.length; at += 1) if (moments[at]! < moments[first]!) first = at;
  return first;
}
