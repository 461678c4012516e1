/**
 * The two-step API: reserve IOVA once, link physical pieces into it, synchronise once, take it all down with one unmap
 * (Linux drivers/iommu/dma-iommu.c: `dma_iova_try_alloc`, `dma_iova_link`, `dma_iova_sync`, `dma_iova_unlink`,
 * `dma_iova_destroy`, `dma_iova_free`).
 * Edges that must be bounced are in twoStepBounce.ts.
 * Leaves out: cache maintenance for devices that are not coherent.
 */
import { PAGE_OFFSET } from './pageOffset.ts';
import { pageAlign } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, type DmaDirection } from './attributes.ts';
import type { DmaIommu } from './dmaIommu.ts';
import { describeErrno, EIO, EOPNOTSUPP, EPERM } from './errno.ts';
import type { FlushQueue } from './iova/flushQueue.ts';
import type { DestroyCallEvent, FreeCallEvent, LinkCallEvent, TryAllocCallEvent } from './trace.ts';
import { linkBounced, unlinkBounced } from './twoStepBounce.ts';

/**
 * `struct dma_iova_state`. The kernel does not clear it on free or destroy: whoever asks `inUse` later must `reset` it.
 */
export class DmaIovaState {
  /** Device address of the first byte, the offset in its page included. */
  address = 0;
  /** Bytes as asked; 0: not in use. */
  size = 0;
  /** `DMA_IOVA_USE_SWIOTLB`, bit 63 of the kernel's size: at least one link was bounced. */
  usesSwiotlb = false;

  /** `dma_use_iova`. */
  get inUse(): boolean {
    return this.size !== 0;
  }

  reset(): void {
    this.address = 0;
    this.size = 0;
    this.usesSwiotlb = false;
  }
}

/** Bit 63 of a size, which is the state's flag. */
const FIRST_FLAGGED_SIZE = 2 ** 63;

/** False: no range of IOVA is free, or the size is impossible; the caller maps piece by piece. */
export function dmaIovaTryAlloc(cpu: Cpu, dma: DmaIommu, state: DmaIovaState, phys: number, size: number): boolean {
  const { trace } = dma;
  let call: TryAllocCallEvent | null = null;
  if (trace !== null) {
    call = { event: 'call', name: 'dma_iova_try_alloc', phys, size, result: 0, address: 0 };
    trace.emit(call);
  }
  cpu.spend(dma.costs.iovaTryAllocCall);
  state.reset();
  if (size === 0 || size >= FIRST_FLAGGED_SIZE) {
    dma.warn(cpu, `dma_iova_try_alloc of ${size} bytes`);
    return false;
  }
  const offset = phys & PAGE_OFFSET;
  const iova = dma.allocIova(cpu, pageAlign(size + offset), dma.device.dmaMask);
  if (iova === 0) {
    dma.warn(cpu, `dma_iova_try_alloc: no IOVA is free for ${size} bytes`);
    return false;
  }
  state.address = iova + offset;
  state.size = size;
  if (call !== null) {
    call.result = 1;
    call.address = state.address;
  }
  return true;
}

/** 0 or a negative errno. A link that failed as a whole changes neither the state nor the range. */
export function dmaIovaLink(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  phys: number,
  offset: number,
  size: number,
  direction: DmaDirection,
  attributes: number,
): number {
  const { trace } = dma;
  let call: LinkCallEvent | null = null;
  if (trace !== null) {
    const { address } = state;
    call = { event: 'call', name: 'dma_iova_link', address, phys, offset, size, direction, attributes, result: 0 };
    trace.emit(call);
  }
  cpu.spend(dma.costs.iovaLinkCall);
  const error = link(cpu, dma, state, phys, offset, size, direction, attributes);
  if (error !== 0) dma.warn(cpu, `dma_iova_link at offset ${offset} failed: ${describeErrno(error)}`);
  if (call !== null) call.result = error;
  return error;
}

function link(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  phys: number,
  offset: number,
  size: number,
  direction: DmaDirection,
  attributes: number,
): number {
  const startPad = phys & PAGE_OFFSET;
  if (startPad !== 0 && offset > 0) {
    dma.warn(cpu, `dma_iova_link at offset ${offset}: only the first piece may start inside a page`);
    return EIO;
  }
  const { device, bounceBuffers } = dma;
  const coherentOnly = (attributes & DMA_ATTR_REQUIRE_COHERENT) !== 0;
  if (coherentOnly && (state.usesSwiotlb || !device.coherent)) return EOPNOTSUPP;
  if ((device.untrusted || !device.coherent) && bounceBuffers.needed(phys, size, direction)) {
    if (coherentOnly || (attributes & DMA_ATTR_MMIO) !== 0) return EPERM;
    return linkBounced(cpu, dma, state, phys, offset, size, direction, attributes);
  }
  const iova = state.address + offset - startPad;
  return dma.domain.map(cpu, iova, phys - startPad, pageAlign(size + startPad), direction);
}

