/**
 * A set-associative array of entries tagged by owner (owner.ts) and number: what the IOTLB and the paging-structure caches have in common (VT-d
 * specification 6.2). The set is the tag's low bits, or a hash of all its bits; inside a set gives way the least recently used, what
 * pseudo-LRU points at, or the one filled first (round robin). A hash finds an entry and a ring per set keeps the order, so a
 * lookup costs the same however many ways there are; a search of the ways would make a fully associative cache the slowest part of a
 * run.
 * Leaves out: what an entry holds. The caches keep that in arrays of their own, by entry.
 */
import { domainOf, hasSpace, OWNERS } from './owner.ts';
import { PseudoLru } from './pseudoLru.ts';

export const NO_ENTRY = -1;

const EMPTY = -1;
const OWNER_FACTOR = 0x9e37_79b1;
const TAG_FACTOR = 0x85eb_ca6b;

/** Which entry of a set gives way. */
export type Replacement = 'lru' | 'plru' | 'roundRobin';

export interface AssociativeOptions {
  /** Default lru. */
  readonly replacement?: Replacement;
  /** The set is a hash of the tag; default: its low bits. */
  readonly hashed?: boolean;
}

export class AssociativeArray {
  /** Entries: the capacity rounded down to whole sets. */
  readonly size: number;
  readonly ways: number;
  readonly sets: number;
  /** By set: entries that another one has displaced. */
  readonly evictions: Float64Array;
  private readonly setMask: number;
  private readonly tags: Float64Array;
  private readonly owners: Float64Array;
  /** Whether any owner was one of several of a domain. */
  private sharesDomains = false;
  /** Chains of entries whose tags hash alike; of a bucket its first entry, of an entry the one behind it. */
  private readonly buckets: Int32Array;
  private readonly chained: Int32Array;
  private readonly hashShift: number;
  /** Rings of use: behind the entries stands one anchor per set, followed by the entry used last. */
  private readonly older: Int32Array;
  private readonly newer: Int32Array;
  private readonly anchors: Int32Array;
  private readonly hashed: boolean;
  /** Whether a use changes the order of the ring. */
  private readonly ordersByUse: boolean;
  private readonly pseudo: PseudoLru | null;
  private held = 0;
  private recent = 0;

  /** An array with fewer entries than ways is fully associative. */
  constructor(entries: number, ways: number, { replacement = 'lru', hashed = false }: AssociativeOptions = {}) {
    this.ways = Math.max(1, Math.min(ways, entries));
    this.sets = Math.floor(entries / this.ways);
    this.setMask = (this.sets & (this.sets - 1)) === 0 ? this.sets - 1 : EMPTY;
    const size = this.sets * this.ways;
    this.size = size;
    this.hashed = hashed;
    this.ordersByUse = replacement === 'lru';
    this.pseudo = replacement === 'plru' && size > 0 ? new PseudoLru(this.sets, this.ways) : null;
    this.evictions = new Float64Array(this.sets);
    this.tags = new Float64Array(size).fill(EMPTY);
    this.owners = new Float64Array(size);
    const hashBits = Math.max(1, Math.ceil(Math.log2(size * 2 + 1)));
    this.buckets = new Int32Array(2 ** hashBits).fill(NO_ENTRY);
    this.chained = new Int32Array(size).fill(NO_ENTRY);
    this.hashShift = 32 - hashBits;
    this.older = new Int32Array(size + this.sets);
    this.newer = new Int32Array(size + this.sets);
    this.anchors = new Int32Array(size);
    for (let set = 0; set < this.sets; set += 1) this.tieRing(set);
  }

  /** Entries that hold something. */
  get count(): number {
    return this.held;
  }

  /** For looking: the tag and the owner of an entry, NO_ENTRY where it holds nothing. */
  tagAt(entry: number): number {
    return this.tags[entry]!;
  }

  ownerAt(entry: number): number {
    return this.tags[entry] === EMPTY ? NO_ENTRY : this.owners[entry]!;
  }

  /** The entry of a tag, which counts as used; NO_ENTRY when there is none. */
  find(owner: number, tag: number): number {
    const { tags, owners, recent } = this;
    if (tags[recent] === tag && owners[recent] === owner) return recent;
    const entry = this.search(owner, tag);
    if (entry !== NO_ENTRY) this.use(entry);
    return entry;
  }

  /** The entry to hold a tag from now on: its own if it has one, else an empty one of its set, else the one that gives way. */
  fill(owner: number, tag: number): number {
    if (this.size === 0) return NO_ENTRY;
    const own = this.search(owner, tag);
    if (own !== NO_ENTRY) {
      this.use(own);
      return own;
    }
    const set = this.setOf(tag);
    const victim = this.victimOf(set);
    if (this.tags[victim] === EMPTY) this.held += 1;
    else {
      this.unchain(victim);
      this.evictions[set]! += 1;
    }
    this.tags[victim] = tag;
    this.owners[victim] = owner;
    if (hasSpace(owner)) this.sharesDomains = true;
    const bucket = this.bucketOf(owner, tag);
    this.chained[victim] = this.buckets[bucket]!;
    this.buckets[bucket] = victim;
    this.touch(victim);
    if (this.pseudo !== null) this.pseudo.use(set, victim % this.ways);
    return victim;
  }

