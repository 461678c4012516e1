import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameAllocator } from './frameAllocator.ts';
import { PhysicalMemory } from './physicalMemory.ts';

const PAGES = 4096;

function allocator(): { memory: PhysicalMemory; frames: FrameAllocator } {
  const memory = new PhysicalMemory(PAGES * 4096);
  return { memory, frames: new FrameAllocator(memory, 1, PAGES - 1) };
}

test('no page is owned twice, against a naive set', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('page' as const) }),
    fc.record({
      kind: fc.constant('run' as const),
      pages: fc.integer({ min: 1, max: 40 }),
      align: fc.constantFrom(1, 2, 8, 64),
    }),
    fc.record({
      kind: fc.constant('below' as const),
      pages: fc.integer({ min: 1, max: 40 }),
      align: fc.constantFrom(1, 2, 8, 64),
      end: fc.integer({ min: 1, max: 900 }),
    }),
    fc.record({ kind: fc.constant('free' as const), which: fc.nat() }),
    fc.record({
      kind: fc.constant('claim' as const),
      first: fc.integer({ min: 1, max: 600 }),
      pages: fc.integer({ min: 1, max: 9 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const { frames } = allocator();
      const owned = new Set<number>();
      const claimed = new Set<number>();
      const take = (page: number): void => {
        expect(owned.has(page)).toBe(false);
        expect(page).toBeGreaterThan(0);
        expect(page).toBeLessThan(PAGES);
        owned.add(page);
      };
      for (const step of actions) {
        if (step.kind === 'page') {
          take(frames.allocatePage());
        } else if (step.kind === 'run') {
          const first = frames.allocateContiguous(step.pages, step.align);
          expect(first % step.align).toBe(0);
          for (let page = first; page < first + step.pages; page += 1) take(page);
        } else if (step.kind === 'below') {
          const { pages, align, end } = step;
          const first = frames.allocateBelow(pages, align, end);
          // as low as it is free, against a search page by page
          const isFree = (page: number): boolean => !owned.has(page) && !claimed.has(page);
          const runFrom = (start: number): boolean =>
            Array.from({ length: pages }, (_, at) => start + at).every(isFree);
          let lowest = align;
          while (lowest + pages <= end && !runFrom(lowest)) lowest += align;
          expect(first).toBe(lowest + pages <= end ? lowest : -1);
          for (let page = first; first !== -1 && page < first + pages; page += 1) take(page);
        } else if (step.kind === 'free' && owned.size > 0) {
          const page = [...owned][step.which % owned.size]!;
          owned.delete(page);
          frames.freePage(page);
        } else if (step.kind === 'claim') {
          const wanted = Array.from({ length: step.pages }, (_, index) => step.first + index);
          if (wanted.some((page) => owned.has(page))) continue;
          frames.claim(step.first, step.pages);
          for (const page of wanted) claimed.add(page);
        }
        expect(frames.freePages).toBe(PAGES - 1 - owned.size - claimed.size);
      }
    }),
  );
});

test('a freed page comes back zeroed', () => {
  const { memory, frames } = allocator();
  const page = frames.allocatePage();
  memory.writeWord(page, 10, 77);
  frames.freePage(page);
  expect(frames.allocatePage()).toBe(page);
  expect(memory.readWord(page, 10)).toBe(0);
});

test('claimed pages are never handed out, and running out says so', () => {
  const { frames } = allocator();
  frames.claim(4000, 90);
  expect(() => frames.allocateContiguous(200)).toThrow('out of memory');
  expect(frames.allocateContiguous(5)).toBe(4091);
});

test('a page outside the free memory cannot be claimed: the message names the address', () => {
  const { frames } = allocator();
  frames.allocatePage();
  expect(() => {
    frames.claim(4095, 1);
  }).toThrow('0xfff000');
  expect(() => {
    frames.claim(9000, 1);
  }).toThrow('more memory');
});

test('low memory is given back to where it was: a device that reaches no further never runs out of it', () => {
  const { memory, frames } = allocator();
  const top = frames.allocateContiguous(1);
  for (let round = 0; round < 2000; round += 1) {
    const first = frames.allocateBelow(3, 4, 16);
    expect(first).toBe(4);
    memory.writeWord(first + 1, 0, 5);
    for (let page = first; page < first + 3; page += 1) frames.freePage(page);
    expect(memory.readWord(first + 1, 0)).toBe(0);
  }
  expect(frames.allocatePage()).toBe(top - 1);
  expect(frames.allocateBelow(20, 1, 16)).toBe(-1);
});
