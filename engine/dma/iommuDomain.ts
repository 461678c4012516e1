/**
 * One paging domain: page table, gathered invalidation, and the commands to the IOMMU (Linux drivers/iommu/iommu.c
 * `iommu_map_nosync`, `__iommu_unmap`, `iommu_iotlb_gather_add_page`; drivers/iommu/intel/cache.c `cache_tag_flush_range`,
 * `cache_tag_flush_all`). Emits the events of the page table and of the invalidation queue, and charges for both.
 * Leaves out: caching mode, where mapping flushes too; device TLBs.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import { GenericPageTable } from '../iommu/tableOperationsGeneric.ts';
import { LegacyPageTable } from '../iommu/tableOperationsLegacy.ts';
import type { PageTable, TableWatcher } from '../iommu/tableOperations.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { deviceMayRead, deviceMayWrite, type DmaDirection } from './attributes.ts';
import type { DmaCosts } from './costs.ts';
import { EINVAL, ENXIO } from './errno.ts';
import type { KernelProfile } from './profiles.ts';
import { AlignedRange } from './rangeInvalidation.ts';
import type { RemappingHardware } from './remappingHardware.ts';
import { ALL_ADDRESSES_END, type DmaTrace } from './trace.ts';

/** CAP.MAMV: the largest address mask that the hardware takes in one page-selective descriptor. */
const MAX_ADDRESS_MASK_VALUE = 18;
const IOTLB_DESCRIPTOR = 0x2;
const DRAIN_READS_AND_WRITES = 0xc0;
const GRANULARITY_DOMAIN = 2 << 4;
const GRANULARITY_PAGE = 3 << 4;
const INVALIDATION_HINT = 1 << 6;
const WHOLE_DOMAIN_MASK = 52;
const FOUR_GIB = 2 ** 32;

export interface IommuDomainOptions {
  readonly profile: KernelProfile;
  readonly costs: DmaCosts;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly iommu: RemappingHardware;
  readonly levels: 3 | 4;
  readonly domainId: number;
  readonly counters: Counters;
  readonly trace: DmaTrace | null;
  readonly log: EventLog | null;
  /** The device, for messages. */
  readonly deviceName: string;
}

const NO_TABLES: readonly number[] = [];

export class IommuDomain implements TableWatcher {
  readonly domainId: number;
  readonly table: PageTable;
  private readonly iommu: RemappingHardware;
  private readonly costs: DmaCosts;
  private readonly counters: Counters;
  private readonly trace: DmaTrace | null;
  private readonly log: EventLog | null;
  private readonly deviceName: string;
  private readonly legacyTables: boolean;
  private readonly traceDomainRange: boolean;
  private readonly aligned = new AlignedRange();
  private readonly descriptor = new Uint32Array(4);
  private cpu: Cpu | null = null;
  private queued = false;
  private gatherFirst = 0;
  private gatherPages = 0;
  private gatherBatch = 0;

  constructor(options: IommuDomainOptions) {
    this.domainId = options.domainId;
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.trace = options.trace;
    this.log = options.log;
    this.deviceName = options.deviceName;
    this.legacyTables = options.profile.pageTableCode === 'intel_legacy';
    this.traceDomainRange = options.profile.domainFlushTracesRange;
    const Code = this.legacyTables ? LegacyPageTable : GenericPageTable;
    this.table = new Code(options.memory, options.frames, options.levels, options.counters, this);
  }

  /** `iommu_map_nosync`: 0 or a negative errno. On failure nothing of the range stays mapped. */
  map(cpu: Cpu, iova: number, phys: number, size: number, direction: DmaDirection): number {
    this.cpu = cpu;
    this.queued = false;
    const { costs, table, trace } = this;
    const values = this.counters.values;
    const misaligned = (iova & PAGE_OFFSET) !== 0 || (phys & PAGE_OFFSET) !== 0 || (size & PAGE_OFFSET) !== 0;
    let error = 0;
    let done = 0;
    if (this.legacyTables) {
      if (misaligned) {
        this.complain(cpu, `unaligned: iova ${hex(iova)} pa ${hex(phys)} size ${size}`);
        return EINVAL;
      }
    } else if (misaligned) {
      error = ENXIO;
    } else if (size === 0) {
      error = EINVAL;
    }
    let charge = costs.pageTableMapCall as number;
    if (error === 0) {
      const pages = size / PAGE_SIZE;
      const read = deviceMayRead(direction);
      const write = deviceMayWrite(direction);
      done = table.map(iova / PAGE_SIZE, phys / PAGE_SIZE, pages, read, write) * PAGE_SIZE;
      error = table.error;
      charge += table.leafWrites * costs.pageTableMapPerEntry + table.tablesAllocated * costs.tablePageAllocate;
    }
    cpu.spend(picoseconds(charge));
    values[COUNTER.iommuMaps]! += 1;
    if (trace !== null) trace.emit({ event: 'map', iova, phys, size: done });
    if (error !== 0) {
      this.unmap(cpu, iova, done, false);
      this.sync(cpu);
    }
    return error;
  }

