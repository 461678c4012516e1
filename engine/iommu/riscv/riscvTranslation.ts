/**
 * What a RISC-V IOMMU makes of one transaction, from device id and process id to a page of memory, without caches and time: device
 * context, process context, first stage, second stage or both, and the cause where one of them refuses (RISC-V IOMMU specification 1.0,
 * 2.3 and 2.4).
 * Leaves out: MSI translation, supervisor and execute requests, records of faults.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { READ_WRITE } from '../formats/pageTableFormat.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { RISCV_SVX4 } from '../formats/riscvSvx4.ts';
import { NestedWalker } from '../walk/nestedWalker.ts';
import { Walker } from '../walk/walker.ts';
import { DeviceDirectoryReader, type DirectoryLayout } from './deviceDirectory.ts';
import { ProcessDirectoryReader } from './processDirectory.ts';
import {
  NO_CAUSE,
  READ_ACCESS_FAULT,
  READ_GUEST_PAGE_FAULT,
  READ_PAGE_FAULT,
  TYPE_DISALLOWED,
  WRITE_ACCESS_FAULT,
  WRITE_GUEST_PAGE_FAULT,
  WRITE_PAGE_FAULT,
} from './riscvCauses.ts';

/** A transaction without a process id. */
export const NO_PROCESS = -1;
const DOMAIN = 0;

export class RiscvTranslation {
  /** Of the last transaction: the page, how many pages around it the answer covers, what is allowed, and its tags. */
  physPage = 0;
  pages = 1;
  permissions = 0;
  gscid = 0;
  pscid = 0;
  cause = NO_CAUSE;
  /** Entries of directories that were read; without those of the second stage on the way to them. */
  directoryReads = 0;
  private readonly device: DeviceDirectoryReader;
  private readonly process: ProcessDirectoryReader;
  private readonly first: Walker;
  private readonly second: Walker;
  /** By whether the second stage's bits are set by hardware. */
  private readonly nested: readonly [NestedWalker, NestedWalker];
  private readonly memory: PhysicalMemory;
  private rootPage = -1;
  private firstPage = 0;
  private firstLevels = 0;

  constructor(memory: PhysicalMemory, layout: DirectoryLayout) {
    this.memory = memory;
    this.device = new DeviceDirectoryReader(memory, layout);
    this.process = new ProcessDirectoryReader(memory);
    this.first = new Walker(memory, RISCV_SV, 'checked');
    this.second = new Walker(memory, RISCV_SVX4, 'checked');
    this.nested = [
      new NestedWalker(memory, RISCV_SV, RISCV_SVX4, 'checked', 'checked'),
      new NestedWalker(memory, RISCV_SV, RISCV_SVX4, 'checked', 'updated'),
    ];
  }

  /** ddtp; -1: off, every transaction is refused. */
  setDirectory(page: number): void {
    this.rootPage = page;
  }

  translate(deviceId: number, processId: number, iovaPage: number, write: boolean): boolean {
    const { device } = this;
    this.cause = NO_CAUSE;
    const known = device.read(this.rootPage, deviceId);
    this.directoryReads = device.reads;
    if (!known) return this.refuse(device.cause);
    this.gscid = device.gscid;
    this.second.accessBits = device.secondUpdates ? 'updated' : 'checked';
    if (!this.findFirstStage(processId, write)) return false;
    if (this.firstLevels === 0) return this.walkSecond(iovaPage, write);
    const walker = device.secondLevels === 0 ? this.first : this.nested[device.secondUpdates ? 1 : 0];
    walker.accessBits = device.firstUpdates ? 'updated' : 'checked';
    if (walker instanceof NestedWalker) walker.setSecondStage(device.secondTablePage, device.secondLevels);
    const found = walker.walkFromRoot(DOMAIN, iovaPage, write, this.firstPage, this.firstLevels);
    return this.outcome(walker, found, iovaPage, write, walker.faultStage === 2);
  }

  /** Root and levels of the first stage, from the device's context or that of one of its processes. */
  private findFirstStage(processId: number, write: boolean): boolean {
    const { device, process } = this;
    this.pscid = device.pscid;
    this.firstPage = device.firstPage;
    this.firstLevels = device.firstLevels;
    if (!device.processDirectory) return processId === NO_PROCESS ? true : this.refuse(TYPE_DISALLOWED);
    const processOf = processId === NO_PROCESS && device.processZeroByDefault ? 0 : processId;
    if (processOf === NO_PROCESS || device.firstLevels === 0) {
      this.pscid = 0;
      this.firstLevels = 0;
      return processOf > 0 ? this.refuse(TYPE_DISALLOWED) : true;
    }
    const guest = device.secondLevels === 0 ? null : (page: number): number => this.guestPage(page);
    const known = process.read(device.firstPage, device.firstLevels, processOf, guest);
    this.directoryReads += process.reads;
    if (!known) return this.refuse(process.guestFault ? guestFault(write) : process.cause);
    this.pscid = process.pscid;
    this.firstPage = process.tablePage;
    this.firstLevels = process.levels;
    return true;
  }

  private guestPage(page: number): number {
    const { device, second } = this;
    const found = second.walkFromRoot(DOMAIN, page, false, device.secondTablePage, device.secondLevels);
    return found ? second.physPage(page) : -1;
  }

  private walkSecond(iovaPage: number, write: boolean): boolean {
    const { device, second } = this;
    if (device.secondLevels === 0) {
      this.physPage = iovaPage;
      this.pages = Infinity;
      this.permissions = READ_WRITE;
      return true;
    }
    const found = second.walkFromRoot(DOMAIN, iovaPage, write, device.secondTablePage, device.secondLevels);
    return this.outcome(second, found, iovaPage, write, true);
  }

  private outcome(walker: Walker, found: boolean, iovaPage: number, write: boolean, guest: boolean): boolean {
    const last = walker.reads === 0 ? 0 : walker.readTables[walker.reads - 1]!;
    if (!found && last >= this.memory.pages) return this.refuse(write ? WRITE_ACCESS_FAULT : READ_ACCESS_FAULT);
    if (!found) return this.refuse(guest ? guestFault(write) : write ? WRITE_PAGE_FAULT : READ_PAGE_FAULT);
    this.physPage = walker.physPage(iovaPage);
    this.pages = walker.coveredPages;
    this.permissions = walker.permissions;
    return true;
  }

  private refuse(cause: number): false {
    this.cause = cause;
    return false;
  }
}

function guestFault(write: boolean): number {
  return write ? WRITE_GUEST_PAGE_FAULT : READ_GUEST_PAGE_FAULT;
}
