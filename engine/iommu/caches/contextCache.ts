/**
 * The context cache: context entries that the hardware has read, tagged by requester id (VT-d specification 6.2.1; AMD's device table entries likewise). Fully
 * associative with least-recently-used replacement.
 * Leaves out: not-present entries, which are cached in caching mode only.
 */
import type { DeviceContextReader } from '../vtd/contextTable.ts';

const NOTHING = -1;

export class ContextCache {
  private readonly sources: Int32Array;
  private readonly domains: Int32Array;
  private readonly passthroughs: Uint8Array;
  private readonly tables: Float64Array;
  private readonly levelCounts: Uint8Array;
  private readonly stamps: Float64Array;
  private clock = 0;
  private found = 0;

  constructor(entries: number) {
    this.sources = new Int32Array(entries).fill(NOTHING);
    this.domains = new Int32Array(entries);
    this.passthroughs = new Uint8Array(entries);
    this.tables = new Float64Array(entries);
    this.levelCounts = new Uint8Array(entries);
    this.stamps = new Float64Array(entries);
  }

  get domainId(): number {
    return this.domains[this.found]!;
  }

  get passthrough(): boolean {
    return this.passthroughs[this.found] === 1;
  }

  get tablePage(): number {
    return this.tables[this.found]!;
  }

  get levels(): number {
    return this.levelCounts[this.found]!;
  }

  /** For looking: changes no order of use. */
  holds(sourceId: number): boolean {
    return this.sources.includes(sourceId);
  }

  find(sourceId: number): boolean {
    const { sources } = this;
    if (sources[this.found] === sourceId) return true;
    for (let entry = 0; entry < sources.length; entry += 1) {
      if (sources[entry] !== sourceId) continue;
      this.found = entry;
      this.clock += 1;
      this.stamps[entry] = this.clock;
      return true;
    }
    return false;
  }

  /** Takes over what was read for a device, and makes it the found entry. */
  fill(sourceId: number, context: DeviceContextReader): void {
    let victim = 0;
    for (let entry = 1; entry < this.sources.length; entry += 1) {
      if (this.stamps[entry]! < this.stamps[victim]!) victim = entry;
    }
    this.clock += 1;
    this.sources[victim] = sourceId;
    this.domains[victim] = context.domainId;
    this.passthroughs[victim] = context.passthrough ? 1 : 0;
    this.tables[victim] = context.tablePage;
    this.levelCounts[victim] = context.levels;
    this.stamps[victim] = this.clock;
    this.found = victim;
  }

  invalidateAll(): void {
    this.sources.fill(NOTHING);
    this.stamps.fill(0);
  }

  invalidateDomain(domainId: number): void {
    for (let entry = 0; entry < this.sources.length; entry += 1) {
      if (this.domains[entry] === domainId) this.clear(entry);
    }
  }

  /** Devices that match but for the upper `functionMask` bits of the function's three (VT-d 6.5.2.1: 1 ignores bit 2, 3 all). */
  invalidateDevice(sourceId: number, functionMask: number): void {
    const ignored = 7 & ~(7 >> functionMask);
    for (let entry = 0; entry < this.sources.length; entry += 1) {
      const source = this.sources[entry]!;
      if (source !== NOTHING && (source | ignored) === (sourceId | ignored)) this.clear(entry);
    }
  }

  private clear(entry: number): void {
    this.sources[entry] = NOTHING;
    this.stamps[entry] = 0;
  }
}
