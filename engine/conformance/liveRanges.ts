/**
 * The IOVA ranges of a domain that are allocated at one moment of a recording. Which numbers are free is the recorded boot's
 * history, but not every number can be given out: no page twice while it is live, aligned to the size rounded up to a power
 * of two (Linux drivers/iommu/iova.c, `__alloc_and_insert_iova_range` with `size_aligned`), not above the limit, and not in
 * the window in which an address means an interrupt (drivers/iommu/intel/iommu.c, `intel_iommu_get_resv_regions`).
 * Leaves out: other reserved regions, which no trace names.
 */
import type { IovaRange } from './traceText.ts';

const INTERRUPT_FIRST_PFN = 0xfee00;
const INTERRUPT_LAST_PFN = 0xfeeff;
/** Of a range that no request can have, only the beginning is followed. */
const MOST_PAGES = 0x1_0000;

export class LiveRanges {
  readonly #starts = new Map<number, IovaRange>();
  readonly #pages = new Map<number, IovaRange>();

  /** The range that begins there. */
  at(pfn: number): IovaRange | undefined {
    return this.#starts.get(pfn);
  }

  /** Null: the allocator may give this range out now. */
  misplaced(range: IovaRange, limitPfn: number): string | null {
    const { pfn, pages } = range;
    const last = pfn + pages - 1;
    let alignment = 1;
    while (alignment < pages && alignment < MOST_PAGES) alignment *= 2;
    if (pages < 1 || pages > MOST_PAGES) return 'of a size that no request has';
    if (pfn % alignment !== 0) return `not aligned to ${alignment} pages`;
    if (last > limitPfn) return 'above its limit';
    if (pfn <= INTERRUPT_LAST_PFN && last >= INTERRUPT_FIRST_PFN) return 'in the window of interrupts';
    for (let page = pfn; page <= last; page += 1) {
      const other = this.#pages.get(page);
      if (other !== undefined) return `over range ${other.index} of ${other.owner}, which is live`;
    }
    return null;
  }

  add(range: IovaRange): void {
    this.#starts.set(range.pfn, range);
    const end = range.pfn + Math.min(range.pages, MOST_PAGES);
    for (let page = range.pfn; page < end; page += 1) this.#pages.set(page, range);
  }

  remove(range: IovaRange): void {
    if (this.#starts.get(range.pfn) === range) this.#starts.delete(range.pfn);
    const end = range.pfn + Math.min(range.pages, MOST_PAGES);
    for (let page = range.pfn; page < end; page += 1) {
      if (this.#pages.get(page) === range) this.#pages.delete(page);
    }
  }
}
