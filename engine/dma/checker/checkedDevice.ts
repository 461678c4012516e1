/**
 * What the checker knows of one device: its mappings, its ranges of the two-step API, and, behind an IOMMU, which of them
 * each page of IOVA belongs to, so that an access of the device can be judged.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { DmaDevice } from '../device.ts';
import type { DmaIovaState } from '../twoStep.ts';
import type { ApiChecker } from './apiChecker.ts';
import { CacheLines } from './cacheLines.ts';
import { MappingBook, type MappingEntry } from './mappingBook.ts';
import { StateBook, type StateRecord } from './stateBook.ts';

export class CheckedDevice {
  readonly device: DmaDevice;
  readonly mappings = new MappingBook();
  readonly states = new StateBook();
  readonly cacheLines = new CacheLines();
  /** By page of IOVA; null without translation, where pages of several mappings coincide. */
  readonly pages: Map<number, MappingEntry | StateRecord> | null;
  private readonly checker: ApiChecker;

  constructor(device: DmaDevice, checker: ApiChecker, translated: boolean) {
    this.device = device;
    this.checker = checker;
    this.pages = translated ? new Map() : null;
  }

  /** Returns the other mappings of the cache line in which the new one begins. */
  addMapping(entry: MappingEntry): readonly MappingEntry[] {
    this.checker.takeEntry();
    this.mappings.add(entry);
    this.own(entry, entry.address, entry.size);
    return entry.type === 'coherent' ? [] : this.cacheLines.insert(entry);
  }

  removeMapping(entry: MappingEntry): void {
    this.checker.returnEntry();
    this.mappings.remove(entry);
    this.disown(entry, entry.address, entry.size);
    if (entry.type !== 'coherent') this.cacheLines.remove(entry);
  }

  addState(state: DmaIovaState, record: StateRecord): void {
    this.checker.takeEntry();
    this.states.add(state, record);
    this.own(record, record.address, record.size);
  }

  removeState(state: DmaIovaState): void {
    const record = this.states.get(state);
    if (record === null) return;
    this.checker.returnEntry();
    this.states.remove(state);
    this.disown(record, record.address, record.size);
  }

  private own(owner: MappingEntry | StateRecord, address: number, size: number): void {
    if (this.pages === null) return;
    for (let page = pageOf(address); page <= pageOf(address + size - 1); page += 1) this.pages.set(page, owner);
  }

  private disown(owner: MappingEntry | StateRecord, address: number, size: number): void {
    if (this.pages === null) return;
    for (let page = pageOf(address); page <= pageOf(address + size - 1); page += 1) {
      if (this.pages.get(page) === owner) this.pages.delete(page);
    }
  }
}

function pageOf(address: number): number {
  return Math.floor(address / PAGE_SIZE);
}
