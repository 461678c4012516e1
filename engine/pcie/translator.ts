/**
 * What the fabric asks of an IOMMU: the physical page behind a page of bus addresses. Declared here because the fabric stands
 * below the IOMMU in the house; engine/iommu/iommu.ts implements it.
 */
import type { Picoseconds } from '../time/picoseconds.ts';

export interface Translator {
  /**
   * Translates one page for a burst of `accesses` bus transactions that begins to arrive at `at`. True: `physPage` holds the
   * page. False: the access is refused. `readyAt` is when the answer is known, in both cases.
   */
  translate(sourceId: number, iovaPage: number, write: boolean, accesses: number, at: Picoseconds): boolean;
  readonly physPage: number;
  readonly readyAt: Picoseconds;
}
