/**
 * The context cache: what the hardware has read of devices and their processes, tagged by requester id and PASID (VT-d specification 6.2.2 to
 * 6.2.4, context and PASID caches in one; AMD's device table entries, Arm's configuration cache, RISC-V's directory caches likewise).
 * Fully associative with least-recently-used replacement. An entry is filled when its reads begin and carries the moment at which they end.
 * Leaves out: not-present entries, which are cached in caching mode only.
 */
import type { DeviceContextReader } from '../deviceContext.ts';
import { READ_WRITE } from '../formats/pageTableFormat.ts';
import { EVERY_SPACE, ownerOf, NO_SPACE } from './owner.ts';

const NOTHING = -1;
/** No requester id and no PASID, not even NO_PASID. */
const NOBODY = -2;
const SOURCE_IDS = 2 ** 16;

/** In `flags`, beside READ and WRITE of what the device may do. */
export const PASSTHROUGH = 4;
export const ATS_ENABLED = 8;
/** A write may have to set a dirty bit, though a translation is known. */
export const NOTES_WRITES = 16;

function keyOf(sourceId: number, pasid: number): number {
  return (pasid + 1) * SOURCE_IDS + sourceId;
}

export class ContextCache {
  /** The entry of the last `find` that returned true, or of the last `fill`; whose it is, and what every access asks of it. */
  entry = 0;
  flags = 0;
  owner = 0;
  private sourceId = NOBODY;
  private pasid = NOBODY;
  private readonly keys: Float64Array;
  private readonly domains: Int32Array;
  private readonly spaces: Int32Array;
  private readonly owners: Float64Array;
  private readonly flagBits: Uint8Array;
  private readonly tables: Float64Array;
  private readonly levelCounts: Uint8Array;
  private readonly ends: Float64Array;
  private readonly secondTables: Float64Array;
  private readonly secondLevelCounts: Uint8Array;
  private readonly secondEnds: Float64Array;
  private readonly readyTimes: Float64Array;
  private readonly stamps: Float64Array;
  private clock = 0;

  constructor(entries: number) {
    this.keys = new Float64Array(entries).fill(NOTHING);
    this.domains = new Int32Array(entries);
    this.spaces = new Int32Array(entries);
    this.owners = new Float64Array(entries);
    this.flagBits = new Uint8Array(entries);
    this.tables = new Float64Array(entries);
    this.levelCounts = new Uint8Array(entries);
    this.ends = new Float64Array(entries);
    this.secondTables = new Float64Array(entries);
    this.secondLevelCounts = new Uint8Array(entries);
    this.secondEnds = new Float64Array(entries);
    this.readyTimes = new Float64Array(entries);
    this.stamps = new Float64Array(entries);
  }

  get size(): number {
    return this.keys.length;
  }

  get domainId(): number {
    return this.domains[this.entry]!;
  }

  get tablePage(): number {
    return this.tables[this.entry]!;
  }

  get levels(): number {
    return this.levelCounts[this.entry]!;
  }

  get endPage(): number {
    return this.ends[this.entry]!;
  }

  get secondTablePage(): number {
    return this.secondTables[this.entry]!;
  }

  /** 0: there is no second stage below the first. */
  get secondLevels(): number {
    return this.secondLevelCounts[this.entry]!;
  }

  get secondEndPage(): number {
    return this.secondEnds[this.entry]!;
  }

  /** When the last read that the entry stands on ends, or ended. */
  get readyAt(): number {
    return this.readyTimes[this.entry]!;
  }

  /** For looking: changes no order of use. When the entry of a device or process is there, see `readyAt`; -1: there is none. */
  readyAtOf(sourceId: number, pasid: number): number {
    return this.readyTimes[this.keys.indexOf(keyOf(sourceId, pasid))] ?? NOTHING;
  }

  /** For looking: changes no order of use. */
  holds(sourceId: number, pasid: number): boolean {
    return this.keys.includes(keyOf(sourceId, pasid));
  }

