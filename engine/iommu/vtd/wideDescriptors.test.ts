/** The ring of scalable mode, with descriptors of 256 bits (VT-d specification 6.5.2 and 11.4.9.3, IQA.DW). */
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { FREE_IOMMU_COSTS } from '../freeCosts.ts';
import { Iommu } from '../iommu.ts';
import { InvalidationQueue } from './invalidationQueue.ts';

const NOW = picoseconds(0);
const WORDS = 8;
/** A PASID IOTLB descriptor for domain 5, page 9. */
const DESCRIPTOR = [0x6 | (3 << 4) | (5 << 16), 0, 9 << 12, 0, 0, 0, 0, 0];

function scalable() {
  const memory = new PhysicalMemory(2 ** 24);
  const counters = new Counters();
  const iommu = new Iommu({
    name: 'iommu0',
    memory,
    frames: new FrameAllocator(memory, 1, 2 ** 12 - 1),
    geometry: {
      iotlb: { entries4K: 4, entries2M: 4, entries1G: 4, ways: 4 },
      pagingCache: { entries512G: 4, entries1G: 4, entries2M: 4 },
      contextCacheEntries: 2,
      walkers: 1,
    },
    costs: FREE_IOMMU_COSTS,
    counters,
    log: null,
    scalableMode: true,
  });
  const queue = iommu.invalidationQueue;
  if (!(queue instanceof InvalidationQueue)) throw new Error('not the queue of VT-d');
  const word = (slot: number, at: number): number => {
    const index = slot * WORDS + at;
    return memory.readWord(queue.ringPage + Math.floor(index / 1024), index % 1024);
  };
  return { counters, queue, word };
}

describe('a ring of 256 descriptors of 32 bytes', () => {
  test('takes two pages, is filled to its end and begun again', () => {
    const { queue, counters, word } = scalable();
    expect(queue.ringPage % 2).toBe(0);
    for (let round = 0; round < 200; round += 1) queue.submit(Uint32Array.from(DESCRIPTOR), 1, NOW);
    expect([counters.get('invalidationsPage'), counters.get('invalidationWaits')]).toEqual([200, 200]);
    const types = Array.from({ length: 256 }, (_, slot) => word(slot, 0) & 0xf);
    expect(types).toEqual(Array.from({ length: 256 }, (_, slot) => (slot % 2 === 0 ? 6 : 5)));
  });

  test('several in one submission stand 32 bytes apart', () => {
    const { queue, counters } = scalable();
    queue.submit(Uint32Array.from([...DESCRIPTOR, ...DESCRIPTOR, ...DESCRIPTOR]), 3, NOW);
    expect([counters.get('invalidationsPage'), counters.get('invalidationWaits')]).toEqual([3, 1]);
  });

  test.each([4, 5, 6, 7])(
    'with something in word %i, which is reserved, it is refused, and a wait takes its place',
    (at) => {
      const { queue, counters, word } = scalable();
      queue.submit(Uint32Array.from(DESCRIPTOR.with(at, 1)), 1, NOW);
      expect([counters.get('invalidationsPage'), queue.descriptorErrors, queue.faultStatus]).toEqual([0, 1, 0]);
      expect([word(0, 0) & 0xf, word(0, at)]).toEqual([5, 0]);
      queue.submit(Uint32Array.from(DESCRIPTOR), 1, NOW);
      expect(counters.get('invalidationsPage')).toBe(1);
    },
  );
});
