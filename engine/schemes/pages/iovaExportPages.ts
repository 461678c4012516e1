/**
 * Thin wrappers around the IOMMU API, page by page: the IOVA is exported, everything else is the driver's (see ../iovaExport.ts). Batches are
 * synchronised and flushed once, since the driver may do as it likes; devices that the wrappers cannot serve are refused.
 */
import { EOPNOTSUPP } from '../../dma/errno.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { Cpu } from '../../time/cpu.ts';
import { whyNotByWrappers } from '../iovaExport.ts';
import { IommuPages } from './iommuPages.ts';

export class IovaExportPages extends IommuPages {
  readonly name = 'iova_export';

  protected override reservePlace(cpu: Cpu, entries: number): number {
    const reason = whyNotByWrappers(this.device);
    return reason === '' ? super.reservePlace(cpu, entries) : this.refuse(EOPNOTSUPP, reason);
  }

  protected override finish(cpu: Cpu, first: number, end: number): number {
    if (this.hasPlace) this.iommu.domain.syncMap(cpu, this.placeOf(first), (end - first) * PAGE_SIZE);
    return 0;
  }

  protected leave(cpu: Cpu, first: number, end: number): void {
    this.unmapRange(cpu, first, end);
  }
}
