import { describe, expect, test } from 'vitest';
import { RandomStream } from '../../time/random.ts';
import { IovaDomain } from './iovaDomain.ts';

const CPUS = 3;
/** So little space that it is exhausted again and again. */
const LOWEST = 0xf_f000;
const LIMIT = 0xf_ffff;
const RESERVED = { lo: 0xf_f800, hi: 0xf_f8ff };

interface Live {
  readonly pfn: number;
  readonly pages: number;
}

/** Ranges are given back with the size they were asked with, as drivers do; the pages in use tell every overlap. */
class Space {
  readonly domain = new IovaDomain(CPUS);
  readonly live: Live[] = [];
  readonly inUse = new Uint8Array(LIMIT + 1 - LOWEST);
  failures = 0;
  overlaps = 0;

  constructor() {
    this.domain.tree.reserve(0, LOWEST - 1);
    this.domain.tree.reserve(RESERVED.lo, RESERVED.hi);
    this.inUse.fill(1, RESERVED.lo - LOWEST, RESERVED.hi + 1 - LOWEST);
  }

  allocate(cpu: number, pages: number, limit: number): void {
    const pfn = this.domain.allocateFast(cpu, pages, limit, true);
    if (pfn === 0) {
      this.failures += 1;
      return;
    }
    if (pfn < LOWEST || pfn + pages - 1 > limit) this.overlaps += 1;
    for (let page = pfn; page < pfn + pages; page += 1) {
      if (this.inUse[page - LOWEST] !== 0) this.overlaps += 1;
      this.inUse[page - LOWEST] = 1;
    }
    this.live.push({ pfn, pages });
  }

  free(cpu: number, index: number): void {
    const { pfn, pages } = this.live[index]!;
    this.live[index] = this.live.at(-1)!;
    this.live.pop();
    this.inUse.fill(0, pfn - LOWEST, pfn + pages - LOWEST);
    this.domain.freeFast(cpu, pfn, pages);
  }
}

describe('one IOVA space for several CPUs (alloc_iova_fast, free_iova_fast)', () => {
  test.each([1, 2, 3])('never hands out a page twice, through exhaustion and limits, seed %i', (seed) => {
    const space = new Space();
    const random = new RandomStream(seed);
    for (let call = 0; call < 200_000; call += 1) {
      const cpu = random.below(CPUS);
      const grow = random.below(100) < (Math.floor(call / 5_000) % 2 === 0 ? 60 : 40);
      if (grow || space.live.length === 0) {
        const pages = random.below(10) === 0 ? 1 + random.below(100) : 1 + random.below(32);
        space.allocate(cpu, pages, random.below(8) === 0 ? LIMIT - 0x400 : LIMIT);
      } else {
        space.free(cpu, random.below(space.live.length));
      }
    }
    expect(space.overlaps).toBe(0);
    expect(space.failures).toBeGreaterThan(1_000);
    while (space.live.length > 0) space.free(0, 0);
    // with everything given back, the largest aligned hole can be had again, but only out of emptied caches
    space.allocate(1, 0x400, LIMIT);
    expect(space.live.at(-1)?.pages).toBe(0x400);
    expect(space.overlaps).toBe(0);
  });
});
