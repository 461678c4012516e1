/**
 * The scheme of Linux 6.17 and later (block/blk-mq-dma.c `blk_rq_dma_map_iter_start`, `blk_rq_dma_map_iter_next`,
 * `blk_rq_dma_unmap`): one IOVA range for the whole request when nothing in its memory leaves a gap, one link for each
 * physically contiguous vector, one sync; else each vector by itself (vectors.ts). A range needs 16 bytes of state.
 * Leaves out: peer-to-peer pages, integrity payloads.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { RequestScheme } from './requestScheme.ts';
import { statusOfErrno, type BlockStatus } from './scheme.ts';

export class TwoStepScheme extends RequestScheme {
  readonly name = 'two_step';

  protected mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    const { dma, device } = this;
    mapped.bookkeepingBytes = DMA_IOVA_STATE_BYTES;
    const gapless = (request.gapMask & dma.dmaGetMergeBoundary(device)) === 0;
    const phys = physAddr(request.vectorPhys[0]!);
    if (gapless && dma.dmaIovaTryAlloc(cpu, device, mapped.iova, phys, request.payloadBytes)) {
      return this.linkAll(cpu, request, mapped);
    }
    return this.mapVectors(cpu, request, mapped);
  }

  protected unmapOwn(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    this.dma.dmaIovaDestroy(cpu, this.device, mapped.iova, mapped.length[0]!, direction, 0);
  }

  /** `blk_rq_dma_map_iova`. */
  private linkAll(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    const { dma, device } = this;
    const { iova } = mapped;
    let linked = 0;
    let error = 0;
    for (let index = 0; index < request.vectorCount && error === 0; index += 1) {
      const phys = physAddr(request.vectorPhys[index]!);
      const length = request.vectorLength[index]!;
      error = dma.dmaIovaLink(cpu, device, iova, phys, linked, length, request.direction, 0);
      if (error === 0) linked += length;
    }
    if (error === 0) error = dma.dmaIovaSync(cpu, device, iova, 0, linked);
    if (error !== 0) {
      dma.dmaIovaDestroy(cpu, device, iova, linked, request.direction, 0);
      mapped.status = statusOfErrno(error);
      return mapped.status;
    }
    mapped.mappedBy = 'iova';
    mapped.vectorsMapped = request.vectorCount;
    mapped.addRange(iova.address, linked);
    return 'ok';
  }
}
