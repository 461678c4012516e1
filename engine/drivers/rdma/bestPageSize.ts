/**
 * The page size with which an adapter's table describes a region (Linux drivers/infiniband/core/umem.c, `ib_umem_find_best_pgsz`,
 * `rdma_umem_for_each_dma_block`): the largest for which every piece of memory lies in its page as the adapter's addresses do, and no larger
 * than the region needs. And the table's addresses for that size.
 * Leaves out: page sizes that are no power of two, and addresses of 2^53 and more.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';

/** Pieces of memory as the device addresses them, in the region's order, from the start of its first page on. */
export interface DeviceRanges {
  readonly count: number;
  readonly address: Float64Array;
  readonly length: Float64Array;
}

const HALF = 2 ** 32;

/**
 * 0: no supported size fits. `sizes` are powers of two, in any order; `iova` is the adapter's address of the first byte, which lies
 * `offset` bytes into the first piece.
 */
export function findBestPageSize(
  ranges: DeviceRanges,
  iova: number,
  offset: number,
  length: number,
  sizes: readonly number[],
): number {
  // bits in which device address and adapter address differ, or in which a piece inside the region is not aligned
  let low = 0;
  let high = 0;
  let expected = NaN;
  let virtual = iova;
  let skipped = offset;
  for (let index = 0; index < ranges.count; index += 1) {
    const address = ranges.address[index]!;
    if (address !== expected) {
      const start = address + skipped;
      low |= (start % HALF) ^ (virtual % HALF);
      high |= Math.floor(start / HALF) ^ Math.floor(virtual / HALF);
      if (index > 0) {
        low |= virtual % HALF;
        high |= Math.floor(virtual / HALF);
      }
    }
    expected = address + ranges.length[index]!;
    virtual += ranges.length[index]! - skipped;
    skipped = 0;
  }
  const fitting = lowestBit(low, high);
  let best = 0;
  let covering = Infinity;
  for (const size of sizes) {
    if (size < covering && pagesOfRange(iova, length, size) === 1) covering = size;
  }
  for (const size of sizes) if (size <= fitting && size <= covering && size > best) best = size;
  return best;
}

/** Table entries that a range needs. */
export function pagesOfRange(iova: number, length: number, size: number): number {
  return Math.ceil((iova + length) / size) - Math.floor(iova / size);
}

/**
 * The device addresses of a region's pages of `size`, which `findBestPageSize` found, into `target`; their number. A page that begins
 * before the region has the address at which it would begin.
 */
export function fillPageAddresses(
  ranges: DeviceRanges,
  iova: number,
  offset: number,
  length: number,
  size: number,
  target: Float64Array,
): number {
  const pages = pagesOfRange(iova, length, size);
  const firstPage = Math.floor(iova / size) * size;
  let range = 0;
  /** Where the present range begins, by the adapter's addresses. */
  let rangeStart = iova - offset;
  for (let page = 0; page < pages; page += 1) {
    const at = Math.max(iova - offset, firstPage + page * size);
    while (at >= rangeStart + ranges.length[range]!) {
      rangeStart += ranges.length[range]!;
      range += 1;
    }
    target[page] = ranges.address[range]! + (firstPage + page * size - rangeStart);
  }
  return pages;
}

/** The offset of a user's address in its page. */
export function offsetInPage(address: number): number {
  return address % PAGE_SIZE;
}

/** The value of the lowest bit of a number in two halves; Infinity for 0. */
function lowestBit(low: number, high: number): number {
  if (low !== 0) return (low & -low) >>> 0;
  return high === 0 ? Infinity : ((high & -high) >>> 0) * HALF;
}
