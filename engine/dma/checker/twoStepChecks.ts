/**
 * The checks that the two-step API lacks in the kernel, by the rules of Documentation/core-api/dma-api.rst: an offset linked
 * twice, a link outside the range or unaligned inside it, an unlink with other attributes or direction or of a hole, a range
 * freed with links in it, and a range destroyed with another length than was linked.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { DMA_ATTR_MMIO, type DmaDirection } from '../attributes.ts';
import type { DmaIovaState } from '../twoStep.ts';
import type { ApiChecker } from './apiChecker.ts';
import { CallHistory, type RecordedCall } from './callHistory.ts';
import type { CheckedDevice } from './checkedDevice.ts';
import type { MisuseKind } from './misuse.ts';
import { dmaDirectionName, where } from './misuseMessages.ts';
import { StateRecord, type LinkRecord } from './stateBook.ts';

export interface Piece {
  readonly offset: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
}

export class TwoStepChecks {
  private readonly checker: ApiChecker;

  constructor(checker: ApiChecker) {
    this.checker = checker;
  }

  allocated(owner: CheckedDevice, state: DmaIovaState, call: RecordedCall): void {
    const history = new CallHistory();
    history.add(call);
    // a range that the state still held is lost to its driver, and shows when the driver is unbound
    owner.addState(state, new StateRecord(state.address, state.size, history));
  }

  /** Null, after a report: the range is not allocated. */
  find(owner: CheckedDevice, state: DmaIovaState, call: RecordedCall): StateRecord | null {
    const record = owner.states.get(state);
    if (record !== null) return record;
    const message = `device driver calls ${call.name} on a range that is not allocated ${where(state.address, state.size)}`;
    const past = owner.states.lastAt(state.address);
    this.checker.report('stateNotInUse', message, owner.device, call, past?.history ?? null);
    return null;
  }

  link(owner: CheckedDevice, record: StateRecord, phys: number, piece: Piece, call: RecordedCall): void {
    const { offset, size } = piece;
    const place = where(record.address + offset, size);
    if (offset < 0 || offset + size > record.size) {
      const sizes = `[allocation size=${record.size} bytes] [link offset+size=${offset + size}]`;
      this.wrong(
        'linkOutside',
        `device driver links memory outside allocated range ${place} ${sizes}`,
        record,
        call,
        owner,
      );
    }
    if ((phys - (record.address + offset)) % PAGE_SIZE !== 0 || (offset > 0 && phys % PAGE_SIZE !== 0)) {
      const message = `device driver links memory inside a range that is not page aligned ${place} [addr=0x${phys.toString(16)}]`;
      this.wrong('linkUnaligned', message, record, call, owner);
    }
    const before = record.linkedIn(offset, size);
    if (before !== null) {
      const message = `device driver links an offset twice ${place} [linked offset=${before.offset}] [linked size=${before.size} bytes]`;
      this.wrong('linkTwice', message, record, call, owner);
    }
    record.history.add(call);
  }

  linked(record: StateRecord, piece: Piece): void {
    if (record.linkedIn(piece.offset, piece.size) === null) record.link({ range: record, ...piece });
  }

  sync(owner: CheckedDevice, record: StateRecord, offset: number, size: number, call: RecordedCall): void {
    if (offset < 0 || offset + size > record.size) {
      const sizes = `[allocation size=${record.size} bytes] [sync offset+size=${offset + size}]`;
      const message = `device driver syncs DMA memory outside allocated range ${where(record.address + offset, size)} ${sizes}`;
      this.wrong('syncOutsideRange', message, record, call, owner);
    }
    record.history.add(call);
    record.sync(offset, size);
  }

  unlink(owner: CheckedDevice, record: StateRecord, piece: Piece, call: RecordedCall): void {
    const { offset, size } = piece;
    const hole = record.holeIn(offset, size);
    if (hole !== -1) {
      const message = `device driver unlinks memory it has not linked ${where(record.address + offset, size)} [hole at offset=${hole}]`;
      this.wrong('unlinkHole', message, record, call, owner);
    }
    this.sameAttributes(owner, record, piece, call);
    record.history.add(call);
    record.unlink(offset, size);
  }

  destroy(owner: CheckedDevice, state: DmaIovaState, record: StateRecord, piece: Piece, call: RecordedCall): void {
    const length = piece.size;
    if (length !== record.linkedBytes) {
      const sizes = `[linked size=${record.linkedBytes} bytes] [destroy size=${length} bytes]`;
      const message = `device driver destroys a range with different length ${where(record.address, record.size)} ${sizes}`;
      this.wrong('destroyOtherLength', message, record, call, owner);
    } else if (length > 0) {
      const hole = record.holeIn(0, length);
      if (hole !== -1) {
        const message = `device driver unlinks memory it has not linked ${where(record.address, length)} [hole at offset=${hole}]`;
        this.wrong('unlinkHole', message, record, call, owner);
      }
    }
    if (length > 0) this.sameAttributes(owner, record, piece, call, this.freeBits(record));
    record.history.add(call);
    owner.removeState(state);
  }

  free(owner: CheckedDevice, state: DmaIovaState, record: StateRecord, call: RecordedCall): void {
    if (record.links.size > 0) {
      const message = `device driver frees a range with ${record.links.size} pages linked ${where(record.address, record.size)}`;
      this.wrong('freeWithLinks', message, record, call, owner);
    }
    record.history.add(call);
    owner.removeState(state);
  }

  /**
   * One range may hold RAM and peers' memory, which only DMA_ATTR_MMIO tells apart, and a destroy names one set of attributes for all of it:
   * of that bit nothing depends when a mapping of a coherent device goes (drivers/iommu/dma-iommu.c `__iommu_dma_iova_unlink`). The bits that
   * a destroy may differ in: that one where the range holds both, else none.
   */
  private freeBits(record: StateRecord): number {
    let both = 0;
    for (const { attributes } of record.links.values()) both |= 1 << ((attributes & DMA_ATTR_MMIO) === 0 ? 0 : 1);
    return both === 0b11 ? DMA_ATTR_MMIO : 0;
  }

  /** Direction and attributes of the first link that is not like the unlink. */
  private sameAttributes(owner: CheckedDevice, record: StateRecord, piece: Piece, call: RecordedCall, free = 0): void {
    let seen: LinkRecord | null = null;
    for (let page = record.pageOf(piece.offset); page <= record.lastPageOf(piece.offset, piece.size); page += 1) {
      const link = record.links.get(page);
      if (link === undefined || link === seen) continue;
      seen = link;
      if (link.direction === piece.direction && ((link.attributes ^ piece.attributes) & ~free) === 0) continue;
      const words =
        `[linked with ${dmaDirectionName(link.direction)} attrs=0x${link.attributes.toString(16)}] ` +
        `[unlinked with ${dmaDirectionName(piece.direction)} attrs=0x${piece.attributes.toString(16)}]`;
      const message = `device driver unlinks memory with different attributes ${where(record.address + link.offset, link.size)} ${words}`;
      this.wrong('unlinkOtherAttributes', message, record, call, owner);
      return;
    }
  }

  private wrong(
    kind: MisuseKind,
    message: string,
    record: StateRecord,
    call: RecordedCall,
    owner: CheckedDevice,
  ): void {
    this.checker.report(kind, message, owner.device, call, record.history);
  }
}
