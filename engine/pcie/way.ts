/**
 * The links between a function and its root complex, and the switches that join them (PCI Express Base Specification 1.3.3; 2.2.4.1,
 * address routing). Each step knows the link, and the step that follows above the switch at the link's upper end. Functions below one
 * port share its step, so what two functions have in common is found by comparing steps.
 * A switch takes its time for each TLP: by default it begins to forward when the header has come (cut-through); a switch that
 * stores and forwards waits for the whole TLP.
 * Leaves out: arbitration other than first come, first served; room in the switch, which is never full.
 */
import { nanoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { Link } from './link.ts';

/** Vendors give 100 to 150 ns for switches of generations 3 to 5, such as 115 ns (Broadcom PEX89048); assumed for any other. */
const SWITCH_LATENCY = nanoseconds(110);

export interface SwitchOptions {
  /** One way through the switch, from a TLP's arrival until it may leave; default 110 ns. */
  readonly latency?: Picoseconds;
  /** A TLP leaves when all of it has come; default: as soon as its header has. */
  readonly storeAndForward?: boolean;
}

/** A switch, as far as time goes. */
export class SwitchTiming {
  readonly latency: Picoseconds;
  readonly storeAndForward: boolean;

  constructor({ latency = SWITCH_LATENCY, storeAndForward = false }: SwitchOptions) {
    this.latency = latency;
    this.storeAndForward = storeAndForward;
  }
}

/** One step of the way up: a link, and what is at its upper end. */
export class Way {
  readonly link: Link;
  /** The switch at the upper end, and the step above it; null: the root complex is there. */
  readonly joins: SwitchTiming | null;
  readonly above: Way | null;

  constructor(link: Link, joins: SwitchTiming | null = null, above: Way | null = null) {
    this.link = link;
    this.joins = joins;
    this.above = above;
  }

  /**
   * When a message, no longer than a header, that leaves the function at `at` is at the root complex, and one that leaves there at the
   * function. It takes its place on the function's own link, and the time of those that the function shares.
   */
  messageUp(wire: number, at: number): number {
    const sent = this.link.upstream.reserve(wire, at) + this.link.propagation;
    return this.above === null ? sent : sent + (this.joins?.latency ?? 0) + this.above.upTime(wire);
  }

  messageDown(wire: number, at: number): number {
    const { link, joins, above } = this;
    const here = above === null ? at : at + above.downTime(wire) + (joins?.latency ?? 0);
    return link.downstream.reserve(wire, here) + link.propagation;
  }

  /** How long a TLP takes from the root complex down to the end of this step, where every link is free. */
  downTime(wire: number): number {
    const { link, joins, above } = this;
    const here = link.downstream.duration(wire) + link.propagation;
    return above === null ? here : here + (joins?.latency ?? 0) + above.downTime(wire);
  }

  private upTime(wire: number): number {
    const { link, joins, above } = this;
    const here = link.upstream.duration(wire) + link.propagation;
    return above === null ? here : here + (joins?.latency ?? 0) + above.upTime(wire);
  }
}
