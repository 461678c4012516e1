/**
 * A region over a buffer that another driver exports and may move (Linux drivers/infiniband/core/umem_dmabuf.c: `ib_umem_dmabuf_get`,
 * `ib_umem_dmabuf_map_pages`, `ib_umem_dmabuf_unmap_pages`; drivers/infiniband/hw/mlx5/odp.c `pagefault_dmabuf_mr`; mr.c
 * `mlx5_ib_dmabuf_invalidate_cb`): attached dynamically, mapped when the adapter first misses it, taken from the adapter when the exporter says
 * that the memory is on its way. How it is mapped is a scheme's business; the kernel's exporters build a scatterlist, the proposal of the thread
 * goes without.
 * Leaves out: buffers pinned for adapters without page faults (`ib_umem_dmabuf_get_pinned`), parts of a buffer.
 */
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaBuf, DmaBufAttachment, DmaBufImporter } from '../../dma/dmaBuf/dmaBuf.ts';
import type { PhysicalRange } from '../../dma/dmaBuf/physicalRange.ts';
import { RESERVATION_USAGE } from '../../dma/dmaBuf/reservation.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { EINVAL } from '../../dma/errno.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { MappedRequest } from '../../schemes/mappedRequest.ts';
import { MappingRequest } from '../../schemes/mappingRequest.ts';
import type { MappingScheme } from '../../schemes/scheme.ts';
import type { Cpu } from '../../time/cpu.ts';
import { fillPageAddresses } from './bestPageSize.ts';
import type { OdpAdapter } from './odpAdapter.ts';

export interface DmabufRegionOptions {
  readonly buffer: DmaBuf;
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly adapter: OdpAdapter;
  readonly key: number;
  /** The adapter's address of the buffer, in pages. */
  readonly firstPage: number;
  readonly writable: boolean;
  readonly scheme: MappingScheme;
  /** Told what mapping and unmapping took, in picoseconds, and how many pages there are. */
  readonly onMapped: (cpu: Cpu, duration: number, pages: number) => void;
  readonly onUnmapped: (cpu: Cpu, duration: number, pages: number) => void;
  /** Of the scheme, beside pages and the adapter's table. */
  readonly onBookkeeping: (cpu: Cpu, deltaBytes: number) => void;
}

const READ = 1;
const WRITE = 2;

export class DmabufRegion implements DmaBufImporter {
  readonly allowPeer2peer = true;
  readonly invalidatesSynchronously = true;
  readonly key: number;
  /** Why it could not be mapped, for people; empty: it could. */
  refusal = '';
  private readonly options: DmabufRegionOptions;
  private readonly pages: number;
  private attachment: DmaBufAttachment | null = null;
  private ranges: readonly PhysicalRange[] | null = null;
  private readonly request = new MappingRequest();
  private mapped = MappedRequest.empty(1);
  private held = 0;

  private constructor(options: DmabufRegionOptions) {
    this.options = options;
    this.key = options.key;
    this.pages = options.buffer.size / PAGE_SIZE;
  }

  /** Attached, with a key without entries; or a negative errno. */
  static get(options: DmabufRegionOptions): DmabufRegion | number {
    const { buffer, api, device, adapter, key, firstPage } = options;
    const region = new DmabufRegion(options);
    const attachment = buffer.attach(api, device, region);
    if (typeof attachment === 'number') return attachment;
    region.attachment = attachment;
    adapter.addRegion(key, firstPage, region.pages);
    return region;
  }

  /** Whoever holds the buffer's lock is on it; ask again. */
  get isLocked(): boolean {
    return this.options.buffer.reservation.locked;
  }

