/**
 * Every page a `dma_map_phys` of its own, with an IOVA, a sync and an invalidation of its own, and a list of the addresses as long as the
 * region: what on-demand paging did before it had a range of IOVA (Linux drivers/infiniband/core/umem_odp.c up to 6.15, `dma_list`).
 * In a lazy domain the unmap leaves the flush to the queue, so the device could reach a page for 10 ms after the process has lost it.
 */
import { PagesByKind } from './pagesByKind.ts';

export class MapPhysPages extends PagesByKind {
  readonly name = 'map_phys';
  protected readonly placeBytes = 0;
  protected readonly hasPlace = false;

  protected reservePlace(): number {
    return 0;
  }

  protected enter(): number {
    return 0;
  }

  protected leave(): void {
    // there are no places to leave
  }

  protected placeOf(index: number): number {
    throw new Error(`entry ${String(index)} has no place of its own`);
  }

  protected releasePlace(): void {
    // none was reserved
  }
}
