import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { BlockAllocator } from './blockAllocator.ts';

const FIRST = 0x1230;

function allocator(pages: number): BlockAllocator {
  return new BlockAllocator(new PhysicalMemory(2 ** 26), FIRST, pages, '0000:04:00.0');
}

describe("the blocks of a GPU's memory (Linux drivers/gpu/buddy.c)", () => {
  test('never overlap, are aligned, and join into one when all are given back', () => {
    const step = fc.record({ take: fc.boolean(), order: fc.integer({ min: 0, max: 5 }), which: fc.nat() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const blocks = allocator(256);
        const held: [number, number][] = [];
        // the naive model: a flag for each page
        const used = new Set<number>();
        for (const { take, order, which } of steps) {
          if (take && blocks.hasBlock(order)) {
            const first = blocks.allocateBlock(order);
            expect((first - FIRST) % 2 ** order).toBe(0);
            for (let page = first; page < first + 2 ** order; page += 1) {
              expect(used.has(page) || page < FIRST || page >= FIRST + 256).toBe(false);
              used.add(page);
            }
            held.push([first, order]);
          } else if (!take && held.length > 0) {
            const [[first, of]] = held.splice(which % held.length, 1) as [[number, number]];
            blocks.freeBlock(first, of);
            for (let page = first; page < first + 2 ** of; page += 1) used.delete(page);
          }
          expect(blocks.freePages).toBe(256 - used.size);
        }
        for (const [first, order] of held) blocks.freeBlock(first, order);
        expect(blocks.allocateBlock(8)).toBe(FIRST);
      }),
      { seed: 5, numRuns: 60 },
    );
  });

  test('take all of a size that is no power of two, and no more', () => {
    const blocks = allocator(11);
    const pages = new Set(Array.from({ length: 11 }, () => blocks.allocatePage()));
    expect(pages.size).toBe(11);
    expect(() => blocks.allocatePage()).toThrow(/no block of 1 pages is free/);
  });

  test('are given back once, and as they were given', () => {
    const blocks = allocator(16);
    const first = blocks.allocateBlock(2);
    expect(() => {
      blocks.freeBlock(first, 1);
    }).toThrow(/was given/);
    blocks.freeBlock(first, 2);
    expect(() => {
      blocks.freeBlock(first, 2);
    }).toThrow(/was given/);
  });
});