  /** Maps the buffer as it lies, waits for copies into it, and fills the adapter's table: 0 or a negative errno. */
  populate(cpu: Cpu): number {
    const { buffer, adapter, writable, firstPage } = this.options;
    const { reservation } = buffer;
    return reservation.withLock(() => {
      if (this.ranges === null) {
        const error = this.map(cpu);
        if (error !== 0) return error;
      }
      reservation.wait(cpu, RESERVATION_USAGE.kernel, buffer.events);
      const addresses = new Float64Array(this.pages);
      fillPageAddresses(this.mapped, firstPage * PAGE_SIZE, 0, buffer.size, PAGE_SIZE, addresses);
      const access = new Uint8Array(this.pages).fill(writable ? READ | WRITE : READ);
      adapter.writeEntries(this.key, firstPage, addresses, access, this.pages);
      cpu.spend(adapter.updateTime(this.pages));
      return 0;
    });
  }

  /** `mlx5_ib_dmabuf_invalidate_cb`: the adapter first, then the mapping. */
  invalidateMappings(cpu: Cpu): void {
    if (this.ranges === null) return;
    const { adapter, firstPage, buffer, scheme } = this.options;
    cpu.spend(adapter.updateTime(this.pages));
    adapter.zap(this.key, firstPage, this.pages);
    if (buffer.events !== null) cpu.begin(buffer.events.now);
    const before = cpu.now;
    scheme.unmap(cpu, DMA_BIDIRECTIONAL, this.mapped);
    scheme.release(cpu);
    this.options.onUnmapped(cpu, cpu.now - before, this.pages);
    this.weigh(cpu, 0);
    buffer.putRanges(cpu, this.attachment!, this.ranges);
    this.ranges = null;
  }

  /** Messages of the region must have ended. */
  destroy(cpu: Cpu): void {
    const { buffer, adapter } = this.options;
    buffer.reservation.withLock(() => {
      this.invalidateMappings(cpu);
    });
    buffer.detach(this.attachment!);
    adapter.removeRegion(this.key);
  }

  private map(cpu: Cpu): number {
    const { buffer, scheme } = this.options;
    const ranges = buffer.getRanges(cpu, this.attachment!);
    if (typeof ranges === 'number') {
      this.refusal = 'the exporter does not let its memory be mapped by whoever uses it';
      return ranges;
    }
    const { request } = this;
    request.reset(DMA_BIDIRECTIONAL);
    for (const { phys, length } of ranges) request.addSeparateVector(phys, length);
    request.segments = request.vectorCount;
    const pages = pagesOf(ranges, this.pages);
    this.mapped = MappedRequest.empty(Math.max(1, request.vectorCount));
    const { mapped } = this;
    const before = cpu.now;
    mapped.status = scheme.registerBuffer(cpu, pages, 0);
    if (mapped.status === 'ok') mapped.status = scheme.mapStart(cpu, request, mapped);
    if (mapped.status === 'ok') while (scheme.mapNext(cpu, request, mapped));
    if (mapped.status !== 'ok') {
      this.refusal = mapped.refusal === '' ? `${scheme.name} could not map the buffer` : mapped.refusal;
      scheme.unmap(cpu, DMA_BIDIRECTIONAL, mapped);
      scheme.release(cpu);
      buffer.putRanges(cpu, this.attachment!, ranges);
      return EINVAL;
    }
    scheme.keepVectors(mapped);
    this.options.onMapped(cpu, cpu.now - before, this.pages);
    this.weigh(cpu, mapped.bookkeepingBytes + scheme.heldBytes);
    this.ranges = ranges;
    return 0;
  }

  private weigh(cpu: Cpu, bytes: number): void {
    this.options.onBookkeeping(cpu, bytes - this.held);
    this.held = bytes;
  }
}

function pagesOf(ranges: readonly PhysicalRange[], count: number): Float64Array {
  const pages = new Float64Array(count);
  let at = 0;
  for (const { phys, length } of ranges) {
    for (let done = 0; done < length; done += PAGE_SIZE) {
      pages[at] = (phys + done) / PAGE_SIZE;
      at += 1;
    }
  }
  return pages;
}
