/**
 * Every batch of pages that a fault brings is one scatterlist and one `dma_map_sg`. A scatterlist is unmapped as a whole, so an invalidation of
 * one page takes the addresses of its whole batch, and the adapter faults on the neighbours again: the price of an API for lists where pages come
 * and go one by one. The lists are kept, 32 bytes a page. In a lazy domain
 * the unmap leaves the flush to the queue.
 */
import { DMA_ATTR_NO_WARN, DMA_ATTR_REQUIRE_COHERENT, DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { EOPNOTSUPP, EREMOTEIO } from '../../dma/errno.ts';
import { ScatterList } from '../../dma/scatterList.ts';
import { DMA_MAPPING_ERROR, PAGE_SIZE } from '../../memory/addresses.ts';
import { HMM_PFN_DMA_MAPPED, HMM_PFN_STICKY, HMM_PFN_VALID, HmmPfnList } from '../../memory/hmmPfn.ts';
import type { Cpu } from '../../time/cpu.ts';
import { SCATTERLIST_ENTRY_BYTES } from '../mappedRequest.ts';
import type { EntryRange, PageScheme } from '../pageScheme.ts';

/** Pages that were mapped together. */
interface Batch {
  readonly list: ScatterList;
  readonly entries: readonly number[];
  readonly addresses: Float64Array;
}

const ATTRIBUTES = DMA_ATTR_REQUIRE_COHERENT | DMA_ATTR_NO_WARN;

export class MapSgPages implements PageScheme {
  readonly name = 'map_sg';
  pfns = new HmmPfnList(0);
  refusal = '';
  mapped = 0;
  /** Pages that lost their address because a neighbour of their batch went. */
  lostWithNeighbours = 0;
  private readonly dma: DmaApi;
  private readonly device: DmaDevice;
  private batchOf: (Batch | undefined)[] = [];

  constructor(dma: DmaApi, device: DmaDevice) {
    this.dma = dma;
    this.device = device;
  }

  get bookkeepingBytes(): number {
    return this.pfns.length * 8 + this.mapped * SCATTERLIST_ENTRY_BYTES;
  }

  reserve(_cpu: Cpu, entries: number): number {
    const { dma, device } = this;
    this.refusal = '';
    if (!device.dmaSkipSync || dma.dmaAddressingLimited(device)) {
      this.refusal = `Memory for ${device.name} may have to be copied, and a page that CPU and device use at the same time cannot be.`;
      return EOPNOTSUPP;
    }
    this.pfns = new HmmPfnList(entries);
    return 0;
  }

  mapPages(cpu: Cpu, first: number, count: number, addresses: Float64Array): number {
    const { flags } = this.pfns;
    this.refusal = '';
    const waiting: number[] = [];
    for (let index = first; index < first + count; index += 1) {
      if ((flags[index]! & (HMM_PFN_VALID | HMM_PFN_DMA_MAPPED)) === HMM_PFN_VALID) waiting.push(index);
    }
    const error = waiting.length === 0 ? 0 : this.mapBatch(cpu, waiting);
    for (let index = first; index < first + count; index += 1) {
      const batch = this.batchOf[index];
      addresses[index - first] = batch === undefined ? DMA_MAPPING_ERROR : addressIn(batch, index);
    }
    return error;
  }

  widen(range: EntryRange): void {
    let from = range.first;
    let to = range.end;
    // what goes with the edges may have edges of its own
    for (let index = range.first; index < range.end; index += 1) {
      const batch = this.batchOf[index];
      if (batch === undefined) continue;
      from = Math.min(from, batch.entries[0]!);
      to = Math.max(to, batch.entries.at(-1)! + 1);
    }
    if (from === range.first && to === range.end) return;
    range.first = from;
    range.end = to;
    this.widen(range);
  }

  unmapPages(cpu: Cpu, first: number, end: number): number {
    const { flags } = this.pfns;
    let unmapped = 0;
    for (let index = first; index < end; index += 1) {
      const batch = this.batchOf[index];
      if (batch === undefined) continue;
      this.dma.dmaUnmapSg(cpu, this.device, batch.list, DMA_BIDIRECTIONAL, ATTRIBUTES);
      for (const entry of batch.entries) {
        if (entry < first || entry >= end) this.lostWithNeighbours += 1;
        flags[entry]! &= ~HMM_PFN_STICKY;
        this.batchOf[entry] = undefined;
      }
      this.mapped -= batch.entries.length;
      unmapped += batch.entries.length;
    }
    return unmapped;
  }

  release(): void {
    if (this.mapped > 0) throw new Error('a region is released while lists of it are mapped');
    this.pfns = new HmmPfnList(0);
    this.batchOf = [];
  }

  private mapBatch(cpu: Cpu, entries: readonly number[]): number {
    const { pages, flags } = this.pfns;
    const list = new ScatterList(entries.length);
    for (const index of entries) list.add(pages[index]! * PAGE_SIZE, PAGE_SIZE);
    const segments = this.dma.dmaMapSg(cpu, this.device, list, DMA_BIDIRECTIONAL, ATTRIBUTES);
    if (segments < 0) {
      const unreachable = 'the batch holds memory of a peer that the device cannot reach';
      this.refusal = `dma_map_sg refuses the batch at page ${entries[0]!}: ${segments === EREMOTEIO ? unreachable : String(segments)}.`;
      return segments;
    }
    const addresses = new Float64Array(entries.length);
    let at = 0;
    for (let segment = 0; segment < segments; segment += 1) {
      for (let done = 0; done < list.dmaLength[segment]!; done += PAGE_SIZE, at += 1) {
        addresses[at] = list.dmaAddress[segment]! + done;
      }
    }
    const batch = { list, entries, addresses };
    for (const index of entries) {
      flags[index]! |= HMM_PFN_DMA_MAPPED;
      this.batchOf[index] = batch;
    }
    this.mapped += entries.length;
    return 0;
  }
}

function addressIn(batch: Batch, entry: number): number {
  return batch.addresses[batch.entries.indexOf(entry)]!;
}
