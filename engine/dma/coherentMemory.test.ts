/** Where coherent memory lies (Linux kernel/dma/direct.c `dma_direct_alloc`), and how its address shows encryption. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PageKinds } from '../memory/pageKinds.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { CoherentPages, NO_PAGE } from './coherentMemory.ts';
import { dmaBitMask } from './device.ts';
import { MemoryEncryption } from './memoryEncryption.ts';

const PAGE = 4096;
const FIRST = 16;
const PAGES = 2 ** 21;

function build(kinds: PageKinds | null = null) {
  const memory = new PhysicalMemory(PAGES * PAGE);
  const frames = new FrameAllocator(memory, FIRST, PAGES - FIRST);
  return { memory, frames, coherent: new CoherentPages(frames, kinds) };
}

describe('coherent memory', () => {
  test('ends within the mask, aligned to its size, zeroed, owned by one, and all of it comes back', () => {
    const call = fc.record({
      size: fc.integer({ min: 1, max: 20 * PAGE }),
      bits: fc.constantFrom(20, 24, 32, 64),
      release: fc.option(fc.nat(), { nil: null }),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const { memory, frames, coherent } = build();
        const before = frames.freePages;
        const live: { first: number; size: number }[] = [];
        for (const { size, bits, release } of calls) {
          if (release !== null && live.length > 0) {
            const [gone] = live.splice(release % live.length, 1);
            coherent.free(gone!.first, gone!.size, false);
            continue;
          }
          const first = coherent.allocate(size, dmaBitMask(bits), false);
          if (first === NO_PAGE) {
            expect(bits).toBe(20);
            continue;
          }
          const pages = Math.ceil(size / PAGE);
          expect((first + pages) * PAGE - 1).toBeLessThanOrEqual(dmaBitMask(bits));
          if (pages > 1) expect(first % 2 ** Math.ceil(Math.log2(pages))).toBe(0);
          for (const other of live) {
            const apart = first + pages <= other.first || other.first + Math.ceil(other.size / PAGE) <= first;
            expect(apart).toBe(true);
          }
          for (let page = first; page < first + pages; page += 1) {
            expect(memory.readWord(page, 7)).toBe(0);
            memory.writeWord(page, 7, 1);
          }
          live.push({ first, size });
        }
        for (const { first, size } of live) coherent.free(first, size, false);
        expect(frames.freePages).toBe(before);
      }),
    );
  });

  test('a device of 32 bits may allocate as often as it likes without using up the memory above', () => {
    const { frames, coherent } = build();
    for (let round = 0; round < 5000; round += 1) {
      const first = coherent.allocate(3 * PAGE, dmaBitMask(32), false);
      expect(first + 3).toBeLessThanOrEqual(2 ** 20);
      coherent.free(first, 3 * PAGE, false);
    }
    expect(frames.allocateContiguous(2 ** 20)).toBe(PAGES - 2 ** 20);
  });

  test('what a confidential guest shares is private again afterwards', () => {
    const kinds = new PageKinds({ confidential: true });
    const { coherent } = build(kinds);
    const first = coherent.allocate(2 * PAGE, Infinity, true);
    expect([kinds.isPrivate(first), kinds.isPrivate(first + 1), kinds.isPrivate(first + 2)]).toEqual([
      false,
      false,
      true,
    ]);
    coherent.free(first, 2 * PAGE, true);
    expect([kinds.isPrivate(first), kinds.isPrivate(first + 1)]).toEqual([true, true]);
  });
});

test('the C-bit is added above every address and taken off again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 32, max: 51 }), fc.nat(2 ** 31 - 1), (cBit, phys) => {
      const encryption = new MemoryEncryption(cBit);
      expect(BigInt(encryption.encrypted(phys))).toBe(BigInt(phys) | (1n << BigInt(cBit)));
      expect(encryption.physOf(encryption.encrypted(phys))).toBe(phys);
      expect(encryption.physOf(phys)).toBe(phys);
    }),
  );
});
