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

/** No PASID with a request. */
export const NO_PASID = -1;

/**
 * What answers a translation request of a device (PCI Express Base Specification 10.2): the same lookup and walk as for an
 * untranslated request, but what is not mapped is an answer and no fault.
 */
export interface AtsTranslator {
  /** True: the fields hold a translation. False: `fault` says why not, in the terms of the IOMMU; nothing is logged. */
  translationRequest(sourceId: number, pasid: number, iovaPage: number, write: boolean, at: Picoseconds): boolean;
  /** The page behind the one asked for, and how many pages the translation covers: a power of two, naturally aligned. */
  readonly physPage: number;
  readonly sizePages: number;
  /** 1 read, 2 write, 3 both. */
  readonly permissions: number;
  readonly fault: number;
  /** Whether the entry of the device lets it make such requests at all; whoever answers them must look. */
  readonly atsEnabled: boolean;
  readonly readyAt: Picoseconds;
}
