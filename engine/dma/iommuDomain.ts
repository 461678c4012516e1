/**
 * One paging domain: page table and gathered invalidation (Linux drivers/iommu/iommu.c `iommu_map_nosync`,
 * `iommu_sync_map`, `__iommu_unmap`, `iommu_iotlb_gather_add_page`). Emits the events of the page table, and charges for it.
 * What the hardware is told is the vendor's part, see domainInvalidation.ts.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import type { PageTableFormat } from '../iommu/formats/pageTableFormat.ts';
import { READ, WRITE } from '../iommu/formats/pageTableFormat.ts';
import { GenericPageTable } from '../iommu/tables/tableOperationsGeneric.ts';
import { LegacyPageTable } from '../iommu/tables/tableOperationsLegacy.ts';
import type { PageTable, TableWatcher } from '../iommu/tables/tableOperations.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { deviceMayRead, deviceMayWrite, type DmaDirection } from './attributes.ts';
import { AmdInvalidation } from './invalidation/amdInvalidation.ts';
import { RiscvInvalidation } from './invalidation/riscvInvalidation.ts';
import { SmmuInvalidation } from './invalidation/smmuInvalidation.ts';
import type { DmaCosts } from './kernels/costs.ts';
import type { DomainInvalidation } from './invalidation/domainInvalidation.ts';
import { EFAULT, EINVAL, ENXIO, ERANGE } from './errno.ts';
import type { KernelProfile } from './kernels/profiles.ts';
import type { RemappingHardware } from './remappingHardware.ts';
import type { DmaTrace } from './trace.ts';
import { VtdInvalidation } from './invalidation/vtdInvalidation.ts';
import { VTD_SECOND_STAGE } from '../iommu/formats/vtdSecondStage.ts';

export interface IommuDomainOptions {
  readonly profile: KernelProfile;
  readonly costs: DmaCosts;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly iommu: RemappingHardware;
  readonly format: PageTableFormat;
  readonly levels: number;
  readonly domainId: number;
  readonly counters: Counters;
  readonly trace: DmaTrace | null;
  readonly log: EventLog | null;
  /** The root of a table with a dynamic top is another one: the device's entry must follow. */
  readonly topChanged: (cpu: Cpu, rootPage: number, levels: number) => void;
  /** CAP.CM of VT-d: mapping flushes too. */
  readonly cachingMode?: boolean;
  /** CAP.MAMV of VT-d: the largest address mask of one descriptor. */
  readonly maximumAddressMask?: number;
  /** The device, for messages. */
  readonly deviceName: string;
}

const NO_TABLES: readonly number[] = [];

const INVALIDATIONS = {
  vtd: VtdInvalidation,
  amd: AmdInvalidation,
  smmuv3: SmmuInvalidation,
  riscv: RiscvInvalidation,
} as const;

export class IommuDomain implements TableWatcher {
  readonly domainId: number;
  readonly table: PageTable;
  private readonly invalidation: DomainInvalidation;
  private readonly costs: DmaCosts;
  private readonly counters: Counters;
  private readonly trace: DmaTrace | null;
  private readonly log: EventLog | null;
  private readonly deviceName: string;
  private readonly legacyTables: boolean;
  /** One past the last byte that the tables can translate. */
  readonly apertureEnd: number;
  private readonly announceTop: IommuDomainOptions['topChanged'];
  private cpu: Cpu | null = null;
  private queued = false;
  private gatherFirst = 0;
  private gatherPages = 0;
  private gatherBatch = 0;

  constructor(options: IommuDomainOptions) {
    this.domainId = options.domainId;
    this.invalidation = new INVALIDATIONS[options.iommu.vendor](options);
    this.announceTop = options.topChanged;
    this.costs = options.costs;
    this.counters = options.counters;
    this.trace = options.trace;
    this.log = options.log;
    this.deviceName = options.deviceName;
    const { format, levels } = options;
    // the older code knows VT-d's tables only
    this.legacyTables = options.profile.pageTableCode === 'intel_legacy' && format.name === VTD_SECOND_STAGE.name;
    this.apertureEnd = format.pageLimit(format.dynamicTop ? format.levels.at(-1)! : levels) * PAGE_SIZE;
    const Code = this.legacyTables ? LegacyPageTable : GenericPageTable;
    const { tableWrites = null, vendor } = options.iommu;
    this.table = new Code(options.memory, options.frames, format, levels, options.counters, this, tableWrites);
    if (vendor === 'smmuv3' && this.table instanceof GenericPageTable) this.table.unmapCleaning = 'cleared';
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
      if (iova + size > this.apertureEnd) error = EFAULT;
    } else if (size === 0) {
      error = EINVAL;
    } else if (misaligned) {
      error = ENXIO;
    } else if (iova + size > this.apertureEnd) {
      error = ERANGE;
    }
    let charge = costs.pageTableMapCall as number;
    if (error === 0) {
      const pages = size / PAGE_SIZE;
      const permissions = (deviceMayRead(direction) ? READ : 0) | (deviceMayWrite(direction) ? WRITE : 0);
      done = table.map(iova / PAGE_SIZE, phys / PAGE_SIZE, pages, permissions) * PAGE_SIZE;
      error = table.error;
      charge += table.leafWrites * costs.pageTableMapPerEntry + table.tablesAllocated * costs.tablePageAllocate;
      charge += table.linesCleaned * costs.cacheLineClean;
    }
    cpu.spend(picoseconds(charge));
    values[COUNTER.iommuMaps]! += 1;
    // the older core says nothing of a map that failed
    const silent = error !== 0 && this.legacyTables;
    if (trace !== null && !silent) trace.emit({ event: 'map', iova, phys, size: done });
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
      charge += table.leafWrites * costs.pageTableUnmapPerEntry + table.linesCleaned * costs.cacheLineClean;
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
    this.invalidation.flushRange(cpu, first, last, table.detachedTables.length === 0);
    if (table.detachedTables.length > 0) table.releaseTables(this.takeDetachedTables());
  }

  /** `iommu_sync_map` of whole pages: after this the device may use what was mapped. */
  syncMap(cpu: Cpu, iova: number, size: number): void {
    this.invalidation.flushNotPresent(cpu, iova, iova + size - 1);
  }

  /** Tables that the last unmaps cut off, for a flush queue to keep until its flush. */
  takeDetachedTables(): readonly number[] {
    const { table } = this;
    if (table.detachedTables.length === 0) return NO_TABLES;
    const tables = table.detachedTables;
    table.detachedTables = [];
    return tables;
  }

  /** A device of the domain may ask for translations, and keeps them itself. */
  addDeviceTlb(sourceId: number): void {
    this.invalidation.addDeviceTlb(sourceId);
  }

  /** `flush_iotlb_all`. */
  flushAll(cpu: Cpu): void {
    this.invalidation.flushAll(cpu);
  }

  /** `iommu_iova_to_phys`, in bytes; -1 when nothing is mapped. */
  iovaToPhys(iova: number): number {
    const page = this.table.lookup(Math.floor(iova / PAGE_SIZE));
    return page === -1 ? -1 : page * PAGE_SIZE + (iova & PAGE_OFFSET);
  }

  tablesReplaced(start: number, end: number): void {
    this.invalidation.flushRange(this.operatingCpu(), start, end, false);
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

  topChanged(rootPage: number, levels: number): void {
    this.announceTop(this.operatingCpu(), rootPage, levels);
  }

  alreadyMapped(iovaPage: number): void {
    this.complain(this.operatingCpu(), `DMA PTE for vPFN ${hex(iovaPage)} already set`);
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
