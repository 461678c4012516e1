/**
 * The IOMMU: for every access of a device or one of its processes the device's entry, the IOTLB, the paging-structure caches and the page
 * walk through one stage or two, with the time that each takes (VT-d specification 3 and 6; the other vendors differ in what software
 * writes). Several walkers work in parallel; a lookup that finds a walk of its page under way waits for that walk, one that finds a table or a
 * device's entry on its way waits for that. What a translation *is* comes from walk/ and the bits in memory; this file says what was cached
 * and when it is there.
 * Leaves out: interrupt remapping; how often a second stage's paging-structure caches are hit is not counted.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { MemoryPort } from '../memory/memoryPort.ts';
import type { TableReadTiming } from '../memory/memoryTiming.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import { NO_PASID, type AtsTranslator, type Translator } from '../pcie/translator.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { architectureOf, type IommuVendor } from './architectures.ts';
import { DeviceTlbs } from './ats/deviceTlbs.ts';
import { ATS_ENABLED, ContextCache, NOTES_WRITES, PASSTHROUGH } from './caches/contextCache.ts';
import type { DeviceContextReader } from './deviceContext.ts';
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_READ_NOT_ALLOWED,
  FAULT_WRITE_NOT_ALLOWED,
  FaultRecorder,
  NO_FAULT,
} from './faults.ts';
import type { FaultPlace, VendorNames } from './faultNames.ts';
import type { CommandQueue, InvalidationCosts } from './commandRing.ts';
import { Iotlb, type IotlbGeometry } from './caches/iotlb.ts';
import { NO_SPACE, ownerOf } from './caches/owner.ts';
import { READ, READ_WRITE, WRITE } from './formats/pageTableFormat.ts';
import { PagingStructureCache, type PagingCacheGeometry } from './caches/pagingStructureCache.ts';
import type { QueueContention } from './smmu/queueContention.ts';
import type { TableWrites } from './tables/tableWrites.ts';
import { StageWalkers } from './walk/stageWalkers.ts';
import { UNKNOWN_TABLE, type Walker } from './walk/walker.ts';
import { WalkTiming, type WalkCosts } from './walk/walkTiming.ts';

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
export interface IommuCosts extends InvalidationCosts, WalkCosts {
  /** An IOTLB lookup, hit or miss. */
  readonly iotlbHit: Picoseconds;
  readonly contextCacheHit: Picoseconds;
  readonly pagingCacheLookup: Picoseconds;
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
  /** What each read of a page-table entry takes; default: `costs.tableRead`, wherever it lies. */
  readonly tableReadTiming?: TableReadTiming;
  /** What becomes of the kernel's writes to page tables before walkers see them; default: walkers see them at once. */
  readonly tableWrites?: TableWrites | null;
}

/** What the hardware stands on. */
export interface IommuInside {
  readonly memory: PhysicalMemory;
  readonly context: DeviceContextReader;
  readonly rootPage: number;
  /** When each walker is done with its walk. */
  readonly walkerFreeAt: Readonly<Float64Array>;
  /** Null: every read of a table takes the same. */
  readonly tableReadTiming: TableReadTiming | null;
}

const PAGING_CACHE_HITS = [COUNTER.pagingCacheHits2M, COUNTER.pagingCacheHits1G, COUNTER.pagingCacheHits512G] as const;
const IOTLB_HITS = [COUNTER.iotlbHits4K, COUNTER.iotlbHits2M, COUNTER.iotlbHits1G] as const;
const IOTLB_MISSES = [COUNTER.iotlbMisses4K, COUNTER.iotlbMisses2M, COUNTER.iotlbMisses1G] as const;

