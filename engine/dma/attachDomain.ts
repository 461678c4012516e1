/**
 * Which domain a device has, as the hardware is told: VT-d's root and context tables, with PASID tables in
 * scalable mode, or AMD's device table (Linux
 * drivers/iommu/intel/iommu.c `domain_context_mapping_one`, pasid.c `intel_pasid_setup_first_level`; drivers/iommu/amd/iommu.c `set_dte_entry`, `amd_iommu_change_top`).
 * Leaves out: second-stage tables in scalable mode, devices that share one requester id.
 */
import { invalidateDeviceCommand } from '../iommu/amd/amdCommandBuffer.ts';
import { allocateDeviceTable, writeDeviceTableEntry } from '../iommu/amd/amdDeviceTable.ts';
import { architectureOf } from '../iommu/architectures.ts';
import { writeContextEntry } from '../iommu/vtd/contextTable.ts';
import type { PageTableFormat } from '../iommu/formats/pageTableFormat.ts';
import { writeScalableEntry } from '../iommu/vtd/scalableTable.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Cpu } from '../time/cpu.ts';
import type { RemappingHardware } from './remappingHardware.ts';

/** VT-d's domain ids: 0 is reserved, 1 identity; the first devices of a boot take these two, so ours begin above. */
const FIRST_DOMAIN_ID = 3;
const IDENTITY_DOMAIN_ID = 1;
const PASS_THROUGH_LEVELS = 0;
const DEFAULT_LEVELS = 4;

export class DeviceDomains {
  readonly format: PageTableFormat;
  /** Levels with which a new domain begins. */
  readonly firstLevels: number;
  private readonly memory: PhysicalMemory;
  private readonly frames: FrameAllocator;
  private readonly iommu: RemappingHardware;
  private readonly command = new Uint32Array(4);
  private root = -1;
  private nextDomainId = FIRST_DOMAIN_ID;

  /** `vtdLevels`: levels of VT-d's tables; AMD's begin with three and grow. */
  constructor(memory: PhysicalMemory, frames: FrameAllocator, iommu: RemappingHardware, vtdLevels?: number) {
    this.memory = memory;
    this.frames = frames;
    this.iommu = iommu;
    this.format = architectureOf(iommu.vendor, iommu.scalableMode).format;
    const fewest = this.format.levels[0]!;
    this.firstLevels = this.format.dynamicTop ? fewest : Math.max(fewest, vtdLevels ?? DEFAULT_LEVELS);
  }

  takeDomainId(): number {
    const domainId = this.nextDomainId;
    this.nextDomainId += 1;
    return domainId;
  }

  /** Gives a device the page table of a domain. */
  attach(sourceId: number, domainId: number, tablePage: number, levels: number): void {
    const { memory, frames } = this;
    const root = this.deviceRoot();
    const entry = { domainId, tablePage, levels };
    if (this.iommu.vendor === 'amd') writeDeviceTableEntry(memory, root, sourceId, entry);
    else if (this.iommu.scalableMode) writeScalableEntry(memory, frames, root, sourceId, entry);
    else writeContextEntry(memory, frames, root, sourceId, entry);
  }

  /** The device's addresses are physical ones. */
  attachPassthrough(sourceId: number): void {
    const { memory, frames } = this;
    const root = this.deviceRoot();
    const domainId = IDENTITY_DOMAIN_ID;
    const entry = { domainId, passthrough: true } as const;
    const { vendor, scalableMode } = this.iommu;
    if (vendor === 'amd') {
      writeDeviceTableEntry(memory, root, sourceId, { domainId, tablePage: 0, levels: PASS_THROUGH_LEVELS });
    } else if (scalableMode) writeScalableEntry(memory, frames, root, sourceId, entry);
    else writeContextEntry(memory, frames, root, sourceId, entry);
  }

  /** The domain's table has grown: the device must find the new root, and forget the old one, before the map goes on. */
  topChanged(cpu: Cpu, sourceId: number, domainId: number, tablePage: number, levels: number): void {
    this.attach(sourceId, domainId, tablePage, levels);
    invalidateDeviceCommand(this.command, sourceId);
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.command, 1, cpu.now));
  }

  private deviceRoot(): number {
    if (this.root === -1) {
      this.root =
        this.iommu.vendor === 'amd' ? allocateDeviceTable(this.memory, this.frames) : this.frames.allocatePage();
      this.iommu.setRootTable(this.root);
    }
    return this.root;
  }
}
