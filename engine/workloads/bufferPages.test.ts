import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { RandomStream } from '../time/random.ts';
import { allocateBuffers, type Contiguity } from './bufferPages.ts';

function buffersOf(seed: number, buffers: number, pages: number, contiguity: Contiguity) {
  const frames = new FrameAllocator(new PhysicalMemory(2 ** 30), 16, 2 ** 18 - 16);
  return allocateBuffers(frames, new RandomStream(seed), buffers, pages, contiguity);
}

function neighbours(pages: Float64Array): number {
  let count = 0;
  for (let index = 1; index < pages.length; index += 1) if (pages[index] === pages[index - 1]! + 1) count += 1;
  return count;
}

describe('the pages of buffers', () => {
  it('are never neighbours when scattered, and never shared', () => {
    const size = fc.record({ buffers: fc.integer({ min: 2, max: 12 }), pages: fc.integer({ min: 2, max: 33 }) });
    fc.assert(
      fc.property(fc.nat(), size, (seed, { buffers, pages }) => {
        const got = buffersOf(seed, buffers, pages, 'scattered');
        expect(neighbours(got.pages)).toBe(0);
        expect(new Set(got.pages).size).toBe(buffers * pages);
      }),
    );
  });

  it('are one folio for each buffer when contiguous', () => {
    const { pages, folios } = buffersOf(1, 3, 32, 'contiguous');
    for (let buffer = 0; buffer < 3; buffer += 1) {
      const own = pages.subarray(buffer * 32, buffer * 32 + 32);
      expect(neighbours(own)).toBe(31);
      expect(own[0]! % 32).toBe(0);
      expect(new Set(folios.subarray(buffer * 32, buffer * 32 + 32)).size).toBe(1);
    }
  });

  it('follow each other as often as asked', () => {
    const { pages, folios } = buffersOf(7, 64, 64, 0.75);
    expect(neighbours(pages) / pages.length).toBeCloseTo(0.75, 1);
    expect(new Set(folios).size).toBe(pages.length);
  });

  it('depend on the seed alone', () => {
    expect(buffersOf(5, 4, 8, 'scattered').pages).toEqual(buffersOf(5, 4, 8, 'scattered').pages);
    expect(buffersOf(5, 4, 8, 'scattered').pages).not.toEqual(buffersOf(6, 4, 8, 'scattered').pages);
  });
});
