/**
 * Maps a buffer that is any mixture of RAM and peers' memory, straight from its list of physical ranges: one allocation of IOVA
 * for all that needs IOVA, one link for each range with the attributes of its kind, one synchronisation; bus addresses are
 * only written down (proposed on the kernel's lists in March 2024, "Split IOMMU DMA mapping operation to two steps": one memory
 * region of a hodge-podge of kinds, without a scatterlist in between). Without an IOMMU each range is mapped by itself.
 * The result is what a device's page list is built from: runs of device addresses in the buffer's order.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { P2pdmaMapState, type P2pdmaMapType } from '../../pcie/p2pdma.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_ATTR_MMIO, type DmaDirection } from '../attributes.ts';
import type { DmaDevice } from '../device.ts';
import type { DmaApi } from '../dmaApi.ts';
import { EINVAL, ENOMEM, EREMOTEIO } from '../errno.ts';
import { DmaIovaState } from '../twoStep.ts';
import type { PhysicalRange } from './physicalRange.ts';

/** Addresses that follow each other for the device. */
export interface DeviceRun {
  readonly address: number;
  readonly length: number;
}

/** One physical range, mapped or on its way there. */
interface MappedRange {
  readonly range: PhysicalRange;
  readonly type: P2pdmaMapType;
  /** Attributes of link and unlink, which must be the same. */
  readonly attributes: number;
  /** Byte in the range of IOVA; of those that have one. */
  readonly offset: number;
  /** Valid once mapped. */
  address: number;
}

export class RangeMapping {
  readonly state = new DmaIovaState();
  /** What the device is told, in the buffer's order; neighbours are joined. */
  readonly runs: DeviceRun[] = [];
  /** Times that the topology was asked for a way to a peer. */
  p2pLookups = 0;
  private readonly api: DmaApi;
  private readonly device: DmaDevice;
  private readonly direction: DmaDirection;
  private readonly attributes: number;
  /** Those before `mapped` need unmapping. */
  private readonly ranges: MappedRange[] = [];
  private mapped = 0;

  constructor(api: DmaApi, device: DmaDevice, direction: DmaDirection, attributes = 0) {
    this.api = api;
    this.device = device;
    this.direction = direction;
    this.attributes = attributes;
  }

  /** Bytes of IOVA in use. */
  get iovaBytes(): number {
    return this.state.size;
  }

  /** 0 or a negative errno, which leaves nothing mapped. A peer that can't be reached is -EREMOTEIO, as in dma_map_sg. */
  map(cpu: Cpu, ranges: readonly PhysicalRange[]): number {
    if (this.ranges.length > 0) throw new Error(`${this.device.name}: a list of ranges is mapped already`);
    let error = this.classify(ranges);
    if (error !== 0) {
      this.ranges.length = 0;
      return error;
    }
    const last = this.ranges.findLast((entry) => entry.type !== 'bus_addr');
    const iovaBytes = last === undefined ? 0 : last.offset + last.range.length;
    const linking = iovaBytes > 0 && this.api.dmaIovaTryAlloc(cpu, this.device, this.state, 0, iovaBytes);
    for (const entry of this.ranges) {
      error = linking ? this.linkRange(cpu, entry) : this.mapRange(cpu, entry);
      if (error !== 0) break;
      this.mapped += 1;
    }
    if (error === 0 && linking) error = this.api.dmaIovaSync(cpu, this.device, this.state, 0, iovaBytes);
    if (error === 0) for (const entry of this.ranges) this.addRun(entry.address, entry.range.length);
    else this.unmap(cpu);
    return error;
  }

  /** Takes everything back; may be mapped again afterwards. */
  unmap(cpu: Cpu): void {
    if (this.state.inUse) this.unlinkAll(cpu);
    else this.unmapAll(cpu);
    this.state.reset();
    this.ranges.length = 0;
    this.runs.length = 0;
    this.mapped = 0;
  }

  /** The device's address of a byte of the buffer; -1 past its end. */
  addressOf(offset: number): number {
    let left = offset;
    for (const { address, length } of this.runs) {
      if (left < length) return address + left;
      left -= length;
    }
    return -1;
  }

  private classify(ranges: readonly PhysicalRange[]): number {
    const p2p = new P2pdmaMapState();
    let offset = 0;
    for (const range of ranges) {
      if (range.phys % PAGE_SIZE !== 0 || range.length % PAGE_SIZE !== 0 || range.length === 0) return EINVAL;
      const type = p2p.resolve(this.api.p2pdma, range.provider, this.device.sourceId);
      this.p2pLookups = p2p.lookups;
      if (type === 'not_supported') return EREMOTEIO;
      const attributes = this.attributes | (type === 'thru_host_bridge' ? DMA_ATTR_MMIO : 0);
      this.ranges.push({ range, type, attributes, offset, address: 0 });
      if (type !== 'bus_addr') offset += range.length;
    }
    return 0;
  }

  private linkRange(cpu: Cpu, entry: MappedRange): number {
    const { range, offset, attributes } = entry;
    if (entry.type === 'bus_addr') return recordBusAddress(entry);
    entry.address = this.state.address + offset;
    return this.api.dmaIovaLink(
      cpu,
      this.device,
      this.state,
      range.phys,
      offset,
      range.length,
      this.direction,
      attributes,
    );
  }

  private mapRange(cpu: Cpu, entry: MappedRange): number {
    const { range, attributes } = entry;
    if (entry.type === 'bus_addr') return recordBusAddress(entry);
    const { api, device } = this;
    entry.address = api.dmaMapPhys(cpu, device, range.phys, range.length, this.direction, attributes);
    return api.dmaMappingError(device, entry.address) ? ENOMEM : 0;
  }

  /** Neighbours of one kind go together: each unlink costs a flush. One kind only is a destroy, which may be lazy. */
  private unlinkAll(cpu: Cpu): void {
    const { api, device, state, direction } = this;
    const linked = this.ranges.slice(0, this.mapped).filter((entry) => entry.type !== 'bus_addr');
    const first = linked[0];
    const end = linked.at(-1);
    if (first === undefined || end === undefined) {
      api.dmaIovaFree(cpu, device, state);
      return;
    }
    const bytes = end.offset + end.range.length;
    if (linked.every((entry) => entry.attributes === first.attributes)) {
      api.dmaIovaDestroy(cpu, device, state, bytes, direction, first.attributes);
      return;
    }
    let start = first;
    for (const entry of linked) {
      if (entry.attributes === start.attributes) continue;
      api.dmaIovaUnlink(cpu, device, state, start.offset, entry.offset - start.offset, direction, start.attributes);
      start = entry;
    }
    api.dmaIovaUnlink(cpu, device, state, start.offset, bytes - start.offset, direction, start.attributes);
    api.dmaIovaFree(cpu, device, state);
  }

  private unmapAll(cpu: Cpu): void {
    const { api, device } = this;
    if (!api.dmaNeedUnmap(device)) return;
    for (const { type, range, address, attributes } of this.ranges.slice(0, this.mapped)) {
      if (type === 'bus_addr') continue;
      api.dmaUnmapPhys(cpu, device, address, range.length, this.direction, attributes);
    }
  }

  private addRun(address: number, length: number): void {
    const last = this.runs.at(-1);
    if (last !== undefined && last.address + last.length === address) {
      this.runs[this.runs.length - 1] = { address: last.address, length: last.length + length };
    } else {
      this.runs.push({ address, length });
    }
  }
}

function recordBusAddress(entry: MappedRange): 0 {
  entry.address = entry.range.phys + (entry.range.provider?.busOffset ?? 0);
  return 0;
}
