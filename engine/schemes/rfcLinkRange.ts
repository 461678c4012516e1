/**
 * The first form of the two-step API, before it had a sync: IOVA for the worst case, then `dma_link_range` for each piece, which maps as
 * `dma_map_page` does into an address that is there already, and `dma_unlink_range` for each (RFC of March 2024, "Split IOMMU DMA mapping
 * operation to two steps", patches 4 to 6). Each link synchronises by itself; each unlink flushes by itself in a strict domain, and in a lazy one
 * leaves that to the flush queue, into which the range goes at the end. The driver walks its own pieces again to unlink them.
 * Known from the patches, not from a kernel that ran: `dma_map_page` of that time knew no peers' memory, so a peer is refused here.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaIommu } from '../dma/dmaIommu.ts';
import { PAGE_OFFSET } from '../dma/pageOffset.ts';
import { pageAlign } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { wayOf } from './peerVectors.ts';
import { RangeScheme } from './rangeScheme.ts';

export class RfcLinkRangeScheme extends RangeScheme {
  readonly name = 'rfc_link_range';

  protected override accepts(request: MappingRequest, mapped: MappedRequest): boolean {
    for (let index = 0; index < request.vectorCount; index += 1) {
      if (wayOf(mapped, index) === 'none') continue;
      mapped.refuse(
        `Vector ${index}, at physical address 0x${request.vectorPhys[index]!.toString(16)}, is a peer’s memory: dma_link_range of ` +
          'the RFC maps as dma_map_page did, and that knew RAM only.',
      );
      return false;
    }
    return true;
  }

  protected reserve(cpu: Cpu, mapped: MappedRequest, phys: number, bytes: number): boolean {
    const iommu = this.dma.translatedDevice(this.device);
    mapped.iova.reset();
    mapped.pieces.length = 0;
    if (iommu === null) return false;
    // dma_alloc_iova takes no offset: one page more where the first piece begins inside a page
    const offset = phys & PAGE_OFFSET;
    cpu.spend(iommu.costs.iovaTryAllocCall);
    const start = iommu.allocIova(cpu, pageAlign(bytes + offset), this.device.dmaMask);
    if (start === 0) return false;
    mapped.iova.address = start + offset;
    mapped.iova.size = bytes;
    return true;
  }

  protected enter(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
  ): number {
    const iommu = this.dma.translatedDevice(this.device)!;
    const pad = phys & PAGE_OFFSET;
    const start = mapped.iova.address + offset - pad;
    const bytes = pageAlign(length + pad);
    cpu.spend(iommu.costs.iovaLinkCall);
    const error = iommu.domain.map(cpu, start, phys - pad, bytes, request.direction);
    if (error !== 0) return error;
    iommu.domain.syncMap(cpu, start, bytes);
    mapped.pieces.push(length);
    return 0;
  }

  protected finish(): number {
    // every link has synchronised itself
    return 0;
  }

  protected leave(cpu: Cpu, _direction: DmaDirection, mapped: MappedRequest): void {
    const iommu = this.dma.translatedDevice(this.device)!;
    const offset = mapped.iova.address & PAGE_OFFSET;
    let address = mapped.iova.address;
    for (const length of mapped.pieces) {
      unlinkRange(cpu, iommu, address, length);
      address += length;
    }
    mapped.pieces.length = 0;
    const start = mapped.iova.address - offset;
    const bytes = pageAlign(mapped.iova.size + offset);
    cpu.spend(iommu.costs.iovaFreeCall);
    if (iommu.flushQueue === null) iommu.freeIova(cpu, start, bytes);
    else iommu.queueIova(cpu, iommu.flushQueue, start, bytes);
  }
}

function unlinkRange(cpu: Cpu, iommu: DmaIommu, address: number, length: number): void {
  const pad = address & PAGE_OFFSET;
  const queued = iommu.flushQueue !== null;
  cpu.spend(iommu.costs.iovaUnlinkCall);
  iommu.domain.unmap(cpu, address - pad, pageAlign(length + pad), queued);
  if (!queued) iommu.domain.sync(cpu);
}
