/**
 * Page-fault events: what the adapter tells the driver of a missing translation, and the driver's answer (Linux
 * drivers/infiniband/hw/mlx5/odp.c, `mlx5_pagefault`). Only so many may wait for an answer at once.
 * Leaves out: the event queue's entries in memory.
 */
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { Mover } from './mover.ts';
import type { QueuePair } from './queuePair.ts';

/** `kind`: a local access of a work request, or a remote one of a packet. */
export interface RdmaFault {
  readonly token: number;
  readonly mkey: number;
  readonly va: number;
  readonly bytes: number;
  readonly write: boolean;
  readonly kind: 'WQE' | 'RDMA';
}

export interface FaultEventOptions {
  /** Firmware, from the missing translation to the event. */
  readonly faultEvent: Picoseconds;
  /** From the driver's answer until the queue pair goes on. */
  readonly resume: Picoseconds;
  /** Events that the driver has not answered; while so many wait, further queue pairs stand still without one. */
  readonly faultEvents: number;
}

interface RaisedFault {
  readonly fault: RdmaFault;
  readonly qp: QueuePair;
  failed: boolean;
}

const RAISED = 0;
const RESUMED = 1;

export class FaultEvents implements EventHandler {
  raised = 0;
  onFault: ((fault: RdmaFault) => void) | null = null;
  private readonly events: EventQueue;
  private readonly options: FaultEventOptions;
  private readonly resumed: (qp: QueuePair, kind: RdmaFault['kind'], failed: boolean) => void;
  private readonly waiting = new Map<number, RaisedFault>();
  private nextToken = 1;

  constructor(
    events: EventQueue,
    options: FaultEventOptions,
    resumed: (qp: QueuePair, kind: RdmaFault['kind'], failed: boolean) => void,
  ) {
    this.events = events;
    this.options = options;
    this.resumed = resumed;
  }

  /** False: there is no room for another event. */
  raise(qp: QueuePair, mover: Mover, bytes: number, write: boolean, kind: RdmaFault['kind']): boolean {
    if (this.waiting.size >= this.options.faultEvents) return false;
    const token = this.nextToken;
    this.nextToken += 1;
    this.raised += 1;
    const fault = { token, mkey: mover.missingKey, va: mover.missingAddress, bytes, write, kind };
    this.waiting.set(token, { fault, qp, failed: false });
    this.events.schedule(picoseconds(this.events.now + this.options.faultEvent), this, RAISED, token);
    return true;
  }

  /** The driver's answer, at `at`; `error`: it could not be served. */
  resume(token: number, error: boolean, at: Picoseconds): void {
    const raised = this.waiting.get(token);
    if (raised === undefined) throw new Error(`fault ${String(token)} is resumed, and it does not wait`);
    raised.failed = error;
    const goesOn = Math.max(at, this.events.now) + this.options.resume;
    this.events.schedule(picoseconds(goesOn), this, RESUMED, token);
  }

  handleEvent(kind: number, token: number): void {
    const raised = this.waiting.get(token);
    if (raised === undefined) return;
    if (kind === RAISED) this.onFault?.(raised.fault);
    else {
      this.waiting.delete(token);
      this.resumed(raised.qp, raised.fault.kind, raised.failed);
    }
  }
}
