/**
 * The narrower counter-proposal of the thread (Robin Murphy, February 2025): the DMA layer hands out IOVA, and thin wrappers around the IOMMU
 * API map into it; everything else is the driver's. So it serves only coherent, trusted devices in a default domain of their own, whose memory
 * never has to be copied, and every unmap waits for its flush, since the flush queue is not exported. No kernel has it: the calls are made
 * here as the layers below would carry them out, without a cost of their own.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { PAGE_OFFSET } from '../dma/pageOffset.ts';
import { pageAlign } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { RangeScheme } from './rangeScheme.ts';

export class IovaExportScheme extends RangeScheme {
  readonly name = 'iova_export';

  protected override accepts(_request: MappingRequest, mapped: MappedRequest): boolean {
    const { device } = this;
    if (device.coherent && !device.untrusted && !device.forceUnencrypted) return true;
    const reason = !device.coherent
      ? 'is not coherent, and thin wrappers clean no caches'
      : device.untrusted
        ? 'is untrusted, and thin wrappers bounce no edges'
        : 'belongs to a confidential guest, and thin wrappers copy nothing into shared memory';
    mapped.refuse(`${device.name} ${reason}. Use a scheme of the DMA API for it.`);
    return false;
  }

  protected reserve(cpu: Cpu, mapped: MappedRequest, phys: number, bytes: number): boolean {
    const iommu = this.dma.translatedDevice(this.device);
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
    const { domain } = this.dma.translatedDevice(this.device)!;
    return domain.map(cpu, mapped.iova.address + offset - pad, phys - pad, pageAlign(length + pad), request.direction);
  }

  protected finish(cpu: Cpu, mapped: MappedRequest, entered: number): number {
    const { start, bytes } = pagesOf(mapped, entered);
    this.dma.translatedDevice(this.device)!.domain.syncMap(cpu, start, bytes);
    return 0;
  }

  protected leave(cpu: Cpu, _direction: DmaDirection, mapped: MappedRequest, entered: number): void {
    const iommu = this.dma.translatedDevice(this.device)!;
    const { start, bytes } = pagesOf(mapped, entered);
    if (entered > 0) {
      iommu.domain.unmap(cpu, start, bytes, false);
      iommu.domain.sync(cpu);
    }
    iommu.freeIova(cpu, start, pagesOf(mapped, mapped.iova.size).bytes);
  }
}

function pagesOf(mapped: MappedRequest, length: number): { readonly start: number; readonly bytes: number } {
  const offset = mapped.iova.address & PAGE_OFFSET;
  return { start: mapped.iova.address - offset, bytes: pageAlign(length + offset) };
}
