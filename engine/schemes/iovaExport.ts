/**
 * The narrower counter-proposal of the thread (Robin Murphy, February 2025): the DMA layer hands out IOVA, and thin wrappers around the IOMMU
 * API map into it; everything else is the driver's. So it serves only coherent, trusted devices in a default domain of their own, whose memory
 * never has to be copied, and every unmap waits for its flush, since the flush queue is not exported. No kernel has it, and the
 * wrappers have no cost of their own.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { IommuRangeScheme, pagesOf } from './iommuRangeScheme.ts';

export class IovaExportScheme extends IommuRangeScheme {
  readonly name = 'iova_export';

  protected override accepts(_request: MappingRequest, mapped: MappedRequest): boolean {
    const reason = whyNotByWrappers(this.device);
    if (reason === '') return true;
    mapped.refuse(reason);
    return false;
  }

  protected finish(cpu: Cpu, mapped: MappedRequest, entered: number): number {
    const { start, bytes } = pagesOf(mapped, entered);
    this.iommu!.domain.syncMap(cpu, start, bytes);
    return 0;
  }

  protected leave(cpu: Cpu, _direction: DmaDirection, mapped: MappedRequest, entered: number): void {
    const iommu = this.iommu!;
    const { start, bytes } = pagesOf(mapped, entered);
    if (entered > 0) {
      iommu.domain.unmap(cpu, start, bytes, false);
      iommu.domain.sync(cpu);
    }
    iommu.freeIova(cpu, start, pagesOf(mapped, mapped.iova.size).bytes);
  }
}

/** Why thin wrappers cannot serve a device, for people; empty: they can. */
export function whyNotByWrappers(device: DmaDevice): string {
  if (device.coherent && !device.untrusted && !device.forceUnencrypted) return '';
  const reason = !device.coherent
    ? 'is not coherent, and thin wrappers clean no caches'
    : device.untrusted
      ? 'is untrusted, and thin wrappers bounce no edges'
      : 'belongs to a confidential guest, and thin wrappers copy nothing into shared memory';
  return `${device.name} ${reason}. Use a scheme of the DMA API for it.`;
}
