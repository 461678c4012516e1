/**
 * The two-step API with what a batch of pages allows: one range of IOVA for the region, a link for each page, one sync for a batch, and one
 * unlink with one flush for neighbours that go together. No kernel does so for on-demand paging yet; two_step_per_page is what Linux does.
 */
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { DmaIovaState } from '../../dma/twoStep.ts';
import { PAGE_SIZE, physAddr } from '../../memory/addresses.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES } from '../mappedRequest.ts';
import type { SchemeName } from '../scheme.ts';
import { PagesByKind } from './pagesByKind.ts';

export class TwoStepPages extends PagesByKind {
  readonly name: SchemeName = 'two_step';
  protected readonly placeBytes = DMA_IOVA_STATE_BYTES;
  protected readonly state = new DmaIovaState();
  /** First and last entry that the batch has linked and not synchronised yet; -1: none. */
  private firstLinked = -1;
  private lastLinked = -1;

  protected get hasPlace(): boolean {
    return this.state.inUse;
  }

  protected reservePlace(cpu: Cpu, entries: number): number {
    this.state.reset();
    this.dma.dmaIovaTryAlloc(cpu, this.device, this.state, physAddr(0), entries * PAGE_SIZE);
    return 0;
  }

  protected enter(cpu: Cpu, index: number, phys: number, attributes: number): number {
    const { dma, device, state } = this;
    const offset = index * PAGE_SIZE;
    const error = dma.dmaIovaLink(cpu, device, state, physAddr(phys), offset, PAGE_SIZE, DMA_BIDIRECTIONAL, attributes);
    if (error !== 0) return error;
    if (this.firstLinked === -1) this.firstLinked = index;
    this.lastLinked = index;
    return 0;
  }

  protected override finish(cpu: Cpu, _first: number, _end: number): number {
    if (this.firstLinked === -1) return 0;
    const offset = this.firstLinked * PAGE_SIZE;
    const bytes = (this.lastLinked + 1) * PAGE_SIZE - offset;
    this.firstLinked = -1;
    return this.dma.dmaIovaSync(cpu, this.device, this.state, offset, bytes);
  }

  protected leave(cpu: Cpu, first: number, end: number, attributes: number): void {
    const bytes = (end - first) * PAGE_SIZE;
    this.dma.dmaIovaUnlink(cpu, this.device, this.state, first * PAGE_SIZE, bytes, DMA_BIDIRECTIONAL, attributes);
  }

  protected placeOf(index: number): number {
    return this.state.address + index * PAGE_SIZE;
  }

  protected releasePlace(cpu: Cpu): void {
    if (this.state.inUse) this.dma.dmaIovaFree(cpu, this.device, this.state);
    this.state.reset();
  }
}
