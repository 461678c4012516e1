/**
 * Every vector by itself: one `dma_map_phys` and one unmap each, with an IOVA, a sync and an invalidation of its own. What a driver does
 * that knows nothing of lists, and what the other schemes are measured against (Linux block/blk-mq-dma.c `blk_dma_map_direct`, without
 * the range that it tries first).
 */
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { findWays } from './peerVectors.ts';
import { RequestScheme } from './requestScheme.ts';
import type { BlockStatus } from './scheme.ts';

export class MapPhysScheme extends RequestScheme {
  readonly name = 'map_phys';

  protected mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    if (!findWays(this.dma, this.device, cpu, request, mapped, request.uniform)) return mapped.status;
    return this.mapVectors(cpu, request, mapped);
  }

  protected unmapOwn(): void {
    // there is nothing but vectors
  }
}
