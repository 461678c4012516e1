/**
 * A hodgepodge with a fast path for what is of one kind, as the mail asks for: as long as all mapped pages have one owner, only the first page of
 * a batch is asked how the device reaches it, and a batch is synchronised and flushed once. The first page of another owner ends that: from
 * then on every page is asked, synchronised and flushed by itself, until nothing of the region is mapped any more.
 */
import type { P2pdmaMapType } from '../../dma/p2pdmaState.ts';
import type { P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { Cpu } from '../../time/cpu.ts';
import { TwoStepPages } from './twoStepPages.ts';

export class HybridPages extends TwoStepPages {
  override readonly name = 'hybrid';
  /** Times that a page of another owner ended the fast path. */
  flips = 0;
  private uniform = true;
  private owner: P2pdmaProvider | null = null;
  private way: P2pdmaMapType = 'none';

  override unmapPages(cpu: Cpu, first: number, end: number): number {
    let unmapped = 0;
    if (this.uniform) unmapped = super.unmapPages(cpu, first, end);
    else for (let index = first; index < end; index += 1) unmapped += super.unmapPages(cpu, index, index + 1);
    if (this.mapped === 0) this.uniform = true;
    return unmapped;
  }

  protected override wayOf(cpu: Cpu, index: number, page: number): P2pdmaMapType {
    const owner = this.dma.p2pdmaProviderOf(page);
    if (this.mapped > 0 && this.uniform && owner === this.owner) return this.way;
    const way = super.wayOf(cpu, index, page);
    if (this.mapped > 0 && this.uniform) {
      this.uniform = false;
      this.flips += 1;
      super.finish(cpu, index, index);
    }
    if (this.uniform) {
      this.owner = owner;
      this.way = way;
    }
    return way;
  }

  protected override enter(cpu: Cpu, index: number, phys: number, attributes: number): number {
    const error = super.enter(cpu, index, phys, attributes);
    return error === 0 && !this.uniform ? super.finish(cpu, index, index + 1) : error;
  }
}
