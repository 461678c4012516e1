/**
 * A buffer that one driver owns and others use (Linux drivers/dma-buf/dma-buf.c): the exporter knows the memory and maps it,
 * importers attach their device and get its DMA addresses. A dynamic importer can be told to let go (`invalidate_mappings`), so
 * the memory may move or go away under it; a static one keeps the memory where it is.
 * Beyond the kernel: an attachment may ask for the physical ranges instead of a scatterlist (rangeMapping.ts), and an importer
 * may promise that its invalidation is done when the call returns.
 * Leaves out: file descriptors, mmap and vmap, signals that interrupt a wait.
 */
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import type { DmaDirection } from '../attributes.ts';
import type { DmaDevice } from '../device.ts';
import type { DmaApi } from '../dmaApi.ts';
import { EDEADLK, EOPNOTSUPP, ETIMEDOUT } from '../errno.ts';
import type { ScatterList } from '../scatterList.ts';
import type { PhysicalRange } from './physicalRange.ts';
import { RESERVATION_USAGE, ReservationObject, type FenceWait } from './reservation.ts';

/** `struct dma_buf_ops`. Errors are negative errnos. All but attach, detach and release run with the reservation lock held. */
export interface DmaBufExporter {
  /** May refuse a device, or clear `peer2peer`. */
  attach?(attachment: DmaBufAttachment): number;
  detach?(attachment: DmaBufAttachment): void;
  /** Keeps the memory where it is until `unpin`. Exporters without it never move. */
  pin?(cpu: Cpu, attachment: DmaBufAttachment): number;
  unpin?(cpu: Cpu, attachment: DmaBufAttachment): void;
  map(cpu: Cpu, attachment: DmaBufAttachment, direction: DmaDirection): ScatterList | number;
  unmap(cpu: Cpu, attachment: DmaBufAttachment, list: ScatterList, direction: DmaDirection): void;
  /** The memory as it lies now, for importers that map it themselves; they hold it until `putRanges`. */
  getRanges?(cpu: Cpu, attachment: DmaBufAttachment): readonly PhysicalRange[] | number;
  putRanges?(cpu: Cpu, attachment: DmaBufAttachment, ranges: readonly PhysicalRange[]): void;
  release?(cpu: Cpu): void;
}

/** `struct dma_buf_attach_ops`: what makes an importer dynamic. */
export interface DmaBufImporter {
  readonly allowPeer2peer: boolean;
  /**
   * The mappings lose their meaning; the lock is held. When it returns the device may still be at work, until the fences
   * of the buffer are signalled.
   */
  invalidateMappings?(cpu: Cpu, attachment: DmaBufAttachment): void;
  /** When `invalidateMappings` returns, the device has stopped and the mappings are gone. */
  readonly invalidatesSynchronously?: boolean;
}

/** `struct dma_buf_attachment`. */
export class DmaBufAttachment {
  readonly buffer: DmaBuf;
  readonly api: DmaApi;
  readonly device: DmaDevice;
  /** Null: static. */
  readonly importer: DmaBufImporter | null;
  /** The importer takes memory of another device, and the exporter has not said otherwise. */
  peer2peer: boolean;
  /** Mappings and range lists that the importer holds. */
  mappings = 0;

  constructor(buffer: DmaBuf, api: DmaApi, device: DmaDevice, importer: DmaBufImporter | null) {
    this.buffer = buffer;
    this.api = api;
    this.device = device;
    this.importer = importer;
    this.peer2peer = importer?.allowPeer2peer ?? false;
  }

  /** `dma_buf_attach_revocable`: whether access can be taken away. It asks the importer's word, nothing more. */
  get revocable(): boolean {
    return this.importer?.invalidateMappings !== undefined;
  }
}

export interface DmaBufOptions {
  readonly name: string;
  readonly size: number;
  readonly exporter: DmaBufExporter;
  /** What passes while somebody waits; null: nothing does, and a wait for an unsignalled fence fails. */
  readonly events: EventQueue | null;
}

export class DmaBuf {
  readonly name: string;
  readonly size: number;
  readonly exporter: DmaBufExporter;
  readonly events: EventQueue | null;
  readonly reservation: ReservationObject;
  private readonly attached: DmaBufAttachment[] = [];

  constructor(options: DmaBufOptions) {
    this.name = options.name;
    this.size = options.size;
    this.exporter = options.exporter;
    this.events = options.events;
    this.reservation = new ReservationObject(options.name);
  }

  get attachments(): readonly DmaBufAttachment[] {
    return this.attached;
  }

  /** `dma_buf_attach` (importer null) and `dma_buf_dynamic_attach`. */
  attach(api: DmaApi, device: DmaDevice, importer: DmaBufImporter | null): DmaBufAttachment | number {
    const attachment = new DmaBufAttachment(this, api, device, importer);
    const error = this.exporter.attach?.(attachment) ?? 0;
    if (error !== 0) return error;
    this.reservation.withLock(() => this.attached.push(attachment));
    return attachment;
  }