export class Iommu implements Translator, AtsTranslator {
  readonly name: string;
  readonly vendor: IommuVendor;
  readonly scalableMode: boolean;
  /** What the vendor's manual calls faults, caches and levels. */
  readonly names: VendorNames;
  readonly invalidationQueue: CommandQueue;
  /** Of an SMMU: whether one command invalidates a range of any length. */
  readonly rangeInvalidation: boolean;
  readonly tableWrites: TableWrites | null;
  readonly iotlb: Iotlb;
  readonly pagingCache: PagingStructureCache;
  readonly contextCache: ContextCache;
  readonly emptiesSets: boolean;
  /** Of the devices behind it. */
  readonly deviceTlbs = new DeviceTlbs();
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  /** Of the last translation request, see AtsTranslator. */
  atsEnabled = false;
  sizePages = 1;
  permissions = 0;
  fault = NO_FAULT;
  private readonly costs: IommuCosts;
  private readonly values: Float64Array;
  private readonly walkers: StageWalkers;
  /** By entry of the context cache. */
  private readonly contextWalkers: Walker[];
  private readonly context: DeviceContextReader;
  private readonly faults: FaultRecorder;
  private readonly cachingMode: boolean;
  private readonly memory: PhysicalMemory;
  private readonly timing: WalkTiming;
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
    this.tableWrites = options.tableWrites ?? null;
    const { format, Reader, createQueue, names } = architectureOf(this.vendor, this.scalableMode);
    this.names = names;
    this.pagingCache = new PagingStructureCache(geometry.pagingCache, format.pagesPerEntry);
    this.invalidationQueue = createQueue(memory, frames, this, costs, counters, options.queueContention);
    this.context = new Reader(memory);
    this.walkers = new StageWalkers(memory);
    this.contextWalkers = new Array<Walker>(geometry.contextCacheEntries).fill(this.walkers.of(this.context));
    this.faults = new FaultRecorder(options.name, counters, options.log, names);
    const { memoryPort = null, tableReadTiming = null } = options;
    this.timing = new WalkTiming(costs, geometry.walkers, this.pagingCache, memoryPort, tableReadTiming);
    this.cachingMode = this.vendor === 'vtd' && options.cachingMode === true;
  }

  /** For whoever looks into it (look/): from there nothing may be changed. */
  get inside(): IommuInside {
    const { memory, context, rootPage } = this;
    const { walkerFreeAt, tableReadTiming } = this.timing;
    return { memory, context, rootPage, walkerFreeAt, tableReadTiming };
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
    return this.translateWithPasid(sourceId, NO_PASID, iovaPage, write, accesses, at);
  }

  /** The same for a request that names a process; NO_PASID: none. */
  translateWithPasid(
    sourceId: number,
    pasid: number,
    iovaPage: number,
    write: boolean,
    accesses: number,
    at: Picoseconds,
  ): boolean {
    const { costs, values, contextCache, iotlb } = this;
    let time: number = at + costs.contextCacheHit;
    if (contextCache.find(sourceId, pasid)) {
      values[COUNTER.contextCacheHits]! += accesses;
      if (contextCache.readyAt > time) time = contextCache.readyAt;
    } else {
      const known = this.context.read(this.rootPage, sourceId, pasid);
      values[COUNTER.contextCacheMisses]! += 1;
      values[COUNTER.contextCacheHits]! += accesses - 1;
      values[COUNTER.tableReads]! += this.context.lookupReads;
      time += this.context.lookupReads * costs.tableRead;
      if (!known) {
        this.readyAt = picoseconds(time);
        return this.refuseDevice(sourceId, iovaPage, write, this.context.fault, 0);
      }
      this.keepContext(sourceId, pasid, time);
    }
    const { flags } = contextCache;
    const wanted = write ? WRITE : READ;
    if ((flags & wanted) === 0) {
      this.readyAt = picoseconds(time);
      return this.refuseDevice(sourceId, iovaPage, write, notAllowed(write), flags & READ_WRITE);
    }
    if ((flags & PASSTHROUGH) !== 0) {
      this.physPage = iovaPage;
      this.readyAt = picoseconds(time);
      return true;
    }
    values[COUNTER.iotlbLookups]! += accesses;
    time += costs.iotlbHit;
    if (!iotlb.find(contextCache.owner, iovaPage)) return this.miss(sourceId, iovaPage, write, accesses, time);
    const allowed = (iotlb.permissions & wanted) !== 0;
    // the dirty bit is not set yet, perhaps
    if (!allowed && write && (flags & NOTES_WRITES) !== 0) return this.miss(sourceId, iovaPage, write, accesses, time);
    if (iotlb.readyAt > time) {
      time = iotlb.readyAt;
      values[COUNTER.iotlbMissesMerged]! += 1;
      values[IOTLB_HITS[iotlb.level]!]! += accesses - 1;
    } else {
      values[IOTLB_HITS[iotlb.level]!]! += accesses;
    }
    this.readyAt = picoseconds(time);
    if (!allowed) return this.refusePage(sourceId, iovaPage, write, notAllowed(write), iotlb.permissions, false);
    // The window between an unmap and its flush, seen from the device: one look at the entry tells whether it has closed.
    const walker = this.contextWalkers[contextCache.entry]!;
    if (!walker.stillMapped(iovaPage, iotlb.level, iotlb.leafPage, iotlb.leafTable)) {
      values[COUNTER.staleWindowAccesses]! += accesses;
    }
    this.physPage = iotlb.physPage;
    return true;
  }

  /** See AtsTranslator. The same caches and walks as for other requests; what is not allowed is noted, not recorded. */
  translationRequest(sourceId: number, pasid: number, iovaPage: number, write: boolean, at: Picoseconds): boolean {
    const { contextCache, iotlb } = this;
    this.answersRequest = true;
    const allowed = this.translateWithPasid(sourceId, pasid, iovaPage, write, 1, at);
    this.answersRequest = false;
    this.atsEnabled = contextCache.find(sourceId, pasid) && (contextCache.flags & ATS_ENABLED) !== 0;
    if (!allowed) return false;
    this.fault = NO_FAULT;
    this.sizePages = 1;
    this.permissions = contextCache.flags & READ_WRITE;
    if ((contextCache.flags & PASSTHROUGH) !== 0 || !iotlb.find(contextCache.owner, iovaPage)) return true;
    this.sizePages = this.contextWalkers[contextCache.entry]!.format.pagesPerEntry[iotlb.level] ?? 1;
    this.permissions &= iotlb.permissions;
    return true;
  }

  /** The same translation without caches' time: IOTLB, then a walk from the root. For benchmarks and inspection. */
  translateFunctional(sourceId: number, iovaPage: number, write: boolean): boolean {
    const { contextCache, iotlb } = this;
    const wanted = write ? WRITE : READ;
    if (!contextCache.find(sourceId, NO_PASID)) {
      if (!this.context.read(this.rootPage, sourceId, NO_PASID)) return false;
      this.keepContext(sourceId, NO_PASID, 0);
    }
    const { flags } = contextCache;
    if ((flags & wanted) === 0) return false;
    if ((flags & PASSTHROUGH) !== 0) {
      this.physPage = iovaPage;
      return true;
    }
    const { owner } = contextCache;
    if (iotlb.find(owner, iovaPage)) {
      this.physPage = iotlb.physPage;
      if ((iotlb.permissions & wanted) !== 0) return true;
      if ((flags & NOTES_WRITES) === 0) return false;
    }
    const walker = this.walkerOfContext();
    const { tablePage, levels, endPage } = contextCache;
    if (iovaPage >= endPage || !walker.walkFromRoot(owner, iovaPage, write, tablePage, levels)) {
      if (this.cachingMode) this.keepNotPresent(walker, iovaPage, 0);
      return false;
    }
    iotlb.fill(owner, iovaPage, walker.level, walker.leafPage, walker.permissions, walker.leafTable, 0);
    this.physPage = walker.physPage(iovaPage);
    return true;
  }

  private miss(sourceId: number, iovaPage: number, write: boolean, accesses: number, at: number): boolean {
    const { costs, values, contextCache, pagingCache, iotlb } = this;
    const { owner, levels } = contextCache;
    const walker = this.walkerOfContext();
    if (iovaPage >= contextCache.endPage || !walker.format.translates(iovaPage, levels)) {
      values[COUNTER.iotlbMissesFaulted]! += accesses;
      this.readyAt = picoseconds(at);
      return this.refusePage(sourceId, iovaPage, write, FAULT_ADDRESS_BEYOND_WIDTH, 0, false);
    }
    let table = contextCache.tablePage;
    let level = levels - 1;
    let permissions = READ_WRITE;
    pagingCache.beginWalk();
    if (pagingCache.find(owner, iovaPage)) {
      values[PAGING_CACHE_HITS[pagingCache.level]!]! += 1;
      table = pagingCache.table;
      level = pagingCache.level;
      permissions = pagingCache.permissions;
    } else {
      values[COUNTER.pagingCacheMisses]! += 1;
    }
    walker.topLevel = levels - 1;
    const mapped = walker.walk(owner, iovaPage, write, table, level, permissions, pagingCache);
    values[COUNTER.tableReads]! += walker.reads;
    const end = this.timing.endOf(walker, at + costs.pagingCacheLookup);
    this.readyAt = picoseconds(end);
    if (!mapped) {
      values[COUNTER.iotlbMissesFaulted]! += accesses;
      if (this.cachingMode) this.keepNotPresent(walker, iovaPage, end);
      return this.refusePage(
        sourceId,
        iovaPage,
        write,
        walker.fault,
        walker.refusedPermissions,
        walker.faultStage === 2,
      );
    }
    values[IOTLB_MISSES[walker.level]!]! += 1;
    values[IOTLB_HITS[walker.level]!]! += accesses - 1;
    iotlb.fill(owner, iovaPage, walker.level, walker.leafPage, walker.permissions, walker.leafTable, end);
    this.physPage = walker.physPage(iovaPage);
    return true;
  }

  private keepContext(sourceId: number, pasid: number, readyAt: number): void {
    this.contextCache.fill(sourceId, pasid, this.context, readyAt);
    this.contextWalkers[this.contextCache.entry] = this.walkers.of(this.context);
  }

  /** The walker of the device at hand, with the second stage that is the device's. */
  private walkerOfContext(): Walker {
    const { contextCache } = this;
    const walker = this.contextWalkers[contextCache.entry]!;
    const { secondLevels } = contextCache;
    if (secondLevels > 0) {
      const { secondTablePage, secondEndPage, domainId } = contextCache;
      walker.setSecondStage(secondTablePage, secondLevels, secondEndPage, ownerOf(domainId, NO_SPACE));
    }
    return walker;
  }

  /** VT-d 6.1, caching mode: a later map is not seen before its flush. An entry that allows nothing stands for none. */
  private keepNotPresent(walker: Walker, iovaPage: number, readyAt: number): void {
    const absent = walker.fault === FAULT_READ_NOT_ALLOWED || walker.fault === FAULT_WRITE_NOT_ALLOWED;
    if (!absent || walker.permissions !== 0) return;
    this.iotlb.fill(this.contextCache.owner, iovaPage, 0, 0, 0, UNKNOWN_TABLE, readyAt);
  }

  /** What is read of devices refuses; `permissions`: what it allows. */
  private refuseDevice(sourceId: number, iovaPage: number, write: boolean, reason: number, permissions: number): false {
    return this.refuse(sourceId, iovaPage, reason, { tables: 'devices', nested: false, write, permissions });
  }

  /** Page tables refuse: the second stage's, where `nested`, an address that the first one yields. */
  private refusePage(
    sourceId: number,
    iovaPage: number,
    write: boolean,
    reason: number,
    permissions: number,
    nested: boolean,
  ): false {
    const { format } = this.contextWalkers[this.contextCache.entry]!;
    const tables = nested || format.stage === 2 ? 'second' : 'first';
    return this.refuse(sourceId, iovaPage, reason, { tables, nested, write, permissions });
  }

  private refuse(sourceId: number, iovaPage: number, reason: number, place: FaultPlace): false {
    if (this.answersRequest) this.fault = reason;
    else this.faults.record(this.readyAt, sourceId, iovaPage, reason, place);
    return false;
  }
}

function notAllowed(write: boolean): number {
  return write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
}
