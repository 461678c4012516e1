import { describe, expect, it } from 'vitest';
import { TestTrace, runJson } from '../lab/testTrace.ts';
import { conformRecording } from './linuxTrace.ts';
import { LiveRanges } from './liveRanges.ts';

function range(pfn: number, pages: number): { owner: string; index: number; pfn: number; pages: number } {
  return { owner: 'test', index: 0, pfn, pages };
}

describe('where a range of IOVAs can lie (drivers/iommu/iova.c)', () => {
  it.each([
    ['aligned to its size rounded up', 0x108, 5, 0xfffff, null],
    ['not aligned', 0x104, 5, 0xfffff, /aligned to 8/],
    ['at its limit', 0xffff8, 8, 0xfffff, null],
    ['above its limit', 0x100000, 1, 0xfffff, /above its limit/],
    ['just below the interrupt window', 0xfedff, 1, 0xfffff, null],
    ['in the interrupt window', 0xfee00, 1, 0xfffff, /interrupts/],
    ['across the interrupt window', 0xfe000, 0x1000, 0xfffff, /interrupts/],
    ['larger than any request', 0, 2 ** 40, 2 ** 52, /size/],
  ])('%s', (_what, pfn, pages, limit, expected) => {
    const found = new LiveRanges().misplaced(range(pfn, pages), limit);
    if (expected === null) expect(found).toBeNull();
    else expect(found).toMatch(expected);
  });

  it('over no page of a range that is live, and over it again when it was given back', () => {
    const live = new LiveRanges();
    const first = range(0x100, 8);
    live.add(first);
    expect(live.misplaced(range(0x107, 1), 0xfffff)).toMatch(/which is live/);
    expect(live.misplaced(range(0x108, 1), 0xfffff)).toBeNull();
    live.remove(first);
    expect(live.misplaced(range(0x107, 1), 0xfffff)).toBeNull();
  });
});

describe('a request whose range cannot be there disagrees', () => {
  const result = (pfn: number): ReturnType<typeof conformRecording> => {
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .submitPage(2, pfn, 0x6000)
      .completePage(1, 0x100)
      .completePage(2, pfn);
    return conformRecording({ name: 'test', trace: Buffer.from(trace.text()), runJson: runJson() });
  };

  it.each([
    ['above the limit', 0x100000, /above its limit/],
    ['in the interrupt window', 0xfee01, /interrupts/],
  ])('%s', (_what, pfn, recorded) => {
    const found = result(pfn);
    expect(found).toMatchObject({ agree: 1, total: 2 });
    expect(found.firstDifference?.recorded).toMatch(recorded);
  });

  it('while any other place agrees', () => {
    expect(result(0x77)).toMatchObject({ agree: 2, total: 2 });
  });
});
