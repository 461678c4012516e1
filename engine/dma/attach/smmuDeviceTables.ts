/**
 * An SMMU's stream table and context descriptors (Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_make_cdtable_ste`,
 * `arm_smmu_make_s1_cd`, `arm_smmu_make_bypass_ste`): stage 1 with one descriptor a device, two-level stream table. A stream that
 * nobody attached ends in abort. Leaves out: PASIDs, stage 2, devices with several StreamIDs.
 */
import { allocateContextTable, writeContextDescriptor, type ContextTable } from '../../iommu/smmu/contextDescriptor.ts';
import { configureStream } from '../../iommu/smmu/smmuCommands.ts';
import {
  allocateStreamTable,
  CONFIG_BYPASS,
  CONFIG_STAGE_1,
  LINUX_STREAM_TABLE,
  writeStreamTableEntry,
} from '../../iommu/smmu/streamTable.ts';
import type { DeviceTables, DeviceTablesOptions } from './deviceTables.ts';

const PAGE_BITS = 12;
const INDEX_BITS = 9;
const GRANULE_4K = 0;

export class SmmuDeviceTables implements DeviceTables {
  /** `arm_smmu_asid_xa` begins at 1. */
  readonly firstDomainId = 1;
  readonly enablesAts = true;
  private readonly options: DeviceTablesOptions;
  private readonly contexts = new Map<number, ContextTable>();

  constructor(options: DeviceTablesOptions) {
    this.options = options;
  }

  createRoot(): number {
    return allocateStreamTable(this.options.frames, LINUX_STREAM_TABLE);
  }

  attach(rootPage: number, sourceId: number, domainId: number, tablePage: number, levels: number, ats: boolean): void {
    const { memory, frames } = this.options;
    let contexts = this.contexts.get(sourceId);
    if (contexts === undefined) {
      contexts = allocateContextTable(frames, 0, 0);
      this.contexts.set(sourceId, contexts);
    }
    const addressBits = PAGE_BITS + INDEX_BITS * levels;
    writeContextDescriptor(memory, frames, contexts, 0, {
      asid: domainId,
      tablePage,
      addressBits,
      granule: GRANULE_4K,
    });
    writeStreamTableEntry(memory, frames, rootPage, LINUX_STREAM_TABLE, sourceId, {
      config: CONFIG_STAGE_1,
      ats,
      stage1: { contextPage: contexts.page, format: contexts.format, log2Contexts: contexts.log2Contexts },
    });
  }

  attachPassthrough(rootPage: number, sourceId: number): void {
    const { memory, frames } = this.options;
    writeStreamTableEntry(memory, frames, rootPage, LINUX_STREAM_TABLE, sourceId, { config: CONFIG_BYPASS });
  }

  forgetDevice(command: Uint32Array, sourceId: number): number {
    configureStream(command, 0, sourceId, true);
    return 1;
  }
}
