/**
 * A path through the fabric: links one after the other, and how long a TLP takes from one to the next. A burst of TLPs follows its
 * first one.
 * Leaves out: when which burst moves (pathCarrier.ts).
 */
import { REQUEST_OVERHEAD_BYTES, type Direction } from './link.ts';
import type { Way } from './way.ts';

export interface Leg {
  readonly direction: Direction;
  /** From the end of the wire to the next leg or the end: the link's propagation and what stands there. */
  readonly delay: number;
  /** Whether what stands there waits for the whole TLP. */
  readonly storeAndForward: boolean;
}

export class Path {
  readonly legs: readonly Leg[];

  constructor(legs: readonly Leg[]) {
    this.legs = legs;
  }

  /**
   * From a TLP's first byte on the wire of a leg to the time when it may go on. Where it is cut through it must not run dry on the
   * next wire: a slow link before a fast one holds it up.
   */
  passes(leg: number, tlp: number): number {
    const { direction, delay, storeAndForward } = this.legs[leg]!;
    const whole = direction.duration(tlp);
    const next = this.legs[leg + 1];
    if (next === undefined || storeAndForward) return whole + delay;
    const header = direction.duration(Math.min(tlp, REQUEST_OVERHEAD_BYTES));
    return Math.max(header, whole - next.direction.duration(tlp)) + delay;
  }
}

/** Up from a function, to the root complex or to the upper end of the step `last`. */
export function pathUp(way: Way, rootComplex: number, last: Way | null = null): Path {
  return new Path(legsUp(way, last?.above ?? null, rootComplex));
}

/** Down to a function, from the root complex or from the upper end of the step `first`. */
export function pathDown(way: Way, first: Way | null = null): Path {
  return new Path(legsDown(way, first?.above ?? null));
}

/** From a function to a peer: across the switch where their ways meet, or through the root complex, which takes `rootComplex`. */
export function pathBetween(from: Way, to: Way, rootComplex: number, across: boolean): Path {
  const common = across ? firstCommonStep(from, to) : null;
  return new Path([...legsUp(from, common, rootComplex), ...legsDown(to, common)]);
}

function firstCommonStep(from: Way, to: Way): Way | null {
  for (let step: Way | null = from; step !== null; step = step.above) {
    for (let other: Way | null = to; other !== null; other = other.above) if (other === step) return step;
  }
  return null;
}

function legsUp(way: Way, end: Way | null, rootComplex: number): Leg[] {
  const legs: Leg[] = [];
  for (let step: Way | null = way; step !== null && step !== end; step = step.above) {
    const { link, joins } = step;
    const delay = link.propagation + (joins === null ? rootComplex : joins.latency);
    legs.push({ direction: link.upstream, delay, storeAndForward: joins?.storeAndForward ?? true });
  }
  return legs;
}

function legsDown(way: Way, end: Way | null): Leg[] {
  const legs: Leg[] = [];
  let below: Way | null = null;
  for (let step: Way | null = way; step !== null && step !== end; step = step.above) {
    const joins = below?.joins ?? null;
    const delay = step.link.propagation + (joins?.latency ?? 0);
    legs.unshift({ direction: step.link.downstream, delay, storeAndForward: joins?.storeAndForward ?? true });
    below = step;
  }
  return legs;
}
