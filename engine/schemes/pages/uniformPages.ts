/**
 * Regions of one kind of memory only, as the narrow proposals of the thread have it: the first page that is mapped says which, and a page that
 * has become of another kind is refused with the reason as long as any page of the first kind is mapped. Whoever wants both has to register
 * regions before the page, of the page, and after it.
 */
import { EINVAL } from '../../dma/errno.ts';
import type { P2pdmaMapType } from '../../dma/p2pdmaState.ts';
import { inWords } from '../peerVectors.ts';
import { TwoStepPages } from './twoStepPages.ts';

export class UniformPages extends TwoStepPages {
  override readonly name = 'uniform_only';
  private kind: P2pdmaMapType = 'none';

  protected override accepts(index: number, way: P2pdmaMapType): number {
    if (this.mapped > 0 && way !== this.kind) {
      return this.refuse(
        EINVAL,
        `Page ${index} of the region is ${inWords(way)} now, and the region is of ${inWords(this.kind)}: an API for memory of one kind ` +
          'cannot map both. Register regions before the page, of the page, and after it, or let the page move back.',
      );
    }
    this.kind = way;
    return 0;
  }
}
