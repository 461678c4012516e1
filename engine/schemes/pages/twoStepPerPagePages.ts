/**
 * What Linux does since 6.16: the range of IOVA is reserved when the region is registered, every page is linked and synchronised by itself,
 * and each unlink waits for its own invalidation, also in lazy domains (mm/hmm.c, here dma/hmmDma.ts).
 */
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { ENOMEM } from '../../dma/errno.ts';
import { hmmDmaMapAlloc, hmmDmaMapFree, HmmDmaMap, hmmDmaMapPfn, hmmDmaUnmapPfn } from '../../dma/hmmDma.ts';
import { P2pdmaMapState } from '../../dma/p2pdmaState.ts';
import { DMA_MAPPING_ERROR, PAGE_SIZE } from '../../memory/addresses.ts';
import { HMM_PFN_DMA_MAPPED, HMM_PFN_VALID, type HmmPfnList } from '../../memory/hmmPfn.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES } from '../mappedRequest.ts';
import type { PageScheme } from '../pageScheme.ts';

export class TwoStepPerPagePages implements PageScheme {
  readonly name = 'two_step_per_page';
  refusal = '';
  mapped = 0;
  private readonly dma: DmaApi;
  private readonly device: DmaDevice;
  private readonly map = new HmmDmaMap();
  private readonly peers = new P2pdmaMapState();

  constructor(dma: DmaApi, device: DmaDevice) {
    this.dma = dma;
    this.device = device;
  }

  get pfns(): HmmPfnList {
    return this.map.pfns;
  }

  get bookkeepingBytes(): number {
    const { pfns, dmaList } = this.map;
    return pfns.flags.length * 8 + (dmaList === null ? 0 : dmaList.byteLength) + DMA_IOVA_STATE_BYTES;
  }

  reserve(cpu: Cpu, entries: number): number {
    const ret = hmmDmaMapAlloc(cpu, this.dma, this.device, this.map, entries, PAGE_SIZE);
    this.refusal =
      ret === 0
        ? ''
        : `Memory for ${this.device.name} may have to be copied, and a page that CPU and device use at the same time cannot be.`;
    return ret;
  }

  mapPages(cpu: Cpu, first: number, count: number, addresses: Float64Array): number {
    const { dma, device, map, peers } = this;
    this.refusal = '';
    for (let index = first; index < first + count; index += 1) {
      addresses[index - first] = DMA_MAPPING_ERROR;
      const had = map.pfns.flags[index]!;
      if ((had & HMM_PFN_VALID) === 0) continue;
      const address = hmmDmaMapPfn(cpu, dma, device, map, index, peers);
      if (dma.dmaMappingError(device, address)) {
        this.refusal = `Page ${index} of the region could not be mapped: no memory for tables, a peer out of reach, or a page to be copied.`;
        return ENOMEM;
      }
      addresses[index - first] = address;
      if ((had & HMM_PFN_DMA_MAPPED) === 0) this.mapped += 1;
    }
    return 0;
  }

  widen(): void {
    // every page goes by itself
  }

  unmapPages(cpu: Cpu, first: number, end: number): number {
    let unmapped = 0;
    for (let index = first; index < end; index += 1) {
      if (hmmDmaUnmapPfn(cpu, this.dma, this.device, this.map, index)) unmapped += 1;
    }
    this.mapped -= unmapped;
    return unmapped;
  }

  release(cpu: Cpu): void {
    hmmDmaMapFree(cpu, this.dma, this.device, this.map);
    this.map.state.reset();
  }
}
