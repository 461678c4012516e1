/**
 * The IOMMU: for every access of a device, the context entry, the IOTLB, the paging-structure caches and the page walk
 * (VT-d specification 3 and 6; AMD specification 48882, 2.2 and 2.4, which differs in what software writes), with the time that each takes. Several walkers work in parallel; a lookup that finds a walk
 * of its page under way waits for that walk. What a translation *is* comes from walker.ts and the bits in memory; this file
 * says what was cached and how long it took.
 * Leaves out: interrupt remapping, device TLBs, page requests; in scalable mode, all
 * but first-stage tables.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { MemoryPort } from '../memory/memoryPort.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import { NO_PASID, type AtsTranslator, type Translator } from '../pcie/translator.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { architectureOf, type IommuVendor } from './architectures.ts';
import { ContextCache } from './caches/contextCache.ts';
import type { DeviceContextReader } from './vtd/contextTable.ts';
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_CONTEXT_NOT_PRESENT,
  FAULT_READ_NOT_ALLOWED,
  FAULT_WRITE_NOT_ALLOWED,
  FaultRecorder,
  NO_FAULT,
} from './faults.ts';
import type { CommandQueue, InvalidationCosts } from './commandRing.ts';
import { Iotlb, type IotlbGeometry } from './caches/iotlb.ts';
import { READ, READ_WRITE, WRITE } from './formats/pageTableFormat.ts';
import { PagingStructureCache, type PagingCacheGeometry } from './caches/pagingStructureCache.ts';
import type { QueueContention } from './smmu/queueContention.ts';
import { UNKNOWN_TABLE, Walker } from './walk/walker.ts';

export interface IommuGeometry {
  readonly iotlb: IotlbGeometry;
  readonly pagingCache: PagingCacheGeometry;
  readonly contextCacheEntries: number;
  /** Page walks that may be under way at once. */
  readonly walkers: number;
  /**
   * A page-selective invalidation without the hint empties the sets in which its pages would lie, as hardware may that compares no tags
   * (VT-d specification 6.5.2: more than was asked for may go). Default false.
   */
  readonly emptiesSets?: boolean;
}

/** All in picoseconds; defaults and their sources are cost presets. */
export interface IommuCosts extends InvalidationCosts {
  /** An IOTLB lookup, hit or miss. */
  readonly iotlbHit: Picoseconds;
  readonly contextCacheHit: Picoseconds;
  readonly pagingCacheLookup: Picoseconds;
  /** One read of a page-table, root or context entry. */
  readonly tableRead: Picoseconds;
  /** Arbitration, queueing and fill of one walk. */
  readonly walkOverhead: Picoseconds;
}

export interface IommuOptions {
  /** As the topology calls it; speaks in the event log. */
  readonly name: string;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly geometry: IommuGeometry;
  readonly costs: IommuCosts;
  readonly counters: Counters;
  readonly log: EventLog | null;
  /** Whose tables and commands it understands; default VT-d. */
  readonly vendor?: IommuVendor;
  /** VT-d's scalable mode, in which domains have first-stage tables; default false: legacy mode, and second-stage tables. */
  readonly scalableMode?: boolean;
  /** Of an SMMU (IDR3.RIL): one command invalidates a range of any length; default false: one page. */
  readonly rangeInvalidation?: boolean;
  /** Of an SMMU: what CPUs cost each other that submit to its one queue; default nothing. */
  readonly queueContention?: QueueContention;
  /** CAP.CM of VT-d: the IOTLB keeps what was not present as well, until it is invalidated; default false. */
  readonly cachingMode?: boolean;
  /** The way to memory that walks share with reads of data; default: as wide as it must be. */
  readonly memoryPort?: MemoryPort;
}

/** What the hardware stands on. */
export interface IommuInside {
  readonly memory: PhysicalMemory;
  readonly walker: Pick<Walker, 'format' | 'accessBits'>;
  readonly context: DeviceContextReader;
  readonly rootPage: number;
  /** When each walker is done with its walk. */
  readonly walkerFreeAt: Readonly<Float64Array>;
}

const PAGING_CACHE_HITS = [COUNTER.pagingCacheHits2M, COUNTER.pagingCacheHits1G, COUNTER.pagingCacheHits512G] as const;
const IOTLB_HITS = [COUNTER.iotlbHits4K, COUNTER.iotlbHits2M, COUNTER.iotlbHits1G] as const;
const IOTLB_MISSES = [COUNTER.iotlbMisses4K, COUNTER.iotlbMisses2M, COUNTER.iotlbMisses1G] as const;

