/**
 * The sizes in which translations are kept, whatever sizes a format has: 4 KiB, 2 MiB and 1 GiB, the classes 0 to 2 of an IOTLB (VT-d
 * specification 6.2.4). Leaves of other sizes are kept in pieces of the largest class that lies within them.
 */
import { PAGES_PER_ENTRY } from '../formats/pageTableFormat.ts';

export const HIGHEST_CLASS = 2;

/** The largest class within a leaf. */
export function sizeClass(pages: number): number {
  return pages >= PAGES_PER_ENTRY[2]! ? 2 : pages >= PAGES_PER_ENTRY[1]! ? 1 : 0;
}

/** Of a leaf at `target`, the first page of the piece that holds an IOVA page. */
export function firstOfClass(iovaPage: number, sizeClassOfPiece: number, target: number, pages: number): number {
  const inLeaf = iovaPage % pages;
  return target + inLeaf - (inLeaf % PAGES_PER_ENTRY[sizeClassOfPiece]!);
}