  /** `dma_buf_detach`; every mapping must be gone. */
  detach(attachment: DmaBufAttachment): void {
    const { device, mappings } = attachment;
    if (mappings > 0)
      throw new Error(`${device.name} detaches from ${this.name} with ${String(mappings)} live mappings`);
    this.reservation.withLock(() => {
      const index = this.attached.indexOf(attachment);
      if (index === -1) throw new Error(`${device.name} is not attached to ${this.name}`);
      this.attached.splice(index, 1);
    });
    this.exporter.detach?.(attachment);
  }

  /** `dma_buf_pin`: only dynamic importers have the choice. */
  pin(cpu: Cpu, attachment: DmaBufAttachment): number {
    this.reservation.assertHeld('dma_buf_pin');
    this.assertDynamic('dma_buf_pin', attachment);
    return this.exporter.pin?.(cpu, attachment) ?? 0;
  }

  unpin(cpu: Cpu, attachment: DmaBufAttachment): void {
    this.reservation.assertHeld('dma_buf_unpin');
    this.assertDynamic('dma_buf_unpin', attachment);
    this.exporter.unpin?.(cpu, attachment);
  }

  /**
   * `dma_buf_map_attachment`. A static importer waits here for the kernel's own work on the memory; a dynamic one must do so
   * itself before its device starts.
   */
  mapAttachment(cpu: Cpu, attachment: DmaBufAttachment, direction: DmaDirection): ScatterList | number {
    this.reservation.assertHeld('dma_buf_map_attachment');
    const { exporter } = this;
    const isStatic = attachment.importer === null;
    if (isStatic) {
      const error = exporter.pin?.(cpu, attachment) ?? 0;
      if (error !== 0) return error;
    }
    const list = exporter.map(cpu, attachment, direction);
    if (typeof list === 'number') {
      if (isStatic) exporter.unpin?.(cpu, attachment);
      return list;
    }
    if (isStatic) {
      const error = errorOfWait(this.reservation.wait(cpu, RESERVATION_USAGE.kernel, this.events));
      if (error !== 0) {
        exporter.unmap(cpu, attachment, list, direction);
        exporter.unpin?.(cpu, attachment);
        return error;
      }
    }
    attachment.mappings += 1;
    return list;
  }

  /** `dma_buf_unmap_attachment`. */
  unmapAttachment(cpu: Cpu, attachment: DmaBufAttachment, list: ScatterList, direction: DmaDirection): void {
    this.reservation.assertHeld('dma_buf_unmap_attachment');
    this.exporter.unmap(cpu, attachment, list, direction);
    attachment.mappings -= 1;
    if (attachment.importer === null) this.exporter.unpin?.(cpu, attachment);
  }

  /** The physical ranges of the buffer, in order, held until `putRanges`; only for importers that can be told to let go. */
  getRanges(cpu: Cpu, attachment: DmaBufAttachment): readonly PhysicalRange[] | number {
    this.reservation.assertHeld('get_ranges');
    const { exporter } = this;
    if (!attachment.revocable || exporter.getRanges === undefined) return EOPNOTSUPP;
    const ranges = exporter.getRanges(cpu, attachment);
    if (typeof ranges !== 'number') attachment.mappings += 1;
    return ranges;
  }

  putRanges(cpu: Cpu, attachment: DmaBufAttachment, ranges: readonly PhysicalRange[]): void {
    this.reservation.assertHeld('put_ranges');
    this.exporter.putRanges?.(cpu, attachment, ranges);
    attachment.mappings -= 1;
  }

  /** `dma_buf_invalidate_mappings` (`dma_buf_move_notify` before 7.0): for exporters. The waits that follow are theirs. */
  invalidateMappings(cpu: Cpu): void {
    this.reservation.assertHeld('dma_buf_invalidate_mappings');
    for (const attachment of this.attached) {
      const { importer, device } = attachment;
      importer?.invalidateMappings?.(cpu, attachment);
      if (importer?.invalidatesSynchronously === true && attachment.mappings > 0) {
        throw new Error(`${device.name} promised to let go of ${this.name} at once, and still maps it`);
      }
    }
  }

  /** `dma_buf_put` of the last reference. */
  release(cpu: Cpu): void {
    if (this.attached.length > 0) throw new Error(`${this.name} is released while devices are attached`);
    this.exporter.release?.(cpu);
  }

  private assertDynamic(call: string, attachment: DmaBufAttachment): void {
    if (attachment.importer === null)
      throw new Error(`${call} by ${attachment.device.name}, which attached statically`);
  }
}

/** A wait as the error that its caller returns: what never ends is a deadlock. */
export function errorOfWait(outcome: FenceWait): number {
  switch (outcome) {
    case 'signalled':
      return 0;
    case 'timed_out':
      return ETIMEDOUT;
    case 'would_wait':
      return EDEADLK;
  }
}
