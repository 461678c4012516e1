/** For tests: runs of pages that a driver uses as buffers, and the pieces of memory that a device sees of them. */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { ScatterList } from './scatterList.ts';

/** First page, and how many. */
export type Run = readonly [number, number];

/** One stretch of memory that the device sees at one bus address. */
export interface Piece {
  readonly phys: number;
  readonly address: number;
  readonly length: number;
}

export function pagesOf([first, pages]: Run): number[] {
  return Array.from({ length: pages }, (_, index) => first + index);
}

export function whole([first, pages]: Run): { phys: number; length: number } {
  return { phys: first * PAGE_SIZE, length: pages * PAGE_SIZE };
}

export function fromInside(
  { phys, length }: { phys: number; length: number },
  bytes: number,
): { phys: number; length: number } {
  return { phys: phys + bytes, length: length - bytes };
}

/** Where each entry's bytes lie in the DMA segments: the segments' bytes are those of the entries, in order. */
export function segmentsToPieces(list: ScatterList): Piece[] {
  const pieces: Piece[] = [];
  let segment = 0;
  let used = 0;
  for (let entry = 0; entry < list.count; entry += 1) {
    const length = list.length[entry]!;
    pieces.push({ phys: list.phys[entry]!, address: list.dmaAddress[segment]! + used, length });
    used += length;
    if (used === list.dmaLength[segment]!) {
      segment += 1;
      used = 0;
    }
  }
  return pieces;
}
