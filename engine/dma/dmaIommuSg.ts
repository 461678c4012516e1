/**
 * dma_map_sg behind an IOMMU: one IOVA range for the whole list, entries widened to whole pages and laid end to end, then
 * joined into as few DMA segments as the device's limits allow (Linux drivers/iommu/dma-iommu.c: `iommu_dma_map_sg`,
 * `__finalise_sg`, `iommu_dma_unmap_sg`; drivers/iommu/iommu.c: `iommu_map_sg`).
 * Leaves out: peer-to-peer entries, and lists of untrusted devices.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import type { DmaDirection } from './attributes.ts';
import type { DmaDevice } from './device.ts';
import type { DmaIommu } from './dmaIommu.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import type { ScatterList } from './scatterList.ts';

/** What the kernel keeps in the list itself between its passes: entries widened to pages, and padded to a boundary. */
let paddedLength = new Float64Array(256);

/** DMA segments, or a negative errno. */
export function iommuMapSg(cpu: Cpu, dma: DmaIommu, list: ScatterList, direction: DmaDirection): number {
  const { costs, device } = dma;
  cpu.spend(picoseconds(costs.mapSgCall + list.count * costs.mapSgPerEntry));
  const bytes = layOut(list, device.segBoundaryMask);
  if (bytes === 0) return EINVAL;
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

export function iommuUnmapSg(cpu: Cpu, dma: DmaIommu, list: ScatterList): void {
  cpu.spend(dma.costs.unmapSgCall);
  if (list.mappedCount === 0) return;
  const last = list.mappedCount - 1;
  const start = list.dmaAddress[0]!;
  dma.unmapRange(cpu, start, list.dmaAddress[last]! + list.dmaLength[last]! - start);
}

/** For a divisor that is a power of two: exact, and much faster than `%` beyond 32 bits. */
function remainder(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor;
}

/** First pass: where each entry will lie. Returns the bytes of IOVA that the list needs. */
function layOut(list: ScatterList, boundaryMask: number): number {
  const { count, phys, length } = list;
  if (paddedLength.length < count) paddedLength = new Float64Array(count * 2);
  const boundary = boundaryMask + 1;
  let total = 0;
  for (let index = 0; index < count; index += 1) {
    const offset = phys[index]! & PAGE_OFFSET;
    const padded = Math.ceil((offset + length[index]!) / PAGE_SIZE) * PAGE_SIZE;
    // an entry that would cross the boundary starts on it: the one before is stretched up to there
    const over = remainder(total, boundary);
    const padding = over === 0 ? 0 : boundary - over;
    if (padding !== 0 && padding < padded - 1) {
      paddedLength[index - 1]! += padding;
      total += padding;
    }
    paddedLength[index] = padded;
    total += padded;
  }
  return total;
}

/** `iommu_map_sg`: one map for every physically contiguous run of widened entries. */
function mapRuns(cpu: Cpu, dma: DmaIommu, list: ScatterList, iova: number, direction: DmaDirection): number {
  const { domain } = dma;
  let mapped = 0;
  let runStart = 0;
  let runLength = 0;
  for (let index = 0; index <= list.count; index += 1) {
    const start = index < list.count ? list.phys[index]! - (list.phys[index]! & PAGE_OFFSET) : -1;
    if (runLength > 0 && start !== runStart + runLength) {
      const error = domain.map(cpu, iova + mapped, runStart, runLength, direction);
      if (error !== 0) {
        if (mapped > 0) domain.unmap(cpu, iova, mapped, false);
        domain.sync(cpu);
        return error;
      }
      mapped += runLength;
      runLength = 0;
    }
    if (runLength === 0) runStart = start;
    if (index < list.count) runLength += paddedLength[index]!;
  }
  return 0;
}

/**
 * `__finalise_sg`: joins an entry to the segment before it if it begins on a page, not on a segment boundary, and fits. The
 * test is unsigned and 32 bits wide as in the kernel: from a segment that is already too long it wraps, and the entry joins.
 */
function finalise(list: ScatterList, iova: number, device: DmaDevice): number {
  const { count, phys, length, dmaAddress, dmaLength } = list;
  const boundary = device.segBoundaryMask + 1;
  let address = iova;
  let segment = -1;
  let currentLength = 0;
  for (let index = 0; index < count; index += 1) {
    const offset = phys[index]! & PAGE_OFFSET;
    const entryLength = length[index]!;
    const room = (device.maxSegmentSize - currentLength) >>> 0;
    if (currentLength !== 0 && offset === 0 && remainder(address, boundary) !== 0 && room >= entryLength) {
      currentLength = (currentLength + entryLength) >>> 0;
    } else {
      segment += 1;
      currentLength = entryLength;
      dmaAddress[segment] = address + offset;
    }
    dmaLength[segment] = currentLength;
    address += paddedLength[index]!;
    if (offset + entryLength < paddedLength[index]!) currentLength = 0;
  }
  return segment + 1;
}
