/**
 * Which domain a device has: the tables of one IOMMU, whatever its vendor (attach/), its domains' tags, and the format with which a new
 * domain begins. Every DMA API of devices behind that IOMMU stands on the same. Leaves out: detaching.
 */
import { architectureOf, type IommuVendor } from '../iommu/architectures.ts';
import { withSmallestLeaves, type PageTableFormat } from '../iommu/formats/pageTableFormat.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Cpu } from '../time/cpu.ts';
import { AmdDeviceTables } from './attach/amdDeviceTables.ts';
import type { DeviceTables, DeviceTablesOptions } from './attach/deviceTables.ts';
import { RiscvDeviceTables } from './attach/riscvDeviceTables.ts';
import { SmmuDeviceTables } from './attach/smmuDeviceTables.ts';
import { VtdDeviceTables } from './attach/vtdDeviceTables.ts';
import type { DmaDevice } from './device.ts';
import type { RemappingHardware } from './remappingHardware.ts';

const DEFAULT_LEVELS = 4;

const TABLES: Readonly<Record<IommuVendor, new (options: DeviceTablesOptions) => DeviceTables>> = {
  vtd: VtdDeviceTables,
  amd: AmdDeviceTables,
  smmuv3: SmmuDeviceTables,
  riscv: RiscvDeviceTables,
};

export class DeviceDomains {
  readonly format: PageTableFormat;
  /** Levels with which a new domain begins. */
  readonly firstLevels: number;
  private readonly iommu: RemappingHardware;
  private readonly tables: DeviceTables;
  /** An entry's, and a device TLB's. */
  private readonly commands = new Uint32Array(8);
  /** Requester ids of devices that may ask for translations. */
  private readonly atsDevices = new Set<number>();
  private root = -1;
  private nextDomainId: number;

  /** `levels`: of the tables, where they do not grow; AMD's begin with three and grow. `superpages`: whether leaves may be larger than 4 KiB. */
  constructor(
    memory: PhysicalMemory,
    frames: FrameAllocator,
    iommu: RemappingHardware,
    levels?: number,
    superpages = true,
  ) {
    this.iommu = iommu;
    const { vendor, scalableMode } = iommu;
    this.tables = new TABLES[vendor]({ memory, frames, scalableMode });
    this.nextDomainId = this.tables.firstDomainId;
    const { format } = architectureOf(vendor, scalableMode);
    this.format = superpages ? format : withSmallestLeaves(format);
    const fewest = this.format.levels[0]!;
    this.firstLevels = this.format.dynamicTop ? fewest : Math.max(fewest, levels ?? DEFAULT_LEVELS);
  }

  takeDomainId(): number {
    const domainId = this.nextDomainId;
    this.nextDomainId += 1;
    return domainId;
  }

  /** Whether Linux turns a device's ATS on: never for one that is not trusted, which could claim translations that it never got. */
  enablesAts(device: Pick<DmaDevice, 'ats' | 'untrusted'>): boolean {
    return device.ats && !device.untrusted && this.iommu.atsSupported !== false && this.tables.enablesAts;
  }

  /** Gives a device the page table of a domain; `ats`: it may ask for translations. */
  attach(sourceId: number, domainId: number, tablePage: number, levels: number, ats = false): void {
    if (ats) this.atsDevices.add(sourceId);
    else this.atsDevices.delete(sourceId);
    this.tables.attach(this.deviceRoot(), sourceId, domainId, tablePage, levels, ats);
  }

  /** The device's addresses are physical ones. */
  attachPassthrough(sourceId: number, ats = false): void {
    this.tables.attachPassthrough(this.deviceRoot(), sourceId, ats);
  }

  /** The domain's table has grown: the device must find the new root, and forget the old one, before the map goes on. */
  topChanged(cpu: Cpu, sourceId: number, domainId: number, tablePage: number, levels: number): void {
    const ats = this.atsDevices.has(sourceId);
    this.attach(sourceId, domainId, tablePage, levels, ats);
    const count = this.tables.forgetDevice(this.commands, sourceId, ats);
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.commands, count, cpu.now));
  }

  private deviceRoot(): number {
    if (this.root === -1) {
      this.root = this.tables.createRoot();
      this.iommu.setRootTable(this.root);
    }
    return this.root;
  }
}
