/**
 * dma_map_sg behind an IOMMU: one IOVA range for the whole list, entries widened to whole pages and laid end to end, then
 * joined into as few DMA segments as the device's limits allow (Linux drivers/iommu/dma-iommu.c: `iommu_dma_map_sg`,
 * `__finalise_sg`, `iommu_dma_unmap_sg`; drivers/iommu/iommu.c: `iommu_map_sg`). Peer memory that switches route by its bus
 * address takes no part in it but the segment with that address. Lists that may be bounced are in dmaIommuSgSingly.ts.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { COUNTER } from '../metrics/counters.ts';
import { P2pdmaMapState } from '../pcie/p2pdma.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import type { DmaDirection } from './attributes.ts';
import type { DmaDevice } from './device.ts';
import type { DmaIommu } from './dmaIommu.ts';
import { mapSingly, mustMapSingly, unmapSingly } from './dmaIommuSgSingly.ts';
import { EINVAL, ENOMEM, EREMOTEIO } from './errno.ts';
import type { ScatterList } from './scatterList.ts';

/**
 * What the kernel keeps in the list itself between its passes: entries widened to pages and padded to a boundary, and the
 * bus address of those that need no mapping (-1: a mapping is needed).
 */
let paddedLength = new Float64Array(256);
let busAddressOf = new Float64Array(256);

/** DMA segments, or a negative errno. */
export function iommuMapSg(
  cpu: Cpu,
  dma: DmaIommu,
  list: ScatterList,
  direction: DmaDirection,
  attributes: number,
): number {
  const { costs, device } = dma;
  cpu.spend(picoseconds(costs.mapSgCall + list.count * costs.mapSgPerEntry));
  if (mustMapSingly(dma, list, direction)) return mapSingly(cpu, dma, list, direction, attributes);
  if (paddedLength.length < list.count) {
    paddedLength = new Float64Array(list.count * 2);
    busAddressOf = new Float64Array(list.count * 2);
  }
  list.mappedSingly = false;
  list.hasBusAddresses = false;
  if (dma.pageKinds !== null && !findBusAddresses(dma, list)) return EREMOTEIO;
  const bytes = layOut(list, device.segBoundaryMask);
  if (bytes === 0) {
    list.mappedCount = finalise(list, 0, device);
    return list.mappedCount === 0 ? EINVAL : list.mappedCount;
  }
  const iova = dma.allocIova(cpu, bytes, device.dmaMask);
  if (iova === 0) return ENOMEM;
  const error = mapRuns(cpu, dma, list, iova, direction);
  if (error !== 0) {
    dma.freeIova(cpu, iova, bytes);
    return error === ENOMEM ? ENOMEM : EINVAL;
  }
  list.mappedCount = finalise(list, iova, device);
  return list.mappedCount;
}

export function iommuUnmapSg(
  cpu: Cpu,
  dma: DmaIommu,
  list: ScatterList,
  direction: DmaDirection,
  attributes: number,
): void {
  cpu.spend(dma.costs.unmapSgCall);
  if (list.mappedSingly) {
    unmapSingly(cpu, dma, list, list.mappedCount, direction, attributes);
    return;
  }
  let first = 0;
  let last = list.mappedCount - 1;
  if (list.hasBusAddresses) {
    while (first <= last && list.busAddress[first] === 1) first += 1;
    while (last > first && list.busAddress[last] === 1) last -= 1;
  }
  if (first > last) return;
  const start = list.dmaAddress[first]!;
  dma.unmapRange(cpu, start, list.dmaAddress[last]! + list.dmaLength[last]! - start);
}

/**
 * The bits of a number of 64 bits that a boundary mask names. A mask of low bits alone, as every real one is, is one less than
 * the divisor of which they are the remainder: exact, and much faster than `%` beyond 32 bits.
 */
function masked(value: number, mask: number): number {
  if (!Number.isSafeInteger(mask)) return value;
  const boundary = mask + 1;
  if (isPowerOfTwo(boundary)) return value - Math.floor(value / boundary) * boundary;
  return Number(BigInt.asUintN(64, BigInt(value)) & BigInt(mask));
}

function isPowerOfTwo(value: number): boolean {
  return value <= 2 ** 32 ? ((value - 1) & value) === 0 : Number.isInteger(Math.log2(value));
}

