/**
 * The shortcut that both drivers take for a request of one segment: one `dma_map_page` (`dma_map_phys` since 6.18) and its
 * counterpart, which is called in every domain, passthrough included (Linux drivers/nvme/host/pci.c, `IOD_SINGLE_SEGMENT`).
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { dmaAddr, physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import type { BlockStatus } from './scheme.ts';

export function mapSingle(
  dma: DmaApi,
  device: DmaDevice,
  cpu: Cpu,
  request: MappingRequest,
  mapped: MappedRequest,
): BlockStatus {
  const phys = physAddr(request.vectorPhys[0]!);
  const address = dma.dmaMapPhys(cpu, device, phys, request.payloadBytes, request.direction, request.attributes);
  if (dma.dmaMappingError(device, address)) {
    mapped.status = 'resource';
    return 'resource';
  }
  mapped.mappedBy = 'single';
  mapped.vectorsMapped = 1;
  mapped.addRange(address, request.payloadBytes);
  return 'ok';
}

export function unmapSingle(
  dma: DmaApi,
  device: DmaDevice,
  cpu: Cpu,
  direction: DmaDirection,
  mapped: MappedRequest,
): void {
  dma.dmaUnmapPhys(cpu, device, dmaAddr(mapped.address[0]!), mapped.length[0]!, direction, mapped.attributes);
}
