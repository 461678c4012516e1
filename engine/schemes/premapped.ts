/**
 * Buffers that are mapped once, before the first request, and stay mapped (registered buffers of io_uring with DMA mappings kept: the
 * series "dma token" and "dma-buf backed buffers" on linux-block, 2022 and 2025). A request then only looks up where its
 * pages are; nothing is mapped, synchronised with the hardware or invalidated on its way. The price is memory that the
 * device reaches for as long as the buffers are registered, and a scatterlist for each of them.
 * A buffer is one `dma_map_sg`, so behind an IOMMU its pages lie side by side for the device.
 * Leaves out: requests outside registered buffers, which end in an error; limits on registered memory.
 */
import { DMA_BIDIRECTIONAL, type DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { dmaAddr, PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { SCATTERLIST_ENTRY_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import type { BlockStatus, MappingScheme } from './scheme.ts';

export class PremappedScheme implements MappingScheme {
  readonly name = 'premapped';
  heldBytes = 0;
  private readonly dma: DmaApi;
  private readonly device: DmaDevice;
  private readonly lists: ScatterList[] = [];
  /** Where the device finds a physical page. */
  private readonly busPages = new Map<number, number>();

  constructor(dma: DmaApi, device: DmaDevice) {
    this.dma = dma;
    this.device = device;
  }

  registerBuffer(cpu: Cpu, pages: Float64Array, attributes = 0): BlockStatus {
    const list = new ScatterList(pages.length);
    for (const page of pages) list.add(physAddr(page * PAGE_SIZE), PAGE_SIZE);
    const mapped = this.dma.dmaMapSg(cpu, this.device, list, DMA_BIDIRECTIONAL, attributes);
    if (mapped <= 0) return 'resource';
    this.lists.push(list);
    this.heldBytes += list.count * SCATTERLIST_ENTRY_BYTES;
    let index = 0;
    for (let entry = 0; entry < mapped; entry += 1) {
      const first = list.dmaAddress[entry]! / PAGE_SIZE;
      const count = list.dmaLength[entry]! / PAGE_SIZE;
      for (let page = 0; page < count; page += 1, index += 1) this.busPages.set(pages[index]!, first + page);
    }
    return 'ok';
  }

  mapStart(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    mapped.reset();
    for (let index = 0; index < request.vectorCount; index += 1) {
      if (!this.addVector(request.vectorPhys[index]!, request.vectorLength[index]!, mapped)) {
        mapped.status = 'ioerr';
        return 'ioerr';
      }
    }
    mapped.mappedBy = 'premapped';
    mapped.vectorsMapped = request.vectorCount;
    if (!this.device.dmaSkipSync) this.syncPages(cpu, request.direction, mapped, 'device');
    return 'ok';
  }

  mapNext(): boolean {
    return false;
  }

  keepVectors(): void {
    // the lists of the buffers hold what the unmap needs
  }

  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    if (mapped.mappedBy === 'premapped' && !this.device.dmaSkipSync) this.syncPages(cpu, direction, mapped, 'cpu');
    mapped.mappedBy = 'nothing';
  }

  release(cpu: Cpu): void {
    for (const list of this.lists) this.dma.dmaUnmapSg(cpu, this.device, list, DMA_BIDIRECTIONAL, 0);
    this.lists.length = 0;
    this.busPages.clear();
    this.heldBytes = 0;
  }

  /** Adds a vector, which lies side by side in memory, in as few ranges as the device sees. */
  private addVector(phys: number, length: number, mapped: MappedRequest): boolean {
    for (let done = 0; done < length;) {
      const offset = (phys + done) % PAGE_SIZE;
      const busPage = this.busPages.get((phys + done - offset) / PAGE_SIZE);
      if (busPage === undefined) return false;
      const part = Math.min(length - done, PAGE_SIZE - offset);
      mapped.extendRange(busPage * PAGE_SIZE + offset, part);
      done += part;
    }
    return true;
  }

  /** Page by page, since each page of a buffer may have a bounce buffer of its own. */
  private syncPages(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest, reader: 'cpu' | 'device'): void {
    const { dma, device } = this;
    for (let index = 0; index < mapped.count; index += 1) {
      const end = mapped.address[index]! + mapped.length[index]!;
      for (let at = mapped.address[index]!; at < end;) {
        const part = Math.min(end - at, PAGE_SIZE - (at % PAGE_SIZE));
        if (reader === 'cpu') dma.dmaSyncSingleForCpu(cpu, device, dmaAddr(at), part, direction);
        else dma.dmaSyncSingleForDevice(cpu, device, dmaAddr(at), part, direction);
        at += part;
      }
    }
  }
}