/** Which entries are a peer's memory that needs no mapping; false when one cannot be reached at all. */
function findBusAddresses(dma: DmaIommu, list: ScatterList): boolean {
  const state = new P2pdmaMapState();
  for (let index = 0; index < list.count; index += 1) {
    const phys = list.phys[index]!;
    const provider = dma.pageKinds?.providerOf(Math.floor(phys / PAGE_SIZE)) ?? null;
    const type = state.resolve(dma.p2pdma, provider, dma.device.sourceId);
    if (type === 'not_supported') return false;
    busAddressOf[index] = -1;
    if (type === 'bus_addr' && provider !== null) {
      busAddressOf[index] = phys + provider.busOffset;
      list.hasBusAddresses = true;
    }
  }
  dma.counters.values[COUNTER.p2pdmaLookups]! += state.lookups;
  return true;
}

/** First pass: where each entry will lie. Returns the bytes of IOVA that the list needs. */
function layOut(list: ScatterList, boundaryMask: number): number {
  const { count, phys, length, hasBusAddresses } = list;
  let total = 0;
  let previous = 0;
  for (let index = 0; index < count; index += 1) {
    if (hasBusAddresses && busAddressOf[index] !== -1) continue;
    const offset = phys[index]! & PAGE_OFFSET;
    const padded = Math.ceil((offset + length[index]!) / PAGE_SIZE) * PAGE_SIZE;
    // an entry that would cross the boundary starts on it: the one before is stretched up to there
    const padding = total === 0 ? 0 : masked(boundaryMask + 1 - total, boundaryMask);
    if (padding !== 0 && padding < padded - 1) {
      paddedLength[previous]! += padding;
      total += padding;
    }
    paddedLength[index] = padded;
    total += padded;
    previous = index;
  }
  return total;
}

/** `iommu_map_sg`: one map for every physically contiguous run of widened entries. */
function mapRuns(cpu: Cpu, dma: DmaIommu, list: ScatterList, iova: number, direction: DmaDirection): number {
  const { domain } = dma;
  const { hasBusAddresses } = list;
  let mapped = 0;
  let runStart = 0;
  let runLength = 0;
  for (let index = 0; index <= list.count; index += 1) {
    const start = index < list.count ? list.phys[index]! - (list.phys[index]! & PAGE_OFFSET) : -1;
    if (runLength > 0 && start !== runStart + runLength) {
      const error = domain.map(cpu, iova + mapped, runStart, runLength, direction);
      if (error !== 0) {
        // what came before goes too, even where that is nothing
        domain.unmap(cpu, iova, mapped, false);
        domain.sync(cpu);
        return error;
      }
      mapped += runLength;
      runLength = 0;
    }
    if (index === list.count || (hasBusAddresses && busAddressOf[index] !== -1)) continue;
    if (runLength === 0) runStart = start;
    runLength += paddedLength[index]!;
  }
  domain.syncMap(cpu, iova, mapped);
  return 0;
}

/**
 * `__finalise_sg`: joins an entry to the segment before it if it begins on a page, not on a segment boundary, and fits. The
 * test is unsigned and 32 bits wide as in the kernel: from a segment that is already too long it wraps, and the entry joins.
 */
function finalise(list: ScatterList, iova: number, device: DmaDevice): number {
  const { count, phys, length, dmaAddress, dmaLength, busAddress, hasBusAddresses } = list;
  const { segBoundaryMask } = device;
  let address = iova;
  let segment = -1;
  let currentLength = 0;
  for (let index = 0; index < count; index += 1) {
    const offset = phys[index]! & PAGE_OFFSET;
    const entryLength = length[index]!;
    if (hasBusAddresses && busAddressOf[index] !== -1) {
      segment += 1;
      dmaAddress[segment] = busAddressOf[index]!;
      dmaLength[segment] = entryLength;
      busAddress[segment] = 1;
      currentLength = 0;
      continue;
    }
    const room = (device.maxSegmentSize - currentLength) >>> 0;
    if (currentLength !== 0 && offset === 0 && masked(address, segBoundaryMask) !== 0 && room >= entryLength) {
      currentLength = (currentLength + entryLength) >>> 0;
    } else {
      segment += 1;
      currentLength = entryLength;
      dmaAddress[segment] = address + offset;
      if (hasBusAddresses) busAddress[segment] = 0;
    }
    dmaLength[segment] = currentLength;
    address += paddedLength[index]!;
    if (offset + entryLength < paddedLength[index]!) currentLength = 0;
  }
  return segment + 1;
}
