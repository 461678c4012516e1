/**
 * What page-indexed schemes have in common that were proposed and never merged: the place comes from the allocator of IOVA behind the DMA API,
 * and pages are entered by the IOMMU's own calls.
 */
import type { DmaIommu } from '../../dma/dmaIommu.ts';
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { ENOMEM } from '../../dma/errno.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES } from '../mappedRequest.ts';
import { PagesByKind } from './pagesByKind.ts';

export abstract class IommuPages extends PagesByKind {
  protected readonly placeBytes = DMA_IOVA_STATE_BYTES;
  private start = 0;
  private bytes = 0;

  /** Whoever has a place has one. */
  protected get iommu(): DmaIommu {
    return this.dma.translatedDevice(this.device)!;
  }

  protected get hasPlace(): boolean {
    return this.bytes > 0;
  }

  protected reservePlace(cpu: Cpu, entries: number): number {
    const iommu = this.dma.translatedDevice(this.device);
    if (iommu === null) return 0;
    this.start = iommu.allocIova(cpu, entries * PAGE_SIZE, this.device.dmaMask);
    if (this.start === 0) {
      const size = String(entries);
      return this.refuse(
        ENOMEM,
        `No range of IOVA is free for ${size} pages. Register less, or a device of a wider mask.`,
      );
    }
    this.bytes = entries * PAGE_SIZE;
    return 0;
  }

  protected enter(cpu: Cpu, index: number, phys: number, _attributes: number): number {
    return this.iommu.domain.map(cpu, this.placeOf(index), phys, PAGE_SIZE, DMA_BIDIRECTIONAL);
  }

  protected placeOf(index: number): number {
    return this.start + index * PAGE_SIZE;
  }

  protected releasePlace(cpu: Cpu): void {
    if (this.bytes > 0) this.iommu.freeIova(cpu, this.start, this.bytes);
    this.bytes = 0;
  }

  protected unmapRange(cpu: Cpu, first: number, end: number): void {
    const { domain } = this.iommu;
    domain.unmap(cpu, this.placeOf(first), (end - first) * PAGE_SIZE, false);
    domain.sync(cpu);
  }
}