  /** Drops the tags `first` to `last` of an owner, or of everybody when `owner` is negative. */
  drop(owner: number, first: number, last: number): void {
    if (this.held === 0) return;
    if (owner >= 0 && last - first < this.size) {
      for (let tag = first; tag <= last; tag += 1) {
        const entry = this.search(owner, tag);
        if (entry !== NO_ENTRY) this.clear(entry);
      }
      return;
    }
    for (let entry = 0; entry < this.size; entry += 1) {
      const tag = this.tags[entry]!;
      if (tag === EMPTY || (owner >= 0 && this.owners[entry] !== owner)) continue;
      if (tag >= first && tag <= last) this.clear(entry);
    }
  }

  /** The same of all owners of a domain, without an address space or with any; `group`: the multiple of OWNERS that was added to them. */
  dropDomain(domainId: number, group: number, first: number, last: number): void {
    if (!this.sharesDomains) {
      this.drop(group + domainId, first, last);
      return;
    }
    for (let entry = 0; entry < this.size && this.held > 0; entry += 1) {
      const tag = this.tags[entry]!;
      const owner = this.owners[entry]!;
      if (tag === EMPTY || tag < first || tag > last || domainOf(owner) !== domainId) continue;
      if (owner >= group && owner < group + OWNERS) this.clear(entry);
    }
  }

  /** Drops what the address spaces of a domain have, and keeps what is the domain's own. */
  dropSpaces(domainId: number): void {
    if (!this.sharesDomains) return;
    for (let entry = 0; entry < this.size && this.held > 0; entry += 1) {
      const owner = this.owners[entry]!;
      if (this.tags[entry] !== EMPTY && domainOf(owner) === domainId && hasSpace(owner)) this.clear(entry);
    }
  }

  /** Empties every set in which a tag of `first` to `last` would lie, whoever else is in it. */
  emptySets(first: number, last: number): void {
    const end = Math.min(last, first + this.size);
    for (let tag = first; tag <= end && this.held > 0; tag += 1) {
      const entry = this.setOf(tag) * this.ways;
      for (let way = 0; way < this.ways; way += 1) {
        if (this.tags[entry + way] !== EMPTY) this.clear(entry + way);
      }
    }
  }

  private search(owner: number, tag: number): number {
    const { tags, owners, chained } = this;
    let entry = this.buckets[this.bucketOf(owner, tag)]!;
    while (entry !== NO_ENTRY && (tags[entry] !== tag || owners[entry] !== owner)) entry = chained[entry]!;
    return entry;
  }

  private setOf(tag: number): number {
    if (this.hashed) return this.mixed(tag) % this.sets;
    return this.setMask === EMPTY ? tag % this.sets : tag & this.setMask;
  }

  /** All bits of a tag, mixed into 32. */
  private mixed(tag: number): number {
    const high = Math.floor(tag / 2 ** 32);
    const folded = Math.imul((tag | 0) ^ Math.imul(high, OWNER_FACTOR), TAG_FACTOR);
    return (folded ^ (folded >>> 15)) >>> 0;
  }

  /** Empty entries stand at the old end of the ring. */
  private victimOf(set: number): number {
    const oldest = this.newer[this.size + set]!;
    if (this.pseudo === null || this.tags[oldest] === EMPTY) return oldest;
    return set * this.ways + this.pseudo.victim(set);
  }

  private use(entry: number): void {
    this.recent = entry;
    if (this.ordersByUse) this.touch(entry);
    else if (this.pseudo !== null) this.pseudo.use(Math.floor(entry / this.ways), entry % this.ways);
  }

  private bucketOf(owner: number, tag: number): number {
    return Math.imul((tag | 0) ^ Math.imul(owner, OWNER_FACTOR), TAG_FACTOR) >>> this.hashShift;
  }

  private touch(entry: number): void {
    this.recent = entry;
    const anchor = this.anchors[entry]!;
    if (this.older[anchor] !== entry) this.move(entry, anchor, this.older[anchor]!);
  }

  /** Empties an entry and makes it the next one to be filled. */
  private clear(entry: number): void {
    this.unchain(entry);
    this.tags[entry] = EMPTY;
    this.held -= 1;
    const anchor = this.anchors[entry]!;
    if (this.newer[anchor] !== entry) this.move(entry, this.newer[anchor]!, anchor);
  }

  /** Takes an entry out of its ring and puts it between two neighbours. */
  private move(entry: number, above: number, below: number): void {
    const { older, newer } = this;
    const formerAbove = newer[entry]!;
    const formerBelow = older[entry]!;
    older[formerAbove] = formerBelow;
    newer[formerBelow] = formerAbove;
    older[above] = entry;
    newer[entry] = above;
    older[entry] = below;
    newer[below] = entry;
  }

  private unchain(entry: number): void {
    const bucket = this.bucketOf(this.owners[entry]!, this.tags[entry]!);
    const { buckets, chained } = this;
    let before = buckets[bucket]!;
    if (before === entry) {
      buckets[bucket] = chained[entry]!;
      return;
    }
    while (chained[before] !== entry) before = chained[before]!;
    chained[before] = chained[entry]!;
  }

  private tieRing(set: number): void {
    const anchor = this.size + set;
    let above = anchor;
    for (let way = 0; way < this.ways; way += 1) {
      const entry = set * this.ways + way;
      this.anchors[entry] = anchor;
      this.older[above] = entry;
      this.newer[entry] = above;
      above = entry;
    }
    this.older[above] = anchor;
    this.newer[anchor] = above;
  }
}