export class Iommu implements Translator, AtsTranslator {
  readonly name: string;
  readonly vendor: IommuVendor;
  readonly scalableMode: boolean;
  readonly invalidationQueue: CommandQueue;
  /** Of an SMMU: whether one command invalidates a range of any length. */
  readonly rangeInvalidation: boolean;
  readonly iotlb: Iotlb;
  readonly pagingCache: PagingStructureCache;
  readonly contextCache: ContextCache;
  readonly emptiesSets: boolean;
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  /** Of the last translation request, see AtsTranslator. */
  sizePages = 1;
  permissions = 0;
  fault = NO_FAULT;
  private readonly costs: IommuCosts;
  private readonly values: Float64Array;
  private readonly walker: Walker;
  private readonly context: DeviceContextReader;
  private readonly faults: FaultRecorder;
  private readonly walkerFreeAt: Float64Array;
  private readonly cachingMode: boolean;
  private readonly memory: PhysicalMemory;
  private readonly memoryPort: MemoryPort | null;
  private rootPage = -1;
  private answersRequest = false;

  constructor(options: IommuOptions) {
    const { memory, frames, geometry, costs, counters } = options;
    this.name = options.name;
    this.memory = memory;
    this.costs = costs;
    this.values = counters.values;
    this.iotlb = new Iotlb(geometry.iotlb);
    this.emptiesSets = geometry.emptiesSets ?? false;
    this.contextCache = new ContextCache(geometry.contextCacheEntries);
    this.vendor = options.vendor ?? 'vtd';
    this.scalableMode = this.vendor === 'vtd' && options.scalableMode === true;
    this.rangeInvalidation = options.rangeInvalidation === true;
    const { format, accessBits, Reader, createQueue } = architectureOf(this.vendor, this.scalableMode);
    this.pagingCache = new PagingStructureCache(geometry.pagingCache, format.pagesPerEntry);
    this.invalidationQueue = createQueue(memory, frames, this, costs, counters, options.queueContention);
    this.walker = new Walker(memory, format, accessBits);
    this.context = new Reader(memory);
    this.faults = new FaultRecorder(options.name, counters, options.log);
    this.walkerFreeAt = new Float64Array(geometry.walkers);
    this.memoryPort = options.memoryPort ?? null;
    this.cachingMode = this.vendor === 'vtd' && options.cachingMode === true;
  }

  /** For whoever looks into it (look/): from there nothing may be changed. */
  get inside(): IommuInside {
    const { memory, walker, context, rootPage, walkerFreeAt } = this;
    return { memory, walker, context, rootPage, walkerFreeAt };
  }

  /** The register that says where the root table, or AMD's device table, lies. */
  setRootTable(page: number): void {
    this.rootPage = page;
  }

  /**
   * See Translator. The first access of a burst may miss; the others follow it to the same page and are counted as hits, as they
   * cannot arrive before it.
   */
  translate(sourceId: number, iovaPage: number, write: boolean, accesses: number, at: Picoseconds): boolean {
    const { costs, values, contextCache, iotlb, walker } = this;
    let time: number = at;
    if (contextCache.find(sourceId)) {
      values[COUNTER.contextCacheHits]! += accesses;
      time += costs.contextCacheHit;
    } else {
      values[COUNTER.contextCacheMisses]! += 1;
      values[COUNTER.contextCacheHits]! += accesses - 1;
      values[COUNTER.tableReads]! += this.context.lookupReads;
      time += costs.contextCacheHit + this.context.lookupReads * costs.tableRead;
      if (!this.context.read(this.rootPage, sourceId)) {
        this.readyAt = picoseconds(time);
        return this.refuse(sourceId, iovaPage, write, this.context.fault);
      }
      contextCache.fill(sourceId, this.context);
    }
    if (contextCache.passthrough) {
      this.physPage = iovaPage;
      this.readyAt = picoseconds(time);
      return true;
    }
    values[COUNTER.iotlbLookups]! += accesses;
    time += costs.iotlbHit;
    const { domainId } = contextCache;
    if (!iotlb.find(domainId, iovaPage)) return this.miss(sourceId, iovaPage, write, accesses, time);
    if (iotlb.readyAt > time) {
      time = iotlb.readyAt;
      values[COUNTER.iotlbMissesMerged]! += 1;
      values[IOTLB_HITS[iotlb.level]!]! += accesses - 1;
    } else {
      values[IOTLB_HITS[iotlb.level]!]! += accesses;
    }
    this.readyAt = picoseconds(time);
    if ((iotlb.permissions & (write ? WRITE : READ)) === 0) {
      return this.refuse(sourceId, iovaPage, write, write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED);
    }
    // The window between an unmap and its flush, seen from the device: one look at the entry tells whether it has closed.
    if (!walker.stillMapped(iovaPage, iotlb.level, iotlb.leafPage, iotlb.leafTable)) {
      values[COUNTER.staleWindowAccesses]! += accesses;
    }
    this.physPage = iotlb.physPage;
    return true;
  }

