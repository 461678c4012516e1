/**
 * The device directory of a RISC-V IOMMU (Linux drivers/iommu/riscv/iommu.c `riscv_iommu_iodir_update`,
 * `riscv_iommu_attach_paging_domain`, `riscv_iommu_attach_identity_domain`): three levels, a first stage without process ids. A device
 * that nobody attached is refused. Leaves out: process directories, second stages.
 */
import { LINUX_DIRECTORY, writeDeviceContext } from '../../iommu/riscv/deviceDirectory.ts';
import { invalidateDeviceContext } from '../../iommu/riscv/riscvCommands.ts';
import type { DeviceTables, DeviceTablesOptions } from './deviceTables.ts';

export class RiscvDeviceTables implements DeviceTables {
  /** `riscv_iommu_pscids` begins at 1. */
  readonly firstDomainId = 1;
  /** The driver knows neither EN_ATS nor a device TLB's invalidation. */
  readonly enablesAts = false;
  private readonly options: DeviceTablesOptions;

  constructor(options: DeviceTablesOptions) {
    this.options = options;
  }

  createRoot(): number {
    return this.options.frames.allocatePage();
  }

  attach(rootPage: number, sourceId: number, domainId: number, tablePage: number, levels: number): void {
    const { memory, frames } = this.options;
    const context = { pscid: domainId, firstLevels: levels, firstPage: tablePage };
    writeDeviceContext(memory, frames, rootPage, LINUX_DIRECTORY, sourceId, context);
  }

  attachPassthrough(rootPage: number, sourceId: number): void {
    const { memory, frames } = this.options;
    writeDeviceContext(memory, frames, rootPage, LINUX_DIRECTORY, sourceId, {});
  }

  forgetDevice(command: Uint32Array, sourceId: number): number {
    invalidateDeviceContext(command, 0, sourceId);
    return 1;
  }
}
