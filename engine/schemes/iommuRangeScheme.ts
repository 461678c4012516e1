/**
 * What schemes have in common that were proposed and never merged: the range comes from the allocator of IOVA behind the DMA API, and pieces
 * are entered by the IOMMU's own calls, made here as the layers below would carry them out.
 */
import type { DmaIommu } from '../dma/dmaIommu.ts';
import { PAGE_OFFSET } from '../dma/pageOffset.ts';
import { pageAlign } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { RangeScheme } from './rangeScheme.ts';

export abstract class IommuRangeScheme extends RangeScheme {
  /** Null without translation; whoever has a range has one. */
  protected get iommu(): DmaIommu | null {
    return this.dma.translatedDevice(this.device);
  }

  protected reserve(cpu: Cpu, mapped: MappedRequest, phys: number, bytes: number): boolean {
    const { iommu } = this;
    mapped.iova.reset();
    if (iommu === null) return false;
    const offset = phys & PAGE_OFFSET;
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
    const pad = phys & PAGE_OFFSET;
    const start = mapped.iova.address + offset - pad;
    return this.iommu!.domain.map(cpu, start, phys - pad, pageAlign(length + pad), request.direction);
  }
}

/** The whole pages of the first `length` bytes of a range. */
export function pagesOf(mapped: MappedRequest, length: number): { readonly start: number; readonly bytes: number } {
  const offset = mapped.iova.address & PAGE_OFFSET;
  return { start: mapped.iova.address - offset, bytes: pageAlign(length + offset) };
}
