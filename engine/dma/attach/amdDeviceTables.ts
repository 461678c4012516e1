/** AMD's device table (Linux drivers/iommu/amd/iommu.c `set_dte_entry`, `amd_iommu_change_top`). */
import { invalidateDeviceEntry, invalidateDevicePages } from '../../iommu/amd/amdCommands.ts';
import { allocateDeviceTable, writeDeviceTableEntry } from '../../iommu/amd/amdDeviceTable.ts';
import { DEVICE_QUEUE_DEPTH } from '../invalidation/domainInvalidation.ts';
import type { DeviceTables, DeviceTablesOptions } from './deviceTables.ts';

const IDENTITY_DOMAIN_ID = 1;
const PASS_THROUGH_LEVELS = 0;

export class AmdDeviceTables implements DeviceTables {
  /** The first devices of a boot take those below. */
  readonly firstDomainId = 3;
  readonly enablesAts = true;
  private readonly options: DeviceTablesOptions;

  constructor(options: DeviceTablesOptions) {
    this.options = options;
  }

  createRoot(): number {
    return allocateDeviceTable(this.options.memory, this.options.frames);
  }

  attach(rootPage: number, sourceId: number, domainId: number, tablePage: number, levels: number, ats: boolean): void {
    writeDeviceTableEntry(this.options.memory, rootPage, sourceId, { domainId, tablePage, levels, ats });
  }

  attachPassthrough(rootPage: number, sourceId: number, ats: boolean): void {
    const entry = { domainId: IDENTITY_DOMAIN_ID, tablePage: 0, levels: PASS_THROUGH_LEVELS, ats };
    writeDeviceTableEntry(this.options.memory, rootPage, sourceId, entry);
  }

  /** `device_flush_dte`. */
  forgetDevice(commands: Uint32Array, sourceId: number, ats: boolean): number {
    invalidateDeviceEntry(commands, 0, sourceId);
    if (!ats) return 1;
    invalidateDevicePages(commands, 1, sourceId, DEVICE_QUEUE_DEPTH, 0, Infinity);
    return 2;
  }
}
