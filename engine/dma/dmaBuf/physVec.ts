/**
 * Maps the memory of a peer device, given as physical ranges of one provider, for an importer, and returns a scatterlist that
 * has DMA addresses only (Linux 6.19 drivers/dma-buf/dma-buf-mapping.c: `dma_buf_phys_vec_to_sgt`, `dma_buf_free_sgt`). Behind
 * an IOMMU all ranges share one range of IOVA, so the importer sees one run.
 * Where the kernel's text is wrong this is right: every range is linked after the one before it, lengths beyond 4 GiB stay
 * whole, entries keep to pages, and an error gives back all that was taken, also when the first range fails.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { P2pdmaProvider } from '../../memory/pageKinds.ts';
import { P2pdmaMapState } from '../../pcie/p2pdma.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_ATTR_MMIO, type DmaDirection } from '../attributes.ts';
import { EINVAL, ENOMEM } from '../errno.ts';
import { ScatterList } from '../scatterList.ts';
import { DmaIovaState } from '../twoStep.ts';
import type { DmaBufAttachment } from './dmaBuf.ts';
import type { PhysVec } from './physicalRange.ts';

/** `UINT_MAX` rounded down to a page: the most that an entry's 32-bit length holds of whole pages. */
export const LARGEST_ENTRY = 2 ** 32 - PAGE_SIZE;

/** `struct dma_buf_dma`: the list that the importer sees, with what unmapping it takes. */
export class PhysVecScatterList extends ScatterList {
  /** Null: bus addresses, which were never mapped. */
  readonly state: DmaIovaState | null;
  readonly size: number;
  /** Where there is no IOVA: the mapping of each range. */
  readonly ranges: { readonly address: number; readonly length: number }[] = [];

  constructor(entries: number, state: DmaIovaState | null, size: number) {
    super(Math.max(1, entries));
    this.state = state;
    this.size = size;
  }

  /** One run for the device, in as many entries as its length needs. */
  addRun(address: number, length: number): void {
    for (let done = 0; done < length; done += LARGEST_ENTRY) {
      this.dmaAddress[this.mappedCount] = address + done;
      this.dmaLength[this.mappedCount] = Math.min(length - done, LARGEST_ENTRY);
      this.mappedCount += 1;
    }
  }
}

/** The list, or a negative errno. `size` is the sum of the ranges. */
export function dmaBufPhysVecToSgt(
  cpu: Cpu,
  attachment: DmaBufAttachment,
  provider: P2pdmaProvider,
  vectors: readonly PhysVec[],
  size: number,
  direction: DmaDirection,
): PhysVecScatterList | number {
  const { api, device, buffer } = attachment;
  buffer.reservation.assertHeld('dma_buf_phys_vec_to_sgt');
  const type = new P2pdmaMapState().resolve(api.p2pdma, provider, device.sourceId);
  let state: DmaIovaState | null = null;
  switch (type) {
    case 'bus_addr':
      break;
    case 'thru_host_bridge':
      state = new DmaIovaState();
      api.dmaIovaTryAlloc(cpu, device, state, 0, size);
      break;
    case 'none':
    case 'not_supported':
      return EINVAL;
  }
  const list = new PhysVecScatterList(countEntries(vectors, state, size), state, size);
  const error = mapRanges(cpu, attachment, provider, vectors, list, direction);
  return error === 0 ? list : error;
}

/** Takes back what dmaBufPhysVecToSgt made. */
export function dmaBufFreeSgt(
  cpu: Cpu,
  attachment: DmaBufAttachment,
  list: PhysVecScatterList,
  direction: DmaDirection,
): void {
  const { api, device, buffer } = attachment;
  buffer.reservation.assertHeld('dma_buf_free_sgt');
  if (list.state?.inUse === true) {
    api.dmaIovaDestroy(cpu, device, list.state, list.size, direction, DMA_ATTR_MMIO);
  } else {
    unmapRanges(cpu, attachment, list, direction);
  }
  list.reset();
}

function countEntries(vectors: readonly PhysVec[], state: DmaIovaState | null, size: number): number {
  if (state?.inUse === true) return Math.ceil(size / LARGEST_ENTRY);
  let entries = 0;
  for (const vector of vectors) entries += Math.ceil(vector.length / LARGEST_ENTRY);
  return entries;
}

function mapRanges(
  cpu: Cpu,
  attachment: DmaBufAttachment,
  provider: P2pdmaProvider,
  vectors: readonly PhysVec[],
  list: PhysVecScatterList,
  direction: DmaDirection,
): number {
  const { api, device } = attachment;
  const { state } = list;
  if (state === null) {
    for (const { phys, length } of vectors) list.addRun(phys + provider.busOffset, length);
    return 0;
  }
  if (state.inUse) return linkRanges(cpu, attachment, state, vectors, list, direction);
  for (const { phys, length } of vectors) {
    const address = api.dmaMapPhys(cpu, device, phys, length, direction, DMA_ATTR_MMIO);
    if (api.dmaMappingError(device, address)) {
      unmapRanges(cpu, attachment, list, direction);
      return ENOMEM;
    }
    list.ranges.push({ address, length });
    list.addRun(address, length);
  }
  return 0;
}

function linkRanges(
  cpu: Cpu,
  attachment: DmaBufAttachment,
  state: DmaIovaState,
  vectors: readonly PhysVec[],
  list: PhysVecScatterList,
  direction: DmaDirection,
): number {
  const { api, device } = attachment;
  let linked = 0;
  let error = 0;
  for (const { phys, length } of vectors) {
    error = api.dmaIovaLink(cpu, device, state, phys, linked, length, direction, DMA_ATTR_MMIO);
    if (error !== 0) break;
    linked += length;
  }
  if (error === 0) error = api.dmaIovaSync(cpu, device, state, 0, linked);
  if (error === 0) list.addRun(state.address, linked);
  else api.dmaIovaDestroy(cpu, device, state, linked, direction, DMA_ATTR_MMIO);
  return error;
}

function unmapRanges(cpu: Cpu, attachment: DmaBufAttachment, list: PhysVecScatterList, direction: DmaDirection): void {
  for (const { address, length } of list.ranges) {
    attachment.api.dmaUnmapPhys(cpu, attachment.device, address, length, direction, DMA_ATTR_MMIO);
  }
  list.ranges.length = 0;
}
