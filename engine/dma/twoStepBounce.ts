/**
 * The bounce path of the two-step API: the first and the last page of a link that does not fill them go to bounce buffers, all
 * between them is linked where it lies (Linux drivers/iommu/dma-iommu.c: `iommu_dma_iova_link_swiotlb`,
 * `iommu_dma_iova_bounce_and_link`, `iommu_dma_iova_unlink_range_slow`).
 * A head works only if its buffer has the same offset in its page as the memory, which a bounce buffer keeps only as far as
 * the device's `minAlignMask` says; otherwise the page table refuses it.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { DmaDirection } from './attributes.ts';
import type { DmaIommu } from './dmaIommu.ts';
import { ENOMEM } from './errno.ts';
import { PAGE_OFFSET } from './pageOffset.ts';
import { NO_BOUNCE_BUFFER } from './swiotlb/swiotlb.ts';
import { dmaIovaUnlink, type DmaIovaState } from './twoStep.ts';

/** 0 or a negative errno; on failure nothing of this link stays mapped. */
export function linkBounced(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  phys: number,
  offset: number,
  size: number,
  direction: DmaDirection,
  attributes: number,
): number {
  const address = state.address + offset;
  const head = phys & PAGE_OFFSET;
  const tail = (phys + size) & PAGE_OFFSET;
  let done = 0;
  if (head !== 0) {
    const length = Math.min(size, PAGE_SIZE - head);
    const error = bounceAndLink(cpu, dma, state, address, phys, length, direction, attributes);
    if (error !== 0 || length === size) return error;
    done = length;
  }
  const middle = size - done - tail;
  let error = 0;
  if (middle > 0 || !dma.profile.bouncedLinkSkipsEmptyMiddle) {
    error = dma.domain.map(cpu, address + done, phys + done, middle, direction);
    if (error === 0) done += middle;
  }
  if (error === 0 && tail !== 0) {
    error = bounceAndLink(cpu, dma, state, address + done, phys + done, tail, direction, attributes);
  }
  if (error !== 0 && done > 0) {
    const from = dma.profile.bouncedLinkSkipsEmptyMiddle ? offset : 0;
    dmaIovaUnlink(cpu, dma, state, from, done, direction, attributes);
  }
  return error;
}

/** Gives back the bounce buffers of a range, page by page, and what the device wrote into them; a hole ends the walk. */
export function unlinkBounced(
  cpu: Cpu,
  dma: DmaIommu,
  address: number,
  size: number,
  direction: DmaDirection,
  attributes: number,
): void {
  let done = 0;
  // a range of no bytes loses the buffer that it begins in
  do {
    const at = address + done;
    const phys = dma.domain.iovaToPhys(at);
    if (phys === -1) {
      dma.warn(cpu, `nothing is mapped at ${at.toString(16)}, inside a range that was to be unlinked`);
      return;
    }
    const length = Math.min(size - done, PAGE_SIZE - (at & PAGE_OFFSET));
    dma.bounceBuffers.unmap(cpu, phys, length, direction, attributes);
    done += length;
  } while (done < size);
}

/** One page of the range, backed by a bounce buffer. */
function bounceAndLink(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  address: number,
  phys: number,
  length: number,
  direction: DmaDirection,
  attributes: number,
): number {
  const bounce = dma.bounceBuffers.map(cpu, phys, length, direction, attributes);
  if (bounce === NO_BOUNCE_BUFFER) return ENOMEM;
  const offset = phys & PAGE_OFFSET;
  const error = dma.domain.map(cpu, address - offset, bounce - offset, PAGE_SIZE, direction);
  if (error === 0) state.usesSwiotlb = true;
  else dma.bounceBuffers.unmap(cpu, bounce, length, direction, attributes);
  return error;
}