  /**
   * `iommu_unmap_fast`: bytes removed. What was removed is gathered for `sync`; where a flush queue will follow (`queued`)
   * nothing is gathered.
   */
  unmap(cpu: Cpu, iova: number, size: number, queued: boolean): number {
    this.cpu = cpu;
    this.queued = queued;
    const { costs, table, trace } = this;
    let unmapped = 0;
    let charge = costs.pageTableUnmapCall as number;
    if (size > 0 && (iova & PAGE_OFFSET) === 0) {
      unmapped = table.unmap(iova / PAGE_SIZE, size / PAGE_SIZE) * PAGE_SIZE;
      charge += table.leafWrites * costs.pageTableUnmapPerEntry;
    }
    cpu.spend(picoseconds(charge));
    this.counters.values[COUNTER.iommuUnmaps]! += 1;
    if (trace !== null) trace.emit({ event: 'unmap', iova, size, unmapped });
    return unmapped;
  }

  /** `iommu_iotlb_sync`: flushes what was gathered, waits for the hardware, gives back the tables. */
  sync(cpu: Cpu): void {
    if (this.gatherPages === 0) return;
    const first = this.gatherFirst * PAGE_SIZE;
    const last = (this.gatherFirst + this.gatherPages) * PAGE_SIZE - 1;
    const { table } = this;
    this.gatherPages = 0;
    this.flushRange(cpu, first, last, table.detachedTables.length === 0);
    if (table.detachedTables.length > 0) table.releaseTables(this.takeDetachedTables());
  }

  /** Tables that the last unmaps cut off, for a flush queue to keep until its flush. */
  takeDetachedTables(): readonly number[] {
    const { table } = this;
    if (table.detachedTables.length === 0) return NO_TABLES;
    const tables = table.detachedTables;
    table.detachedTables = [];
    return tables;
  }

  /** `cache_tag_flush_all`. */
  flushAll(cpu: Cpu): void {
    if (this.trace !== null && this.traceDomainRange) {
      this.trace.emit({
        event: 'cache_tag_flush_range',
        start: 0,
        end: ALL_ADDRESSES_END,
        address: 0,
        mask: WHOLE_DOMAIN_MASK,
        pages: 2 ** WHOLE_DOMAIN_MASK,
      });
    }
    cpu.spend(this.costs.invalidateDomain);
    this.submitDomain(cpu);
  }

  /** `iommu_iova_to_phys`, in bytes; -1 when nothing is mapped. */
  iovaToPhys(iova: number): number {
    const page = this.table.lookup(Math.floor(iova / PAGE_SIZE));
    return page === -1 ? -1 : page * PAGE_SIZE + (iova & PAGE_OFFSET);
  }

  tablesReplaced(start: number, end: number): void {
    this.flushRange(this.operatingCpu(), start, end, false);
  }

  rangeUnmapped(iovaPage: number, pages: number): void {
    if (this.queued) return;
    if (this.gatherPages > 0) {
      const joins = iovaPage === this.gatherFirst + this.gatherPages;
      if (!joins || (this.legacyTables && pages !== this.gatherBatch)) this.sync(this.operatingCpu());
    }
    this.gatherBatch = pages;
    if (this.gatherPages === 0) this.gatherFirst = iovaPage;
    this.gatherPages += pages;
  }

  alreadyMapped(iovaPage: number): void {
    this.complain(this.operatingCpu(), `DMA PTE for vPFN ${hex(iovaPage)} already set`);
  }

  /** `cache_tag_flush_range`. */
  private flushRange(cpu: Cpu, start: number, end: number, hint: boolean): void {
    const { aligned, trace, descriptor } = this;
    aligned.align(start, end);
    const { address, mask, pages } = aligned;
    if (trace !== null) trace.emit({ event: 'cache_tag_flush_range', start, end, address, mask, pages });
    cpu.spend(this.costs.invalidateRange);
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    if (mask > MAX_ADDRESS_MASK_VALUE) {
      this.submitDomain(cpu);
      return;
    }
    descriptor[0] = IOTLB_DESCRIPTOR | DRAIN_READS_AND_WRITES | GRANULARITY_PAGE | (this.domainId << 16);
    descriptor[1] = 0;
    descriptor[2] = (address % FOUR_GIB) + (hint ? INVALIDATION_HINT : 0) + mask;
    descriptor[3] = Math.floor(address / FOUR_GIB);
    if (trace !== null) {
      trace.emit({ event: 'qi_submit', granularity: 'page', domainId: this.domainId, address, mask, hint });
    }
    this.submit(cpu);
  }

  private submitDomain(cpu: Cpu): void {
    const { descriptor, trace, domainId } = this;
    descriptor[0] = IOTLB_DESCRIPTOR | DRAIN_READS_AND_WRITES | GRANULARITY_DOMAIN | (domainId << 16);
    descriptor[1] = 0;
    descriptor[2] = 0;
    descriptor[3] = 0;
    if (trace !== null) {
      trace.emit({ event: 'qi_submit', granularity: 'domain', domainId, address: 0, mask: 0, hint: false });
    }
    this.submit(cpu);
  }

  private submit(cpu: Cpu): void {
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.descriptor, 1, cpu.now));
  }

  private operatingCpu(): Cpu {
    if (this.cpu === null) throw new Error('the page table changed outside a call of its domain');
    return this.cpu;
  }

  private complain(cpu: Cpu, message: string): void {
    this.log?.add(cpu.now, 'error', this.deviceName, message);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
