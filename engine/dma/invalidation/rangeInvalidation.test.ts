import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AlignedRange } from './rangeInvalidation.ts';

/** `calculate_psi_aligned_address` with the kernel's own bit operations. */
function kernelRule(start: bigint, end: bigint): { address: bigint; mask: bigint } {
  const pages = ((start & 4095n) + (end - start + 1n) + 4095n) >> 12n;
  let aligned = 1n;
  let mask = 0n;
  while (aligned < pages) {
    aligned <<= 1n;
    mask += 1n;
  }
  const pfn = start >> 12n;
  if ((pfn & (aligned - 1n)) !== 0n) {
    let shared = BigInt.asUintN(64, ~(pfn ^ (pfn + pages - 1n)) & ~(aligned - 1n));
    mask = 0n;
    while ((shared & 1n) === 0n) {
      shared >>= 1n;
      mask += 1n;
    }
  }
  return { address: (start >> (12n + mask)) << (12n + mask), mask };
}

function align(start: number, end: number): AlignedRange {
  const range = new AlignedRange();
  range.align(start, end);
  return range;
}

describe('the range of an invalidation (drivers/iommu/intel/cache.c)', () => {
  test('is one page for one page, and 32 pages for an aligned 128 KiB', () => {
    expect(align(0xffff_f000, 0xffff_ffff)).toMatchObject({ address: 0xffff_f000, mask: 0, pages: 1 });
    expect(align(0xff26_0000, 0xff27_ffff)).toMatchObject({ address: 0xff26_0000, mask: 5, pages: 32 });
  });

  test('rounds three pages up to four', () => {
    expect(align(0x4000, 0x6fff)).toMatchObject({ address: 0x4000, mask: 2, pages: 4 });
  });

  test('grows to 4 MiB for two pages across a 2 MiB line', () => {
    expect(align(0x1f_f000, 0x20_0fff)).toMatchObject({ address: 0, mask: 10, pages: 2 });
  });

  test('counts the last page in when the end is its first byte, as the old code passes it', () => {
    expect(align(0xff80_0000, 0xffbf_f000)).toMatchObject({ address: 0xff80_0000, mask: 10, pages: 1024 });
  });

  test('follows the kernel bit for bit', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 36 - 1 }), fc.integer({ min: 1, max: 5000 }), (pfn, pages) => {
        const range = align(pfn * 4096, (pfn + pages) * 4096 - 1);
        const { address, mask } = kernelRule(BigInt(pfn) * 4096n, BigInt(pfn + pages) * 4096n - 1n);
        expect(range).toMatchObject({ address: Number(address), mask: Number(mask) });
      }),
    );
  });
});
