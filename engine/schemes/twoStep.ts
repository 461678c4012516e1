/**
 * The scheme of Linux 6.17 and later (block/blk-mq-dma.c `blk_rq_dma_map_iter_start`, `blk_rq_dma_map_iter_next`,
 * `blk_rq_dma_unmap`): one IOVA range for the whole request when nothing in its memory leaves a gap, one link for each
 * physically contiguous vector, one sync; else each vector by itself with `dma_map_phys`. A range needs 16 bytes of state;
 * vectors mapped one by one need 16 bytes each, and only if they must be unmapped and the hardware's list lacks lengths.
 * Leaves out: peer-to-peer pages, integrity payloads.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { ENOMEM, EOPNOTSUPP, EREMOTEIO } from '../dma/errno.ts';
import { dmaAddr, physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES, NVME_DMA_VEC_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import type { BlockStatus, MappingScheme } from './scheme.ts';
import { mapSingle, unmapSingle } from './single.ts';

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
    if (mapped.mappedBy !== 'vectors' || mapped.vectorsMapped === request.vectorCount) return false;
    const index = mapped.vectorsMapped;
    const phys = physAddr(request.vectorPhys[index]!);
    const length = request.vectorLength[index]!;
    const address = this.dma.dmaMapPhys(cpu, this.device, phys, length, request.direction, 0);
    if (this.dma.dmaMappingError(this.device, address)) {
      mapped.status = 'resource';
      return false;
    }
    mapped.vectorsMapped += 1;
    mapped.addRange(address, length);
    if (mapped.keepsVectors) mapped.bookkeepingBytes += NVME_DMA_VEC_BYTES;
    return true;
  }

  keepVectors(mapped: MappedRequest): void {
    if (mapped.mappedBy !== 'vectors' || !this.dma.dmaNeedUnmap(this.device)) return;
    mapped.keepsVectors = true;
    mapped.bookkeepingBytes += mapped.vectorsMapped * NVME_DMA_VEC_BYTES;
  }

  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    const { dma, device } = this;
    if (mapped.mappedBy === 'single') unmapSingle(dma, device, cpu, direction, mapped);
    else if (mapped.mappedBy === 'iova') {
      dma.dmaIovaDestroy(cpu, device, mapped.iova, mapped.length[0]!, direction, 0);
    } else if (mapped.mappedBy === 'vectors' && dma.dmaNeedUnmap(device)) {
      for (let index = 0; index < mapped.count; index += 1) {
        dma.dmaUnmapPhys(cpu, device, dmaAddr(mapped.address[index]!), mapped.length[index]!, direction, 0);
      }
    }
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

/** `errno_to_blk_status` (block/blk-core.c), for the errors that a link can return. */
function statusOfErrno(error: number): BlockStatus {
  if (error === ENOMEM) return 'resource';
  return error === EOPNOTSUPP || error === EREMOTEIO ? 'inval' : 'ioerr';
}
