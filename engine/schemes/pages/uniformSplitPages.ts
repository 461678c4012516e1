/**
 * Regions of one kind only, under a driver that needs one region of all of it: where a page is of another kind than its place, it starts a
 * transaction of its own with a range for the neighbours of its kind that come in the same batch, which goes with their last page. The device still gets one
 * list. `transactions` says into how many regions of one kind what is mapped now would have to be cut.
 */
import { DMA_ATTR_MMIO, DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { ENOMEM } from '../../dma/errno.ts';
import { DmaIovaState } from '../../dma/twoStep.ts';
import { PAGE_SIZE, physAddr } from '../../memory/addresses.ts';
import { HMM_PFN_DMA_MAPPED, HMM_PFN_P2PDMA, HMM_PFN_P2PDMA_BUS, HMM_PFN_VALID } from '../../memory/hmmPfn.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES } from '../mappedRequest.ts';
import { PagesByKind } from './pagesByKind.ts';

/** A range of IOVA for entries of one kind. */
interface Transaction {
  readonly attributes: number;
  readonly first: number;
  readonly end: number;
  readonly state: DmaIovaState;
  pages: number;
}

export class UniformSplitPages extends PagesByKind {
  readonly name = 'uniform_split';
  /** The first is that of the whole region. */
  private ranges: Transaction[] = [];
  /** Of each entry that is mapped: its range. */
  private rangeOf: (Transaction | undefined)[] = [];

  protected get placeBytes(): number {
    return this.ranges.length * DMA_IOVA_STATE_BYTES;
  }

  protected get hasPlace(): boolean {
    return this.ranges.length > 0;
  }

  /** Runs of neighbours that are mapped in the same way: what an adapter would need keys for. */
  get transactions(): number {
    const { flags } = this.pfns;
    const kinds = HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS;
    let runs = 0;
    let last = -1;
    for (const flag of flags) {
      if ((flag & HMM_PFN_DMA_MAPPED) === 0) continue;
      if ((flag & kinds) !== last) runs += 1;
      last = flag & kinds;
    }
    return runs;
  }

  protected reservePlace(cpu: Cpu, entries: number): number {
    // the kind of memory that nobody asked for is RAM
    this.take(cpu, 0, entries, 0);
    return 0;
  }

  protected enter(cpu: Cpu, index: number, phys: number, attributes: number): number {
    const { dma, device } = this;
    const kind = attributes & DMA_ATTR_MMIO;
    const range =
      this.ranges.find((held) => held.attributes === kind && held.first <= index && index < held.end) ??
      this.take(cpu, index, this.endOfOwner(index), kind);
    if (range === null) return ENOMEM;
    const { state, first } = range;
    const offset = (index - first) * PAGE_SIZE;
    let error = dma.dmaIovaLink(cpu, device, state, physAddr(phys), offset, PAGE_SIZE, DMA_BIDIRECTIONAL, attributes);
    if (error === 0) error = dma.dmaIovaSync(cpu, device, state, offset, PAGE_SIZE);
    if (error !== 0) {
      this.drop(cpu, range);
      return error;
    }
    range.pages += 1;
    this.rangeOf[index] = range;
    return 0;
  }

  protected leave(cpu: Cpu, first: number, end: number, attributes: number): void {
    for (let index = first; index < end;) {
      const range = this.rangeOf[index]!;
      let next = index;
      while (next < end && this.rangeOf[next] === range) {
        this.rangeOf[next] = undefined;
        next += 1;
      }
      const offset = (index - range.first) * PAGE_SIZE;
      const bytes = (next - index) * PAGE_SIZE;
      this.dma.dmaIovaUnlink(cpu, this.device, range.state, offset, bytes, DMA_BIDIRECTIONAL, attributes);
      range.pages -= next - index;
      this.drop(cpu, range);
      index = next;
    }
  }

  protected placeOf(index: number): number {
    const { state, first } = this.rangeOf[index]!;
    return state.address + (index - first) * PAGE_SIZE;
  }

  protected releasePlace(cpu: Cpu): void {
    for (const { state } of this.ranges) this.dma.dmaIovaFree(cpu, this.device, state);
    this.ranges = [];
    this.rangeOf = [];
  }

  private take(cpu: Cpu, first: number, end: number, attributes: number): Transaction | null {
    const state = new DmaIovaState();
    if (!this.dma.dmaIovaTryAlloc(cpu, this.device, state, physAddr(0), (end - first) * PAGE_SIZE)) return null;
    const range = { attributes, first, end, state, pages: 0 };
    this.ranges.push(range);
    return range;
  }

  /** A range goes with its last page, but not that of the region. */
  private drop(cpu: Cpu, range: Transaction): void {
    if (range.pages > 0 || range === this.ranges[0]) return;
    this.dma.dmaIovaFree(cpu, this.device, range.state);
    this.ranges.splice(this.ranges.indexOf(range), 1);
  }

  /** One past the last of the neighbours that the same peer owns and that are waiting to be mapped. */
  private endOfOwner(index: number): number {
    const { flags, pages } = this.pfns;
    const owner = this.dma.p2pdmaProviderOf(pages[index]!);
    let end = index + 1;
    while (end < flags.length && waits(flags[end]!) && this.dma.p2pdmaProviderOf(pages[end]!) === owner) end += 1;
    return end;
  }
}

function waits(flags: number): boolean {
  return (flags & (HMM_PFN_VALID | HMM_PFN_DMA_MAPPED)) === HMM_PFN_VALID;
}
