/**
 * The RFC of March 2024, page by page: one range, `dma_link_range` for each page, which synchronises itself, `dma_unlink_range` for each (see
 * ../rfcLinkRange.ts). It knew no peers' memory. In a lazy domain its unlink left the flush to the queue, into which the range went at the end: a
 * place that is linked again before that would be reached through the old translation, so on-demand paging is refused there.
 */
import { EOPNOTSUPP, EREMOTEIO } from '../../dma/errno.ts';
import type { P2pdmaMapType } from '../../dma/p2pdmaState.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { Cpu } from '../../time/cpu.ts';
import { IommuPages } from './iommuPages.ts';

export class RfcLinkPages extends IommuPages {
  readonly name = 'rfc_link_range';

  protected override reservePlace(cpu: Cpu, entries: number): number {
    const iommu = this.dma.translatedDevice(this.device);
    if (iommu === null) return 0;
    if (iommu.flushQueue !== null) {
      return this.refuse(
        EOPNOTSUPP,
        'dma_unlink_range of the RFC flushes a lazy domain only when the whole range goes, and pages that are linked again meanwhile would ' +
          'be reached through old translations. Use a strict domain, or another scheme.',
      );
    }
    cpu.spend(iommu.costs.iovaTryAllocCall);
    return super.reservePlace(cpu, entries);
  }

  protected override accepts(index: number, way: P2pdmaMapType): number {
    if (way === 'none') return 0;
    return this.refuse(
      EREMOTEIO,
      `Page ${index} of the region is a peer’s memory: dma_link_range of the RFC maps as dma_map_page did, and that knew RAM only.`,
    );
  }

  protected override enter(cpu: Cpu, index: number, phys: number, attributes: number): number {
    const { costs, domain } = this.iommu;
    cpu.spend(costs.iovaLinkCall);
    const error = super.enter(cpu, index, phys, attributes);
    if (error === 0) domain.syncMap(cpu, this.placeOf(index), PAGE_SIZE);
    return error;
  }

  protected leave(cpu: Cpu, first: number, end: number): void {
    for (let index = first; index < end; index += 1) {
      cpu.spend(this.iommu.costs.iovaUnlinkCall);
      this.unmapRange(cpu, index, index + 1);
    }
  }

  protected override releasePlace(cpu: Cpu): void {
    if (this.hasPlace) cpu.spend(this.iommu.costs.iovaFreeCall);
    super.releasePlace(cpu);
  }
}
