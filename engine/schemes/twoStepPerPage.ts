/**
 * The two-step API in the manner of on-demand paging: one range of IOVA for the whole request, but every page is linked, synchronised and
 * unlinked by itself, and each unlink waits for its invalidation in every domain, lazy ones included (Linux mm/hmm.c `hmm_dma_map_pfn`,
 * `hmm_dma_unmap_pfn`, over a block request). It shows what batching is worth: the range is the same, the syncs and flushes are many.
 * Leaves out: peer-to-peer pages.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { RequestScheme } from './requestScheme.ts';
import { statusOfErrno, type BlockStatus } from './scheme.ts';

export class TwoStepPerPageScheme extends RequestScheme {
  readonly name = 'two_step_per_page';

  protected mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    const { dma, device } = this;
    mapped.bookkeepingBytes = DMA_IOVA_STATE_BYTES;
    const gapless = (request.gapMask & dma.dmaGetMergeBoundary(device)) === 0;
    const phys = physAddr(request.vectorPhys[0]!);
    if (gapless && dma.dmaIovaTryAlloc(cpu, device, mapped.iova, phys, request.payloadBytes)) {
      return this.linkPages(cpu, request, mapped);
    }
    return this.mapVectors(cpu, request, mapped);
  }

  protected unmapOwn(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    this.unlinkPages(cpu, direction, mapped, mapped.length[0]!);
  }

  private linkPages(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    const { iova } = mapped;
    let linked = 0;
    for (let index = 0; index < request.vectorCount; index += 1) {
      const end = request.vectorPhys[index]! + request.vectorLength[index]!;
      for (let phys = request.vectorPhys[index]!; phys < end;) {
        const length = Math.min(end - phys, PAGE_SIZE - (phys % PAGE_SIZE));
        const error = this.linkPage(cpu, request, mapped, phys, linked, length);
        if (error !== 0) {
          this.unlinkPages(cpu, request.direction, mapped, linked);
          mapped.status = statusOfErrno(error);
          return mapped.status;
        }
        phys += length;
        linked += length;
      }
    }
    mapped.mappedBy = 'iova';
    mapped.vectorsMapped = request.vectorCount;
    mapped.addRange(iova.address, linked);
    return 'ok';
  }

  /** 0, or a negative errno after which nothing of the page is linked. */
  private linkPage(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
  ): number {
    const { dma, device } = this;
    const { iova } = mapped;
    const error = dma.dmaIovaLink(cpu, device, iova, physAddr(phys), offset, length, request.direction, 0);
    if (error !== 0) return error;
    const unsynchronised = dma.dmaIovaSync(cpu, device, iova, offset, length);
    if (unsynchronised !== 0) dma.dmaIovaUnlink(cpu, device, iova, offset, length, request.direction, 0);
    return unsynchronised;
  }

  /** Page by page as they were linked, then the range. */
  private unlinkPages(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest, linked: number): void {
    const { dma, device } = this;
    const { iova } = mapped;
    for (let offset = 0; offset < linked;) {
      const length = Math.min(linked - offset, PAGE_SIZE - ((iova.address + offset) % PAGE_SIZE));
      dma.dmaIovaUnlink(cpu, device, iova, offset, length, direction, 0);
      offset += length;
    }
    dma.dmaIovaFree(cpu, device, iova);
  }
}
