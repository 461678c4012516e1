/**
 * Every vector by itself: one `dma_map_phys` and one unmap each, with an IOVA, a sync and an invalidation of its own. What a driver does
 * that knows nothing of lists, and what the other schemes are measured against (Linux block/blk-mq-dma.c `blk_dma_map_direct`, without
 * the range that it tries first).
 * Leaves out: peer-to-peer pages.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import type { BlockStatus, MappingScheme } from './scheme.ts';
import { mapSingle, unmapSingle } from './single.ts';
import { keepVectorsOf, mapNextVector, unmapVectors } from './vectors.ts';

export class MapPhysScheme implements MappingScheme {
  readonly name = 'map_phys';
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
    if (request.singleSegment) return mapSingle(this.dma, this.device, cpu, request, mapped);
    mapped.mappedBy = 'vectors';
    return this.mapNext(cpu, request, mapped) ? 'ok' : mapped.status;
  }

  mapNext(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean {
    return mapNextVector(this.dma, this.device, cpu, request, mapped);
  }

  keepVectors(mapped: MappedRequest): void {
    keepVectorsOf(this.dma, this.device, mapped);
  }

  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    if (mapped.mappedBy === 'single') unmapSingle(this.dma, this.device, cpu, direction, mapped);
    else if (mapped.mappedBy === 'vectors') unmapVectors(this.dma, this.device, cpu, direction, mapped);
    mapped.mappedBy = 'nothing';
  }
}
