import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DMA_32BIT_PFN, IovaTree, roundUpPowerOfTwo } from './iova.ts';

interface Range {
  lo: number;
  hi: number;
}

/** iova.c word for word over a sorted array: slow, and free of cleverness. */
class NaiveTree {
  readonly ranges: Range[] = [];
  private readonly anchor: Range = { lo: Infinity, hi: Infinity };
  private cached = this.anchor;
  private cached32 = this.anchor;
  private max32 = DMA_32BIT_PFN;

  private all(): Range[] {
    return [...this.ranges, this.anchor].sort((left, right) => left.lo - right.lo);
  }

  allocate(pages: number, limit: number, aligned: boolean): number {
    if (limit < DMA_32BIT_PFN && pages >= this.max32) return 0;
    const align = aligned ? roundUpPowerOfTwo(pages) : 1;
    const nodes = this.all();
    const start = limit <= DMA_32BIT_PFN ? this.cached32 : this.cached;
    const search = (from: number, low: number): number => {
      let high = limit + 1;
      for (let index = from; index >= 0; index -= 1) {
        high = Math.min(high, nodes[index]!.lo);
        const pfn = Math.floor((high - pages) / align) * align;
        if (high < pages || pfn < low) return 0;
        if (index === 0 || pfn > nodes[index - 1]!.hi) return pfn;
      }
      return 0;
    };
    let pfn = search(nodes.indexOf(start), 1);
    if (pfn === 0 && start.hi < limit) {
      pfn = search(
        nodes.findIndex((node) => node.lo >= limit),
        start.hi + 1,
      );
    }
    if (pfn === 0) {
      this.max32 = pages;
      return 0;
    }
    const range = { lo: pfn, hi: pfn + pages - 1 };
    this.ranges.push(range);
    if (range.hi < DMA_32BIT_PFN) this.cached32 = range;
    else this.cached = range;
    return pfn;
  }

  free(pfn: number): void {
    const range = this.ranges.find((candidate) => candidate.lo === pfn)!;
    const nodes = this.all();
    const next = nodes[nodes.indexOf(range) + 1]!;
    if (range === this.cached32 || (range.hi < DMA_32BIT_PFN && range.lo >= this.cached32.lo)) this.cached32 = next;
    if (range.lo < DMA_32BIT_PFN) this.max32 = DMA_32BIT_PFN;
    if (range.lo >= this.cached.lo) this.cached = next;
    this.ranges.splice(this.ranges.indexOf(range), 1);
  }
}

describe('the IOVA tree (drivers/iommu/iova.c)', () => {
  test('hands out the top below 4 GiB first, aligned to the next power of two', () => {
    const tree = new IovaTree();
    expect(tree.allocate(1, 0xf_ffff)).toBe(0xf_ffff);
    expect(tree.allocate(1, 0xf_ffff, false)).toBe(0xf_fffe);
    expect(tree.allocate(2, 0xf_ffff)).toBe(0xf_fffc);
    expect(tree.allocate(3, 0xf_ffff)).toBe(0xf_fff8);
    expect(tree.allocate(33, 0xf_ffff)).toBe(0xf_ffc0);
  });

  test('goes round reserved ranges and never hands out page 0', () => {
    const tree = new IovaTree();
    tree.reserve(0xfee00, 0xfeeff);
    tree.reserve(2, 0xfedff);
    tree.reserve(0xfef00, 0xf_ffff);
    expect(tree.allocate(1, 0xf_ffff)).toBe(1);
    expect(tree.allocate(1, 0xf_ffff)).toBe(0);
  });

  test('joins reservations that overlap', () => {
    const tree = new IovaTree();
    tree.reserve(10, 20);
    tree.reserve(30, 40);
    tree.reserve(15, 35);
    tree.reserve(50, 60);
    expect([...tree.ranges()]).toEqual([
      { lo: 10, hi: 40 },
      { lo: 50, hi: 60 },
    ]);
  });

  test('refuses at once what failed below 4 GiB, until something there is freed', () => {
    const tree = new IovaTree();
    tree.reserve(1, 0xf_fff0);
    expect(tree.allocate(16, 0xf_ffff)).toBe(0);
    expect(tree.allocate(8, 0xf_ffff)).toBe(0xf_fff8);
    expect(tree.allocate(16, 0xf_ffff)).toBe(0);
    expect(tree.lastSteps).toBe(0);
    expect(tree.free(0xf_fff8)).toBe(true);
    expect(tree.allocate(8, 0xf_ffff)).toBe(0xf_fff8);
  });

  test('knows no range that does not start where it is said to', () => {
    const tree = new IovaTree();
    tree.allocate(4, 0xf_ffff);
    expect(tree.free(0xf_fffd)).toBe(false);
  });

  test('does what a naive reading of the kernel does, for any mixture of sizes, limits and frees', () => {
    const step = fc.record({
      free: fc.boolean(),
      which: fc.nat(),
      pages: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 300_000 })),
      limit: fc.constantFrom(0x40, 0xfff, 0xf_ffff, 0x10_0000, 0x12_3456, 0xf_ffff_ffff),
      aligned: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const tree = new IovaTree();
        const naive = new NaiveTree();
        for (const { free, which, pages, limit, aligned } of steps) {
          if (free && naive.ranges.length > 0) {
            const { lo } = naive.ranges[which % naive.ranges.length]!;
            naive.free(lo);
            expect(tree.free(lo)).toBe(true);
          } else {
            expect(tree.allocate(pages, limit, aligned)).toBe(naive.allocate(pages, limit, aligned));
          }
        }
        const sorted = naive.ranges.sort((left, right) => left.lo - right.lo);
        expect([...tree.ranges()]).toEqual(sorted);
        for (let index = 1; index < sorted.length; index += 1) {
          expect(sorted[index]!.lo).toBeGreaterThan(sorted[index - 1]!.hi);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('an IOVA tree of other sizes (drivers/iommu/iova.c, init_iova_domain)', () => {
  test('aligns ranges of 8 TiB and more to their size', () => {
    expect([2 ** 31, 2 ** 31 + 1, 2 ** 33, 2 ** 33 + 1].map(roundUpPowerOfTwo)).toEqual([
      2 ** 31,
      2 ** 32,
      2 ** 33,
      2 ** 34,
    ]);
    const tree = new IovaTree();
    tree.allocate(1, 2 ** 36 - 1);
    expect(tree.allocate(2 ** 33 + 1, 2 ** 36 - 1)).toBe(3 * 2 ** 34);
  });

  test('has its 32-bit shortcut at 4 GiB, however large its granule', () => {
    const tree = new IovaTree(1, 2 ** 16);
    expect(tree.allocate(4, 2 ** 20 - 1)).toBe(2 ** 20 - 4);
    // at the limit of 4 GiB the search begins anew, above it where the last one ended
    expect(tree.allocate(4, 2 ** 16 - 1)).toBe(2 ** 16 - 4);
    expect(tree.allocate(2 ** 16, 2 ** 16 - 1)).toBe(0);
    expect(tree.allocate(4, 2 ** 20 - 1)).toBe(2 ** 20 - 8);
  });
});
