/**
 * Device context and process context together, as the pipeline (iommu.ts) asks for a device's tables (RISC-V IOMMU specification 1.0, 2.1
 * to 2.3): first stage, second stage or both, with a process id or without. Its faults are the causes of 4.2.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { NO_GUEST } from '../cacheInvalidation.ts';
import { NO_SPACE } from '../caches/owner.ts';
import { DeviceContextReader, type StageTables } from '../deviceContext.ts';
import { NO_FAULT, OWN_FAULT } from '../faults.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { RISCV_SVX4 } from '../formats/riscvSvx4.ts';
import { Walker } from '../walk/walker.ts';
import { DeviceDirectoryReader, LINUX_DIRECTORY } from './deviceDirectory.ts';
import { ProcessDirectoryReader } from './processDirectory.ts';
import { READ_GUEST_PAGE_FAULT, TYPE_DISALLOWED } from './riscvCauses.ts';
import { guestTag } from './riscvCommandQueue.ts';

export class RiscvContextReader extends DeviceContextReader {
  private readonly device: DeviceDirectoryReader;
  private readonly process: ProcessDirectoryReader;
  private readonly secondWalker: Walker;

  constructor(memory: PhysicalMemory) {
    super(memory, RISCV_SV);
    this.device = new DeviceDirectoryReader(memory, LINUX_DIRECTORY);
    this.process = new ProcessDirectoryReader(memory);
    this.secondWalker = new Walker(memory, RISCV_SVX4);
  }

  read(rootPage: number, sourceId: number, pasid: number): boolean {
    const { device } = this;
    const known = device.read(rootPage, sourceId);
    this.lookupReads = device.reads;
    if (!known) return this.refuse(OWN_FAULT + device.cause);
    this.fault = NO_FAULT;
    this.atsEnabled = device.atsEnabled;
    const second = device.secondLevels === 0 ? null : this.secondStage();
    this.domainId = second === null ? NO_GUEST : guestTag(device.gscid);
    if (!device.processDirectory) {
      if (pasid !== NO_PASID) return this.refuse(OWN_FAULT + TYPE_DISALLOWED);
      return this.choose(device.firstPage, device.firstLevels, device.pscid, second);
    }
    const processId = pasid === NO_PASID && device.processZeroByDefault ? 0 : pasid;
    if (processId !== NO_PASID && device.firstLevels > 0) return this.readProcess(processId, second);
    if (processId > 0) return this.refuse(OWN_FAULT + TYPE_DISALLOWED);
    return this.choose(0, 0, NO_SPACE, second);
  }

  private readProcess(processId: number, second: StageTables | null): boolean {
    const { device, process } = this;
    const guest = second === null ? null : (page: number): number => this.guestPage(second, page);
    const known = process.read(device.firstPage, device.firstLevels, processId, guest);
    this.lookupReads += process.reads;
    if (known) return this.choose(process.tablePage, process.levels, process.pscid, second);
    return this.refuse(OWN_FAULT + (process.guestFault ? READ_GUEST_PAGE_FAULT : process.cause));
  }

  /** Without a first stage, what there is of the second. */
  private choose(firstPage: number, firstLevels: number, pscid: number, second: StageTables | null): boolean {
    const usesFirst = firstLevels > 0;
    this.passthrough = !usesFirst && second === null;
    this.space = usesFirst ? pscid : NO_SPACE;
    this.stage = usesFirst || second === null ? 1 : 2;
    this.format = usesFirst || second === null ? RISCV_SV : second.format;
    this.accessBits = usesFirst || second === null ? bitsOf(this.device.firstUpdates) : second.accessBits;
    this.tablePage = usesFirst || second === null ? firstPage : second.tablePage;
    this.levels = usesFirst || second === null ? firstLevels : second.levels;
    this.second = usesFirst ? second : null;
    return true;
  }

  private secondStage(): StageTables {
    const { secondUpdates, secondTablePage, secondLevels } = this.device;
    return {
      format: RISCV_SVX4,
      accessBits: bitsOf(secondUpdates),
      tablePage: secondTablePage,
      levels: secondLevels,
      endPage: Infinity,
    };
  }

  /** The memory behind a page of the process directory; -1 where the second stage has none. */
  private guestPage({ accessBits, tablePage, levels }: StageTables, page: number): number {
    const { secondWalker } = this;
    secondWalker.accessBits = accessBits;
    const found = secondWalker.walkFromRoot(this.domainId, page, false, tablePage, levels);
    this.lookupReads += secondWalker.reads;
    return found ? secondWalker.physPage(page) : -1;
  }
}

function bitsOf(updates: boolean): 'updated' | 'checked' {
  return updates ? 'updated' : 'checked';
}
