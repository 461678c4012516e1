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
import { IommuRangeScheme, pagesOf } from './iommuRangeScheme.ts';
import { wayOf } from './peerVectors.ts';

export class RfcLinkRangeScheme extends IommuRangeScheme {
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

  protected override reserve(cpu: Cpu, mapped: MappedRequest, phys: number, bytes: number): boolean {
    mapped.pieces.length = 0;
    if (this.iommu !== null) cpu.spend(this.iommu.costs.iovaTryAllocCall);
    return super.reserve(cpu, mapped, phys, bytes);
  }

  protected override enter(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
  ): number {
    const iommu = this.iommu!;
    cpu.spend(iommu.costs.iovaLinkCall);
    const error = super.enter(cpu, request, mapped, phys, offset, length);
    if (error !== 0) return error;
    const pad = phys & PAGE_OFFSET;
    iommu.domain.syncMap(cpu, mapped.iova.address + offset - pad, pageAlign(length + pad));
    mapped.pieces.push(length);
    return 0;
  }

  protected finish(): number {
    // every link has synchronised itself
    return 0;
  }

  protected leave(cpu: Cpu, _direction: DmaDirection, mapped: MappedRequest): void {
    const iommu = this.iommu!;
    let address = mapped.iova.address;
    for (const length of mapped.pieces) {
      unlinkRange(cpu, iommu, address, length);
      address += length;
    }
    mapped.pieces.length = 0;
    const { start, bytes } = pagesOf(mapped, mapped.iova.size);
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
