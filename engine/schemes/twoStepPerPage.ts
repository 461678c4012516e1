/**
 * The two-step API in the manner of on-demand paging: one range of IOVA for the whole request, but every page is linked, synchronised and
 * unlinked by itself, and each unlink waits for its invalidation in every domain, lazy ones included (Linux mm/hmm.c `hmm_dma_map_pfn`,
 * `hmm_dma_unmap_pfn`, over a request). It shows what batching is worth: the range is the same, the syncs and flushes are many.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { TwoStepScheme } from './twoStep.ts';

export class TwoStepPerPageScheme extends TwoStepScheme {
  override readonly name = 'two_step_per_page';

  protected override enter(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
    attributes: number,
  ): number {
    for (let done = 0; done < length;) {
      const part = Math.min(length - done, PAGE_SIZE - ((phys + done) % PAGE_SIZE));
      const error = this.linkPage(cpu, request, mapped, phys + done, offset + done, part, attributes);
      if (error !== 0) {
        this.unlinkPages(cpu, request.direction, mapped, offset, offset + done, attributes);
        return error;
      }
      done += part;
    }
    return 0;
  }

  protected override finish(): number {
    // every page has been synchronised
    return 0;
  }

  protected override leave(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    let offset = 0;
    for (const [index, bytes] of mapped.stretchBytes.entries()) {
      this.unlinkPages(cpu, direction, mapped, offset, offset + bytes, mapped.stretchAttributes[index]!);
      offset += bytes;
    }
    this.dma.dmaIovaFree(cpu, this.device, mapped.iova);
  }

  /** 0, or a negative errno after which nothing of the page is linked. */
  private linkPage(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
    attributes: number,
  ): number {
    const { dma, device } = this;
    const { iova } = mapped;
    const { direction } = request;
    const error = dma.dmaIovaLink(cpu, device, iova, physAddr(phys), offset, length, direction, attributes);
    if (error !== 0) return error;
    const unsynchronised = dma.dmaIovaSync(cpu, device, iova, offset, length);
    if (unsynchronised !== 0) dma.dmaIovaUnlink(cpu, device, iova, offset, length, direction, attributes);
    return unsynchronised;
  }

  /** Page by page as they were linked. */
  private unlinkPages(
    cpu: Cpu,
    direction: DmaDirection,
    mapped: MappedRequest,
    from: number,
    to: number,
    attributes: number,
  ): void {
    const { dma, device } = this;
    const { iova } = mapped;
    for (let offset = from; offset < to;) {
      const length = Math.min(to - offset, PAGE_SIZE - ((iova.address + offset) % PAGE_SIZE));
      dma.dmaIovaUnlink(cpu, device, iova, offset, length, direction, attributes);
      offset += length;
    }
  }
}
