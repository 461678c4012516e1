/**
 * The IOTLB: finished translations, tagged by domain and page but not by device (VT-d specification 6.2.4). One array per page
 * size (4 KiB, 2 MiB, 1 GiB) of sets and ways with least-recently-used replacement; the set is the page number's low bits.
 * An entry is filled when its walk begins and carries the moment its walk ends, so that a lookup in between waits for the
 * walk under way instead of starting its own.
 * Leaves out: other replacement policies, hashing, page sizes sharing one array.
 */
import { PAGES_PER_ENTRY } from './vtdSecondStage.ts';

const NOTHING = -1;

class IotlbArray {
  readonly span: number;
  private readonly sets: number;
  private readonly ways: number;
  private readonly pages: Float64Array;
  private readonly domains: Int32Array;
  private readonly targets: Float64Array;
  private readonly permissions: Uint8Array;
  private readonly readyTimes: Float64Array;
  private readonly stamps: Float64Array;
  private clock = 0;
  private found = 0;
  private held = 0;

  constructor(entries: number, ways: number, span: number) {
    this.ways = Math.min(ways, entries);
    this.sets = Math.max(1, Math.floor(entries / this.ways));
    this.span = span;
    const size = this.sets * this.ways;
    this.pages = new Float64Array(size).fill(NOTHING);
    this.domains = new Int32Array(size);
    this.targets = new Float64Array(size);
    this.permissions = new Uint8Array(size);
    this.readyTimes = new Float64Array(size);
    this.stamps = new Float64Array(size);
  }

  /** Entries that hold something. */
  get count(): number {
    return this.held;
  }

  get target(): number {
    return this.targets[this.found]!;
  }

  get permission(): number {
    return this.permissions[this.found]!;
  }

  get readyAt(): number {
    return this.readyTimes[this.found]!;
  }

  find(domainId: number, iovaPage: number): boolean {
    if (this.held === 0) return false;
    const page = this.span === 1 ? iovaPage : Math.floor(iovaPage / this.span);
    const { pages, domains, found } = this;
    if (pages[found] === page && domains[found] === domainId) {
      this.clock += 1;
      this.stamps[found] = this.clock;
      return true;
    }
    const first = (page % this.sets) * this.ways;
    const end = first + this.ways;
    for (let entry = first; entry < end; entry += 1) {
      if (pages[entry] === page && domains[entry] === domainId) {
        this.found = entry;
        this.clock += 1;
        this.stamps[entry] = this.clock;
        return true;
      }
    }
    return false;
  }

  fill(domainId: number, iovaPage: number, target: number, permission: number, readyAt: number): void {
    const page = Math.floor(iovaPage / this.span);
    const first = (page % this.sets) * this.ways;
    let victim = first;
    for (let entry = first; entry < first + this.ways; entry += 1) {
      if (this.pages[entry] === page && this.domains[entry] === domainId) {
        victim = entry;
        break;
      }
      if (this.stamps[entry]! < this.stamps[victim]!) victim = entry;
    }
    if (this.pages[victim] === NOTHING) this.held += 1;
    this.clock += 1;
    this.pages[victim] = page;
    this.domains[victim] = domainId;
    this.targets[victim] = target;
    this.permissions[victim] = permission;
    this.readyTimes[victim] = readyAt;
    this.stamps[victim] = this.clock;
  }

  /** Drops entries that overlap [first, last]; of any domain when `domainId` is negative. */
  drop(domainId: number, first: number, last: number): void {
    if (this.held === 0) return;
    const from = Math.floor(first / this.span);
    const to = Math.floor(last / this.span);
    if (domainId >= 0 && to - from < this.sets) {
      for (let page = from; page <= to; page += 1) {
        const set = (page % this.sets) * this.ways;
        for (let entry = set; entry < set + this.ways; entry += 1) {
          if (this.pages[entry] === page && this.domains[entry] === domainId) this.clear(entry);
        }
      }
      return;
    }
    for (let entry = 0; entry < this.pages.length; entry += 1) {
      const page = this.pages[entry]!;
      if (page === NOTHING || (domainId >= 0 && this.domains[entry] !== domainId)) continue;
      if (page >= from && page <= to) this.clear(entry);
    }
  }

  private clear(entry: number): void {
    this.pages[entry] = NOTHING;
    this.stamps[entry] = 0;
    this.held -= 1;
  }
}

export interface IotlbGeometry {
  readonly entries4K: number;
  readonly entries2M: number;
  readonly entries1G: number;
  /** Associativity; an array with fewer entries is fully associative. */
  readonly ways: number;
}

export class Iotlb {
  private readonly arrays: readonly IotlbArray[];
  /** Of the last `find`: leaf level (0 4 KiB, 1 2 MiB, 2 1 GiB), page behind the one asked for, permissions, end of walk. */
  level = 0;
  physPage = 0;
  permissions = 0;
  readyAt = 0;

  constructor(geometry: IotlbGeometry) {
    this.arrays = [geometry.entries4K, geometry.entries2M, geometry.entries1G].map(
      (entries, level) => new IotlbArray(entries, geometry.ways, PAGES_PER_ENTRY[level]!),
    );
  }

  find(domainId: number, iovaPage: number): boolean {
    for (let level = 0; level < 3; level += 1) {
      const array = this.arrays[level]!;
      if (!array.find(domainId, iovaPage)) continue;
      this.level = level;
      this.physPage = level === 0 ? array.target : array.target + (iovaPage % array.span);
      this.permissions = array.permission;
      this.readyAt = array.readyAt;
      return true;
    }
    return false;
  }

  /** `leafPage` is the first physical page of the leaf. */
  fill(
    domainId: number,
    iovaPage: number,
    level: number,
    leafPage: number,
    permissions: number,
    readyAt: number,
  ): void {
    this.arrays[level]!.fill(domainId, iovaPage, leafPage, permissions, readyAt);
  }

  invalidateRange(domainId: number, firstPage: number, lastPage: number): void {
    for (const array of this.arrays) array.drop(domainId, firstPage, lastPage);
  }

  invalidateDomain(domainId: number): void {
    this.invalidateRange(domainId, 0, Infinity);
  }

  invalidateAll(): void {
    this.invalidateRange(-1, 0, Infinity);
  }

  /** Entries held, by page size: 4 KiB, 2 MiB, 1 GiB. */
  occupancy(): readonly number[] {
    return this.arrays.map((array) => array.count);
  }
}