/** Makes links visible to the device: a flush where the hardware keeps what was not present, nothing elsewhere. */
export function dmaIovaSync(cpu: Cpu, dma: DmaIommu, state: DmaIovaState, offset: number, size: number): number {
  const { trace } = dma;
  if (trace !== null) {
    trace.emit({ event: 'call', name: 'dma_iova_sync', address: state.address, offset, size, result: 0 });
  }
  cpu.spend(dma.costs.iovaSyncCall);
  const start = state.address + offset;
  const startPad = start & PAGE_OFFSET;
  dma.domain.syncMap(cpu, start - startPad, pageAlign(size + startPad));
  return 0;
}

/** Unmaps and always flushes before it returns, because the caller keeps the range and may link it anew at once. */
export function dmaIovaUnlink(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  offset: number,
  size: number,
  direction: DmaDirection,
  attributes: number,
): void {
  const { trace } = dma;
  if (trace !== null) {
    trace.emit({ event: 'call', name: 'dma_iova_unlink', address: state.address, offset, size, result: 0 });
  }
  cpu.spend(dma.costs.iovaUnlinkCall);
  const start = state.address + offset;
  if (state.usesSwiotlb) unlinkBounced(cpu, dma, start, size, direction, attributes);
  const startPad = start & PAGE_OFFSET;
  const bytes = pageAlign(size + startPad);
  const unmapped = dma.domain.unmap(cpu, start - startPad, bytes, false);
  if (unmapped !== bytes) dma.warn(cpu, `dma_iova_unlink removed ${unmapped} of ${bytes} bytes`);
  dma.domain.sync(cpu);
}

/** Unmaps [0, mappedLength) and gives back the range, by the rules of the profile. */
export function dmaIovaDestroy(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  mappedLength: number,
  direction: DmaDirection,
  attributes: number,
): void {
  const { trace, profile } = dma;
  if (trace !== null) {
    const { address } = state;
    const call: DestroyCallEvent = { event: 'call', name: 'dma_iova_destroy', address, mappedLength, result: 0 };
    trace.emit(call);
  }
  const queue = profile.destroyUsesFlushQueue ? dma.flushQueue : null;
  if (mappedLength === 0) {
    dmaIovaFree(cpu, dma, state);
  } else if (profile.destroyFreesWholeRange && queue === null) {
    // composed of the two public functions, which a trace shows
    dmaIovaUnlink(cpu, dma, state, 0, mappedLength, direction, attributes);
    dmaIovaFree(cpu, dma, state);
  } else {
    unmapAndFree(cpu, dma, state, mappedLength, queue, direction, attributes);
  }
}

/** Gives the range straight back to the allocator; every link must be gone, and nothing is flushed. */
export function dmaIovaFree(cpu: Cpu, dma: DmaIommu, state: DmaIovaState): void {
  const { trace } = dma;
  if (trace !== null) {
    const { address, size } = state;
    const call: FreeCallEvent = { event: 'call', name: 'dma_iova_free', address, size, result: 0 };
    trace.emit(call);
  }
  cpu.spend(dma.costs.iovaFreeCall);
  const offset = state.address & PAGE_OFFSET;
  dma.freeIova(cpu, state.address - offset, pageAlign(state.size + offset));
}

/** `__iommu_dma_iova_unlink` with `free_iova` (before 7.3): one unmap, and the range goes back later if the domain is lazy. */
function unmapAndFree(
  cpu: Cpu,
  dma: DmaIommu,
  state: DmaIovaState,
  mappedLength: number,
  queue: FlushQueue | null,
  direction: DmaDirection,
  attributes: number,
): void {
  const { domain, profile } = dma;
  cpu.spend(dma.costs.iovaUnlinkCall);
  if (state.usesSwiotlb) unlinkBounced(cpu, dma, state.address, mappedLength, direction, attributes);
  const offset = state.address & PAGE_OFFSET;
  const iova = state.address - offset;
  const bytes = pageAlign(mappedLength + offset);
  const unmapped = domain.unmap(cpu, iova, bytes, queue !== null);
  if (unmapped !== bytes) dma.warn(cpu, `dma_iova_destroy removed ${unmapped} of ${bytes} bytes`);
  const freed = profile.destroyFreesWholeRange ? pageAlign(state.size + offset) : bytes;
  if (queue === null) {
    domain.sync(cpu);
    cpu.spend(dma.costs.iovaFreeCall);
    dma.freeIova(cpu, iova, freed);
  } else {
    dma.queueIova(cpu, queue, iova, freed);
  }
}
