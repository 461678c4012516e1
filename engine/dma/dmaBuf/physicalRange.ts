/**
 * Physical memory of a buffer as a list of ranges, each with the provider of its memory if that is another device's: the form
 * that a dma-buf without scatterlists passes on (proposed on the kernel's lists in March 2024, "Split IOMMU DMA mapping
 * operation to two steps"; Linux has `struct phys_vec` with one provider for all).
 * Leaves out: who owns the memory, and attributes of encrypted memory.
 */
import type { P2pdmaProvider } from '../../memory/pageKinds.ts';

/** `struct phys_vec`. */
export interface PhysVec {
  readonly phys: number;
  readonly length: number;
}

export interface PhysicalRange extends PhysVec {
  /** Null: ordinary memory. */
  readonly provider: P2pdmaProvider | null;
}

/** Appends a range, joined with the last one where memory and provider go on. */
export function appendRange(
  ranges: PhysicalRange[],
  phys: number,
  length: number,
  provider: P2pdmaProvider | null,
): void {
  const last = ranges.at(-1);
  if (last?.provider === provider && last.phys + last.length === phys) {
    ranges[ranges.length - 1] = { phys: last.phys, length: last.length + length, provider };
  } else {
    ranges.push({ phys, length, provider });
  }
}

export function totalLength(ranges: readonly PhysVec[]): number {
  let total = 0;
  for (const range of ranges) total += range.length;
  return total;
}
