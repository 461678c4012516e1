/**
 * The scheme of Linux 6.17 and later (block/blk-mq-dma.c `blk_rq_dma_map_iter_start`, `blk_rq_dma_map_iter_next`,
 * `blk_rq_dma_unmap`): one IOVA range for the whole request when nothing in its memory leaves a gap, one link for each
 * physically contiguous vector, one sync; else each vector by itself (vectors.ts). A range needs 16 bytes of state.
 * Leaves out: peer-to-peer pages, integrity payloads.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { statusOfErrno, type BlockStatus, type MappingScheme } from './scheme.ts';
import { mapSingle, unmapSingle } from './single.ts';
import { keepVectorsOf, mapNextVector, unmapVectors } from './vectors.ts';

export class TwoStepScheme implements MappingScheme {
  readonly name = 'two_step';
  readonly heldBytes = 0;
  private readonly dma: DmaApi;
  private readonly device: DmaDevice;

  constructor(dma: DmaApi, device: DmaDevice) {
    this.dma = dma;
    this.device = device;
  }

  registerBuffer(): BlockStatus {
    return 'ok';
  }

  release(): void {
    // each request gave back what it had
  }

  mapStart(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    mapped.reset();
    const { dma, device } = this;
    if (request.singleSegment) return mapSingle(dma, device, cpu, request, mapped);
    mapped.bookkeepingBytes = DMA_IOVA_STATE_BYTES;
    const gapless = (request.gapMask & dma.dmaGetMergeBoundary(device)) === 0;
    const phys = physAddr(request.vectorPhys[0]!);
    if (gapless && dma.dmaIovaTryAlloc(cpu, device, mapped.iova, phys, request.payloadBytes)) {
      return this.linkAll(cpu, request, mapped);
    }
    mapped.mappedBy = 'vectors';
    if (this.mapNext(cpu, request, mapped)) return 'ok';
    return mapped.status;
  }

  mapNext(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean {
    return mapNextVector(this.dma, this.device, cpu, request, mapped);
  }

  keepVectors(mapped: MappedRequest): void {
    keepVectorsOf(this.dma, this.device, mapped);
  }

  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    const { dma, device } = this;
    if (mapped.mappedBy === 'single') unmapSingle(dma, device, cpu, direction, mapped);
    else if (mapped.mappedBy === 'iova') {
      dma.dmaIovaDestroy(cpu, device, mapped.iova, mapped.length[0]!, direction, 0);
    } else if (mapped.mappedBy === 'vectors') unmapVectors(dma, device, cpu, direction, mapped);
    mapped.mappedBy = 'nothing';
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
