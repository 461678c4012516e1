/**
 * The device context as the pipeline (iommu.ts) asks for a device's tables (RISC-V IOMMU specification 1.0, 2.1): one stage, without
 * process ids, which is what Linux gives a device for the DMA API. Its faults are the pipeline's; the causes of the specification, two
 * stages and process directories are in riscvTranslation.ts.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { FAULT_CONTEXT_NOT_PRESENT, FAULT_RESERVED_BITS, FAULT_ROOT_NOT_PRESENT, NO_FAULT } from '../faults.ts';
import type { DeviceContextReader } from '../vtd/contextTable.ts';
import { DeviceDirectoryReader, LINUX_DIRECTORY } from './deviceDirectory.ts';
import { ALL_DISALLOWED, DDT_ENTRY_MISCONFIGURED } from './riscvCauses.ts';

export class RiscvContextReader implements DeviceContextReader {
  readonly lookupReads = LINUX_DIRECTORY.levels;
  domainId = 0;
  passthrough = false;
  tablePage = 0;
  levels = 0;
  fault = NO_FAULT;
  private readonly device: DeviceDirectoryReader;

  constructor(memory: PhysicalMemory) {
    this.device = new DeviceDirectoryReader(memory, LINUX_DIRECTORY);
  }

  read(rootPage: number, sourceId: number): boolean {
    const { device } = this;
    if (!device.read(rootPage, sourceId)) {
      if (device.cause === ALL_DISALLOWED) return this.refuse(FAULT_ROOT_NOT_PRESENT);
      return this.refuse(device.cause === DDT_ENTRY_MISCONFIGURED ? FAULT_RESERVED_BITS : FAULT_CONTEXT_NOT_PRESENT);
    }
    // requests without a process id pass the first stage by where there is a process directory
    if (device.secondLevels > 0 || device.processZeroByDefault) return this.refuse(FAULT_RESERVED_BITS);
    this.fault = NO_FAULT;
    this.domainId = device.pscid;
    this.passthrough = device.processDirectory || device.firstLevels === 0;
    this.levels = device.firstLevels;
    this.tablePage = device.firstPage;
    return true;
  }

  private refuse(fault: number): false {
    this.fault = fault;
    return false;
  }
}
