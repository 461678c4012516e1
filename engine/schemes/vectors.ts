/**
 * A request mapped vector by vector, each with a `dma_map_phys` of its own: what remains where one range cannot hold it, and what some
 * drivers have always done (Linux block/blk-mq-dma.c `blk_dma_map_direct`; drivers/nvme/host/pci.c `nvme_unmap_data`). Each mapped vector
 * needs 16 bytes, if it must be unmapped and the hardware's list lacks lengths.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { dmaAddr, physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { NVME_DMA_VEC_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { attributesOf, busAddressOf, wayOf } from './peerVectors.ts';

/** See MappingScheme.mapNext. */
export function mapNextVector(
  dma: DmaApi,
  device: DmaDevice,
  cpu: Cpu,
  request: MappingRequest,
  mapped: MappedRequest,
): boolean {
  if (mapped.mappedBy !== 'vectors' || mapped.vectorsMapped === request.vectorCount) return false;
  const index = mapped.vectorsMapped;
  const phys = physAddr(request.vectorPhys[index]!);
  const length = request.vectorLength[index]!;
  const way = wayOf(mapped, index);
  const isBusAddress = way === 'bus_addr';
  const address = isBusAddress
    ? dmaAddr(busAddressOf(dma, phys))
    : dma.dmaMapPhys(cpu, device, phys, length, request.direction, request.attributes | attributesOf(way));
  if (!isBusAddress && dma.dmaMappingError(device, address)) {
    mapped.status = 'resource';
    return false;
  }
  mapped.vectorsMapped += 1;
  mapped.addRange(address, length);
  if (mapped.keepsVectors) mapped.bookkeepingBytes += NVME_DMA_VEC_BYTES;
  return true;
}

/** See MappingScheme.keepVectors. */
export function keepVectorsOf(dma: DmaApi, device: DmaDevice, mapped: MappedRequest): void {
  if (mapped.mappedBy !== 'vectors' || !dma.dmaNeedUnmap(device)) return;
  mapped.keepsVectors = true;
  mapped.bookkeepingBytes += mapped.vectorsMapped * NVME_DMA_VEC_BYTES;
}

export function unmapVectors(
  dma: DmaApi,
  device: DmaDevice,
  cpu: Cpu,
  direction: DmaDirection,
  mapped: MappedRequest,
): void {
  if (!dma.dmaNeedUnmap(device)) return;
  for (let index = 0; index < mapped.count; index += 1) {
    const way = wayOf(mapped, index);
    if (way === 'bus_addr') continue;
    const address = dmaAddr(mapped.address[index]!);
    dma.dmaUnmapPhys(cpu, device, address, mapped.length[index]!, direction, mapped.attributes | attributesOf(way));
  }
}