  /** See AtsTranslator. The same caches and walks as `translate`; what is not allowed is noted, not recorded. */
  translationRequest(sourceId: number, pasid: number, iovaPage: number, write: boolean, at: Picoseconds): boolean {
    const { contextCache, iotlb } = this;
    this.readyAt = at;
    this.fault = FAULT_CONTEXT_NOT_PRESENT;
    if (pasid !== NO_PASID) return false;
    this.answersRequest = true;
    const allowed = this.translate(sourceId, iovaPage, write, 1, at);
    this.answersRequest = false;
    if (!allowed) return false;
    this.fault = NO_FAULT;
    this.sizePages = 1;
    this.permissions = READ_WRITE;
    if (contextCache.passthrough || !iotlb.find(contextCache.domainId, iovaPage)) return true;
    this.sizePages = this.walker.format.pagesPerEntry[iotlb.level] ?? 1;
    this.permissions = iotlb.permissions;
    return true;
  }

  /** The same translation without caches' time: IOTLB, then a walk from the root. For benchmarks and inspection. */
  translateFunctional(sourceId: number, iovaPage: number, write: boolean): boolean {
    const { contextCache, iotlb, walker } = this;
    if (!contextCache.find(sourceId)) {
      if (!this.context.read(this.rootPage, sourceId)) return false;
      contextCache.fill(sourceId, this.context);
    }
    if (contextCache.passthrough) {
      this.physPage = iovaPage;
      return true;
    }
    const { domainId } = contextCache;
    if (iotlb.find(domainId, iovaPage)) {
      this.physPage = iotlb.physPage;
      return (iotlb.permissions & (write ? WRITE : READ)) !== 0;
    }
    if (!walker.walkFromRoot(domainId, iovaPage, write, contextCache.tablePage, contextCache.levels)) {
      if (this.cachingMode) this.keepNotPresent(domainId, iovaPage, 0);
      return false;
    }
    iotlb.fill(domainId, iovaPage, walker.level, walker.leafPage, walker.permissions, walker.leafTable, 0);
    this.physPage = walker.physPage(iovaPage);
    return true;
  }

  private miss(sourceId: number, iovaPage: number, write: boolean, accesses: number, at: number): boolean {
    const { costs, values, walker, contextCache, pagingCache, iotlb, walkerFreeAt } = this;
    const { domainId, levels } = contextCache;
    if (!walker.format.translates(iovaPage, levels)) {
      values[COUNTER.iotlbMissesFaulted]! += accesses;
      this.readyAt = picoseconds(at);
      return this.refuse(sourceId, iovaPage, write, FAULT_ADDRESS_BEYOND_WIDTH);
    }
    let table = contextCache.tablePage;
    let level = levels - 1;
    let permissions = READ_WRITE;
    if (pagingCache.find(domainId, iovaPage)) {
      values[PAGING_CACHE_HITS[pagingCache.level]!]! += 1;
      table = pagingCache.table;
      level = pagingCache.level;
      permissions = pagingCache.permissions;
    } else {
      values[COUNTER.pagingCacheMisses]! += 1;
    }
    walker.topLevel = levels - 1;
    const mapped = walker.walk(domainId, iovaPage, write, table, level, permissions, pagingCache);
    values[COUNTER.tableReads]! += walker.reads;

    let free = 0;
    for (let other = 1; other < walkerFreeAt.length; other += 1) {
      if (walkerFreeAt[other]! < walkerFreeAt[free]!) free = other;
    }
    let start = Math.max(at + costs.pagingCacheLookup, walkerFreeAt[free]!);
    if (this.memoryPort !== null) start = this.memoryPort.walk(picoseconds(start));
    const end = start + costs.walkOverhead + walker.reads * costs.tableRead;
    walkerFreeAt[free] = end;
    this.readyAt = picoseconds(end);
    if (!mapped) {
      values[COUNTER.iotlbMissesFaulted]! += accesses;
      if (this.cachingMode) this.keepNotPresent(domainId, iovaPage, end);
      return this.refuse(sourceId, iovaPage, write, walker.fault);
    }
    values[IOTLB_MISSES[walker.level]!]! += 1;
    values[IOTLB_HITS[walker.level]!]! += accesses - 1;
    iotlb.fill(domainId, iovaPage, walker.level, walker.leafPage, walker.permissions, walker.leafTable, end);
    this.physPage = walker.physPage(iovaPage);
    return true;
  }

  /** VT-d 6.1, caching mode: a later map is not seen before its flush. An entry that allows nothing stands for none. */
  private keepNotPresent(domainId: number, iovaPage: number, readyAt: number): void {
    const { walker } = this;
    const absent = walker.fault === FAULT_READ_NOT_ALLOWED || walker.fault === FAULT_WRITE_NOT_ALLOWED;
    if (absent && walker.permissions === 0) this.iotlb.fill(domainId, iovaPage, 0, 0, 0, UNKNOWN_TABLE, readyAt);
  }

  private refuse(sourceId: number, iovaPage: number, write: boolean, reason: number): false {
    if (this.answersRequest) this.fault = reason;
    else this.faults.record(this.readyAt, sourceId, iovaPage, write, reason);
    return false;
  }
}
