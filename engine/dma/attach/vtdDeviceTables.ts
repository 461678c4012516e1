/**
 * VT-d's root and context tables, with PASID tables in scalable mode (Linux drivers/iommu/intel/iommu.c
 * `domain_context_mapping_one`, pasid.c `intel_pasid_setup_first_level`).
 * Leaves out: second-stage tables in scalable mode, devices that share one requester id.
 */
import { writeContextEntry } from '../../iommu/vtd/contextTable.ts';
import { writeScalableEntry } from '../../iommu/vtd/scalableTable.ts';
import type { DeviceTables, DeviceTablesOptions } from './deviceTables.ts';

const IDENTITY_DOMAIN_ID = 1;
const CONTEXT_CACHE_DESCRIPTOR = 0x1;
const GRANULARITY_DEVICE = 3 << 4;

export class VtdDeviceTables implements DeviceTables {
  /** 0 is reserved, 1 identity; the first devices of a boot take these two, so ours begin above. */
  readonly firstDomainId = 3;
  readonly enablesAts = true;
  private readonly options: DeviceTablesOptions;

  constructor(options: DeviceTablesOptions) {
    this.options = options;
  }

  createRoot(): number {
    return this.options.frames.allocatePage();
  }

  attach(rootPage: number, sourceId: number, domainId: number, tablePage: number, levels: number, ats: boolean): void {
    const { memory, frames, scalableMode } = this.options;
    const write = scalableMode ? writeScalableEntry : writeContextEntry;
    write(memory, frames, rootPage, sourceId, { domainId, tablePage, levels, ats });
  }

  /** TT has no value for both, pass-through and translation requests; DTE of scalable mode stands beside it. */
  attachPassthrough(rootPage: number, sourceId: number, ats: boolean): void {
    const { memory, frames, scalableMode } = this.options;
    const entry = { domainId: IDENTITY_DOMAIN_ID, passthrough: true } as const;
    if (scalableMode) writeScalableEntry(memory, frames, rootPage, sourceId, { ...entry, ats });
    else writeContextEntry(memory, frames, rootPage, sourceId, entry);
  }

  forgetDevice(command: Uint32Array, sourceId: number): number {
    command.fill(0);
    command[0] = CONTEXT_CACHE_DESCRIPTOR | GRANULARITY_DEVICE;
    command[1] = sourceId;
    return 1;
  }
}
