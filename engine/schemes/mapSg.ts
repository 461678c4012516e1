/**
 * The scheme of Linux up to 6.16 (drivers/nvme/host/pci.c of 6.12, `nvme_map_data`): one segment is mapped by itself, several
 * become a scatterlist and one `dma_map_sg`. Over a later profile it is the same driver code on that kernel's DMA layer.
 * Its price in memory is 32 bytes for each entry of the list, for as long as the request is under way.
 * Peers' memory is found and named by dma_map_sg itself.
 * Leaves out: chained scatterlists.
 */
import { DMA_ATTR_NO_WARN, type DmaDirection } from '../dma/attributes.ts';
import { EREMOTEIO } from '../dma/errno.ts';
import { physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { SCATTERLIST_ENTRY_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { RequestScheme } from './requestScheme.ts';
import type { BlockStatus } from './scheme.ts';

export class MapSgScheme extends RequestScheme {
  readonly name = 'map_sg';

  protected mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    const { list } = mapped;
    list.reset();
    for (let index = 0; index < request.vectorCount; index += 1) {
      list.add(physAddr(request.vectorPhys[index]!), request.vectorLength[index]!);
    }
    const result = this.dma.dmaMapSg(cpu, this.device, list, request.direction, DMA_ATTR_NO_WARN | request.attributes);
    if (result <= 0) {
      if (result === EREMOTEIO) {
        mapped.refuse(
          `dma_map_sg says EREMOTEIO: the list holds memory of a peer that ${this.device.name} cannot reach.`,
        );
      } else {
        mapped.status = 'resource';
      }
      return mapped.status;
    }
    mapped.mappedBy = 'scatterlist';
    mapped.vectorsMapped = request.vectorCount;
    mapped.bookkeepingBytes = request.segments * SCATTERLIST_ENTRY_BYTES;
    for (let index = 0; index < result; index += 1) {
      mapped.addRange(list.dmaAddress[index]!, list.dmaLength[index]!);
    }
    return 'ok';
  }

  protected unmapOwn(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    this.dma.dmaUnmapSg(cpu, this.device, mapped.list, direction, mapped.attributes);
  }
}
