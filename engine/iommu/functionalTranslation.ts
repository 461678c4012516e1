/**
 * What an IOMMU makes of one request, from source id and PASID to a page of memory, without caches and time: the vendor's device lookup
 * (deviceContext.ts), then the tables of one stage, of both or none, and the fault where one of them refuses. The timed pipeline (iommu.ts)
 * must come to the same end.
 * Leaves out: interrupt addresses, supervisor and execute requests.
 */
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { DeviceContextReader } from './deviceContext.ts';
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_READ_NOT_ALLOWED, FAULT_WRITE_NOT_ALLOWED, NO_FAULT } from './faults.ts';
import { READ, WRITE } from './formats/pageTableFormat.ts';
import { StageWalkers } from './walk/stageWalkers.ts';

export class FunctionalTranslation {
  /** Of the last request: the page, how many pages around it the answer covers, what is allowed, and why it was refused. */
  physPage = 0;
  pages = 1;
  permissions = 0;
  fault = NO_FAULT;
  /** The stage whose tables refused; 0: not a matter of tables. */
  faultStage: 0 | 1 | 2 = 0;
  /** Entries of page tables that were read. */
  tableReads = 0;
  /** What was read of the device. */
  readonly device: DeviceContextReader;
  private readonly walkers: StageWalkers;
  private rootPage = -1;

  constructor(memory: PhysicalMemory, device: DeviceContextReader) {
    this.device = device;
    this.walkers = new StageWalkers(memory);
  }

  setRootTable(page: number): void {
    this.rootPage = page;
  }

  /** `pasid`: NO_PASID for a request without one. */
  translate(sourceId: number, pasid: number, iovaPage: number, write: boolean): boolean {
    const { device } = this;
    this.faultStage = 0;
    this.tableReads = 0;
    this.fault = NO_FAULT;
    if (!device.read(this.rootPage, sourceId, pasid)) return this.refuse(device.fault);
    // what the device may not do must not leave a dirty bit behind
    if ((device.permissions & (write ? WRITE : READ)) === 0) {
      return this.refuse(write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED);
    }
    if (device.passthrough) {
      this.physPage = iovaPage;
      this.pages = Infinity;
      this.permissions = device.permissions;
      return true;
    }
    return this.walk(iovaPage, write);
  }

  private walk(iovaPage: number, write: boolean): boolean {
    const { device } = this;
    const { domainId, tablePage, levels, endPage, second } = device;
    const walker = this.walkers.of(device);
    if (iovaPage >= endPage) {
      this.faultStage = device.stage;
      return this.refuse(FAULT_ADDRESS_BEYOND_WIDTH);
    }
    if (second !== null) walker.setSecondStage(second.tablePage, second.levels, second.endPage);
    const found = walker.walkFromRoot(domainId, iovaPage, write, tablePage, levels);
    this.tableReads = walker.reads;
    if (!found) {
      this.faultStage = second === null ? device.stage : walker.faultStage;
      return this.refuse(walker.fault);
    }
    this.physPage = walker.physPage(iovaPage);
    this.pages = walker.coveredPages;
    this.permissions = walker.permissions & device.permissions;
    return true;
  }

  private refuse(fault: number): false {
    this.fault = fault;
    return false;
  }
}
