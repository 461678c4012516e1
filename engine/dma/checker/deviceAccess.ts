/**
 * The device's side of the checker: stands between fabric and IOMMU, and judges every access by what the driver has given the
 * device. An access to a link whose sync is still to come, or to what is not mapped any more, may work by luck: no present
 * entry was cached, or the IOTLB still holds the old one (Documentation/core-api/dma-api.rst). Each such page is reported
 * once, until it is mapped anew.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { Translator } from '../../pcie/translator.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { ApiChecker } from './apiChecker.ts';
import type { RecordedCall } from './callHistory.ts';
import type { CheckedDevice } from './checkedDevice.ts';
import { hex16 } from './misuseMessages.ts';
import { StateRecord } from './stateBook.ts';

export class CheckedTranslator implements Translator {
  private readonly inner: Translator;
  private readonly checker: ApiChecker;
  private readonly devices = new Map<number, CheckedDevice>();
  /** Pages that were reported, by requester and page, with what they belonged to then. */
  private readonly reported = new Map<number, unknown>();

  /** Ranges that were reported, with the number of calls that had touched them then. */
  private readonly reportedAfter = new WeakMap<StateRecord, number>();

  constructor(inner: Translator, checker: ApiChecker) {
    this.inner = inner;
    this.checker = checker;
  }

  get physPage(): number {
    return this.inner.physPage;
  }

  get readyAt(): Picoseconds {
    return this.inner.readyAt;
  }

  watch(owner: CheckedDevice): void {
    this.devices.set(owner.device.sourceId, owner);
  }

  translate(sourceId: number, iovaPage: number, write: boolean, accesses: number, at: Picoseconds): boolean {
    const owner = this.devices.get(sourceId);
    if (owner?.pages !== undefined && owner.pages !== null) this.judge(owner, owner.pages, iovaPage, write, at);
    return this.inner.translate(sourceId, iovaPage, write, accesses, at);
  }

  private judge(
    owner: CheckedDevice,
    pages: NonNullable<CheckedDevice['pages']>,
    page: number,
    write: boolean,
    at: Picoseconds,
  ): void {
    const use = pages.get(page);
    if (use !== undefined && !(use instanceof StateRecord)) return;
    const inRange = use === undefined ? -1 : page - use.firstPage;
    const link = use?.links.get(inRange);
    if (link !== undefined && use?.synced.has(inRange) === true) return;
    const key = owner.device.sourceId * 2 ** 36 + page;
    const belongs = link ?? use;
    if (this.reported.has(key) && this.reported.get(key) === belongs) return;
    this.reported.set(key, belongs);
    // A burst over the pages of one request is one mistake.
    if (use !== undefined && this.reportedAfter.get(use) === use.history.total) return;
    if (use !== undefined) this.reportedAfter.set(use, use.history.total);
    const address = page * PAGE_SIZE;
    const verb = write ? 'writes' : 'reads';
    const call: RecordedCall = { at, cpu: -1, name: `device ${verb}`, arguments: { addr: address } };
    const place = `[device address=0x${hex16(address)}]`;
    if (link !== undefined) {
      const message = `device ${verb} memory that its driver has linked and not synced ${place}`;
      this.checker.report('useBeforeSync', message, owner.device, call, use?.history ?? null);
      return;
    }
    const past = use ?? owner.states.lastAt(address) ?? owner.mappings.lastAt(address);
    const message = `device ${verb} memory that is not mapped for it ${place}`;
    this.checker.report('useAfterUnmap', message, owner.device, call, past?.history ?? null);
  }
}
