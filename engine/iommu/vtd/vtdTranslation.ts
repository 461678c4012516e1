/**
 * What VT-d in scalable mode makes of one request, from source id and PASID to a page of memory, without caches and time: PASID entry, then
 * first stage, second stage, both, or neither, and the fault where one of them refuses (VT-d specification 3.4.3, 3.6 to 3.8). The first
 * stage's accessed and dirty bits are the hardware's to set, the second stage's if the PASID entry says so.
 * Leaves out: interrupt addresses, supervisor and execute requests.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_FAULT } from '../faults.ts';
import { READ_WRITE } from '../formats/pageTableFormat.ts';
import { VTD_FIRST_STAGE } from '../formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import { NestedWalker } from '../walk/nestedWalker.ts';
import { Walker } from '../walk/walker.ts';
import {
  PasidReader,
  TRANSLATION_FIRST_STAGE,
  TRANSLATION_PASS_THROUGH,
  TRANSLATION_SECOND_STAGE,
} from './pasidReader.ts';

export class VtdTranslation {
  /** Of the last request: the page, how many pages around it the answer covers, what is allowed, and why it was refused. */
  physPage = 0;
  pages = 1;
  permissions = 0;
  fault = NO_FAULT;
  /** The stage that refused, or 0: not a matter of tables. */
  faultStage: 0 | 1 | 2 = 0;
  /** Entries of page tables that were read. */
  tableReads = 0;
  /** What was read of the device: its tags and its entries. */
  readonly device: PasidReader;
  private readonly first: Walker;
  /** By whether the second stage's bits are set by hardware. */
  private readonly second: readonly [Walker, Walker];
  private readonly nested: readonly [NestedWalker, NestedWalker];
  private rootPage = -1;

  constructor(memory: PhysicalMemory) {
    this.device = new PasidReader(memory);
    this.first = new Walker(memory, VTD_FIRST_STAGE, 'updated');
    this.second = [new Walker(memory, VTD_SECOND_STAGE), new Walker(memory, VTD_SECOND_STAGE, 'updated')];
    this.nested = [
      new NestedWalker(memory, VTD_FIRST_STAGE, VTD_SECOND_STAGE, 'updated', 'ignored'),
      new NestedWalker(memory, VTD_FIRST_STAGE, VTD_SECOND_STAGE, 'updated', 'updated'),
    ];
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
    if (!device.read(this.rootPage, sourceId, pasid)) {
      this.fault = device.fault;
      return false;
    }
    const updates = device.secondUpdates ? 1 : 0;
    if (device.type === TRANSLATION_PASS_THROUGH) {
      this.physPage = iovaPage;
      this.pages = Infinity;
      this.permissions = READ_WRITE;
      return true;
    }
    if (device.type === TRANSLATION_SECOND_STAGE) {
      return this.walk(this.second[updates], iovaPage, write, device.secondTable, device.secondLevels, 2);
    }
    if (device.type === TRANSLATION_FIRST_STAGE) {
      return this.walk(this.first, iovaPage, write, device.firstTable, device.firstLevels, 1);
    }
    const nested = this.nested[updates];
    nested.setSecondStage(device.secondTable, device.secondLevels);
    const found = this.walk(nested, iovaPage, write, device.firstTable, device.firstLevels, 1);
    if (!found && nested.faultStage === 2) this.faultStage = 2;
    return found;
  }

  private walk(walker: Walker, iovaPage: number, write: boolean, table: number, levels: number, stage: 1 | 2): boolean {
    const { domainId } = this.device;
    const found = walker.walkFromRoot(domainId, iovaPage, write, table, levels);
    this.tableReads = walker.reads;
    if (!found) {
      this.fault = walker.fault;
      this.faultStage = stage;
      return false;
    }
    this.physPage = walker.physPage(iovaPage);
    this.pages = walker.coveredPages;
    this.permissions = walker.permissions;
    return true;
  }
}