  find(sourceId: number, pasid: number): boolean {
    if (this.sourceId === sourceId && this.pasid === pasid) return true;
    const { keys } = this;
    const key = keyOf(sourceId, pasid);
    for (let entry = 0; entry < keys.length; entry += 1) {
      if (keys[entry] !== key) continue;
      this.clock += 1;
      this.stamps[entry] = this.clock;
      this.select(entry, sourceId, pasid);
      return true;
    }
    return false;
  }

  /** Takes over what has been read for a device by `readyAt`, and makes it the found entry. */
  fill(sourceId: number, pasid: number, context: DeviceContextReader, readyAt = 0): void {
    let victim = 0;
    for (let entry = 1; entry < this.keys.length; entry += 1) {
      if (this.stamps[entry]! < this.stamps[victim]!) victim = entry;
    }
    const { domainId, space, second } = context;
    const notesWrites = context.accessBits === 'updated' || second?.accessBits === 'updated';
    this.clock += 1;
    this.keys[victim] = keyOf(sourceId, pasid);
    this.domains[victim] = domainId;
    this.spaces[victim] = space;
    this.owners[victim] = ownerOf(domainId, space);
    this.flagBits[victim] =
      (context.permissions & READ_WRITE) |
      (context.passthrough ? PASSTHROUGH : 0) |
      (context.atsEnabled ? ATS_ENABLED : 0) |
      (notesWrites ? NOTES_WRITES : 0);
    this.tables[victim] = context.tablePage;
    this.levelCounts[victim] = context.levels;
    this.ends[victim] = context.endPage;
    this.secondTables[victim] = second?.tablePage ?? 0;
    this.secondLevelCounts[victim] = second?.levels ?? 0;
    this.secondEnds[victim] = second?.endPage ?? Infinity;
    this.readyTimes[victim] = readyAt;
    this.stamps[victim] = this.clock;
    this.select(victim, sourceId, pasid);
  }

  invalidateAll(): void {
    this.keys.fill(NOTHING);
    this.stamps.fill(0);
    this.sourceId = NOBODY;
  }

  /** Everything of a domain, or what was read for one address space of it. */
  invalidateDomain(domainId: number, space = EVERY_SPACE): void {
    for (let entry = 0; entry < this.keys.length; entry += 1) {
      if (this.domains[entry] !== domainId) continue;
      // an entry without an address space of its own may have been read for any
      const known = this.spaces[entry]!;
      if (space === EVERY_SPACE || known === space || known === NO_SPACE) this.clear(entry);
    }
  }

  /**
   * Devices that match but for the upper `functionMask` bits of the function's three (VT-d 6.5.2.1: 1 ignores bit 2, 3 all), with all their
   * processes.
   */
  invalidateDevice(sourceId: number, functionMask: number): void {
    const ignored = 7 & ~(7 >> functionMask);
    for (let entry = 0; entry < this.keys.length; entry += 1) {
      const source = this.sourceAt(entry);
      if (source !== NOTHING && (source | ignored) === (sourceId | ignored)) this.clear(entry);
    }
  }

  /** What was read for one process of a device; NO_PASID: for its requests without one. */
  invalidateProcess(sourceId: number, pasid: number): void {
    const entry = this.keys.indexOf(keyOf(sourceId, pasid));
    if (entry >= 0) this.clear(entry);
  }

  private sourceAt(entry: number): number {
    const key = this.keys[entry]!;
    return key === NOTHING ? NOTHING : key % SOURCE_IDS;
  }

  private select(entry: number, sourceId: number, pasid: number): void {
    this.entry = entry;
    this.sourceId = sourceId;
    this.pasid = pasid;
    this.flags = this.flagBits[entry]!;
    this.owner = this.owners[entry]!;
  }

  private clear(entry: number): void {
    this.keys[entry] = NOTHING;
    this.stamps[entry] = 0;
    if (entry === this.entry) this.sourceId = NOBODY;
  }
}
