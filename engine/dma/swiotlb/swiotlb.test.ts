/** Bounce buffers against a plain allocator and plain bytes (Linux kernel/dma/swiotlb.c). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { EventLog } from '../../metrics/eventLog.ts';
import { Cpu } from '../../time/cpu.ts';
import {
  DMA_ATTR_NO_WARN,
  DMA_ATTR_SKIP_CPU_SYNC,
  DMA_BIDIRECTIONAL,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  type DmaDirection,
} from '../attributes.ts';
import { dmaCostParameters, resolveDmaCosts } from '../kernels/costs.ts';
import { createDmaDevice, type DmaDevice } from '../device.ts';
import { NO_BOUNCE_BUFFER, Swiotlb, swiotlbAreas, type SwiotlbOptions } from './swiotlb.ts';
import type { DmaTraceEvent } from '../trace.ts';

const SLOT = 2048;
const SEGMENT = 128;
const FIRST_PAGE = 0x2_0012;
const POOL = FIRST_PAGE * 4096;
const ORIGINALS = 0x100_0000;

function pool(options: Partial<SwiotlbOptions> = {}) {
  const memory = new PhysicalMemory(2 ** 30);
  const counters = new Counters();
  const log = new EventLog();
  const events: DmaTraceEvent[] = [];
  const swiotlb = new Swiotlb({
    memory,
    firstPage: FIRST_PAGE,
    slots: 512,
    costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3')),
    counters,
    log,
    trace: { emit: (event) => events.push(event) },
    ...options,
  });
  const write = (phys: number, bytes: Uint8Array): void => {
    memory.writeBytes(phys, bytes, 0, bytes.length);
  };
  const read = (phys: number, size: number): Uint8Array => {
    const bytes = new Uint8Array(size);
    memory.readBytes(phys, bytes, 0, size);
    return bytes;
  };
  return { swiotlb, counters, log, events, write, read };
}

function deviceWith(fields: Partial<DmaDevice> = {}): DmaDevice {
  return createDmaDevice({ name: '0000:00:03.0', sourceId: 0x18, ...fields });
}

/** Long arrays compared by toEqual take most of a test's time. */
function same(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

const cpus = [0, 1, 2, 3].map((id) => new Cpu(id));

/** The rules in the plainest form: a list of slots that are free or not. */
class NaivePool {
  readonly taken: boolean[];
  private readonly indices: number[];
  private readonly areaSlots: number;

  constructor(slots: number, areas: number, startIndex: number) {
    this.taken = Array.from({ length: slots }, () => false);
    this.areaSlots = slots / areas;
    this.indices = Array.from({ length: areas }, (_, area) => (area === 0 ? startIndex : 0));
  }

  get used(): number {
    return this.taken.filter(Boolean).length;
  }

  /** Address of the buffer and its slots, or null. */
  map(
    cpu: number,
    device: DmaDevice,
    phys: number,
    size: number,
    allocAlign: number,
  ): { address: number; first: number; slots: number } | null {
    const offset = (phys % (device.minAlignMask + 1)) % (Math.max(allocAlign, SLOT - 1) + 1);
    const unit = allocAlign + 1;
    const total = Math.ceil((size + offset) / unit) * unit;
    const slots = Math.ceil(total / SLOT);
    const wholePages = allocAlign === 0 && device.minAlignMask === 0 && total >= 4096;
    const alignment = wholePages ? 4096 : Math.max(allocAlign + 1, SLOT);
    const likeness = Math.max(device.minAlignMask + 1, alignment);
    const stride = Math.max(alignment, device.minAlignMask + 1) / SLOT;
    for (let tried = 0; tried < this.indices.length; tried += 1) {
      const area = (cpu + tried) % this.indices.length;
      const base = area * this.areaSlots;
      const inArea = this.taken.slice(base, base + this.areaSlots).filter(Boolean).length;
      if (slots > this.areaSlots - inArea) continue;
      let index = this.indices[area]!;
      for (let checked = 0; checked < this.areaSlots;) {
        const first = base + index;
        const address = POOL + first * SLOT;
        const like = (value: number): number => Math.floor((value % likeness) / alignment);
        const aligned = address % alignment === 0 && like(address) === like(phys);
        if (aligned && this.fits(first, slots) && this.within(address, slots, device.segBoundaryMask)) {
          this.taken.fill(true, first, first + slots);
          this.indices[area] = (index + slots) % this.areaSlots;
          return { address: address + offset, first, slots };
        }
        const step = aligned ? stride : 1;
        checked += step;
        index = index + step >= this.areaSlots ? 0 : index + step;
      }
    }
    return null;
  }

  private fits(first: number, slots: number): boolean {
    const last = first + slots - 1;
    if (Math.floor(first / SEGMENT) !== Math.floor(last / SEGMENT)) return false;
    return this.taken.slice(first, last + 1).every((taken) => !taken);
  }

  private within(address: number, slots: number, boundaryMask: number): boolean {
    const block = boundaryMask + 1;
    return Math.floor(address / block) === Math.floor((address + slots * SLOT - 1) / block);
  }
}

const step = fc.record({
  release: fc.option(fc.nat(), { nil: null, freq: 3 }),
  cpu: fc.nat(3),
  phys: fc.nat(0xf_ffff),
  size: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 300_000 })),
  pages: fc.boolean(),
  device: fc.nat(5),
  direction: fc.constantFrom<DmaDirection>(DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL),
  value: fc.nat(255),
});
const DEVICES = [
  deviceWith(),
  deviceWith({ minAlignMask: 4095 }),
  deviceWith({ minAlignMask: 511 }),
  deviceWith({ minAlignMask: 0x3fff }),
  deviceWith({ segBoundaryMask: 0xffff }),
  deviceWith({ segBoundaryMask: 0x3fff, minAlignMask: 2047 }),
];

describe('where a buffer lies (swiotlb_search_pool_area)', () => {
  test.each([
    [1, 0],
    [1, 77],
    [4, 5],
  ])('as in a plain list of slots, with the right bytes, %i areas from index %i', (areas, startIndex) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { swiotlb, write, read, events } = pool({ areas, startIndex });
        const naive = new NaivePool(512, areas, startIndex);
        const live: { first: number; slots: number; bounce: number; size: number; phys: number; turn: number }[] = [];
        let highest = 0;
        const release = (which: number): void => {
          const [buffer] = live.splice(which, 1);
          const { first, slots, bounce, size, phys, turn } = buffer!;
          const { direction, device, value } = steps[turn]!;
          // the device has written the middle
          const from = Math.floor(size / 3);
          write(bounce + from, new Uint8Array(Math.ceil(size / 3)).fill(value ^ 0xff));
          const expected = read(direction === DMA_TO_DEVICE ? phys : bounce, size);
          swiotlb.unmap(cpus[0]!, DEVICES[device]!, bounce, size, direction, 0);
          expect(same(read(phys, size), expected)).toBe(true);
          naive.taken.fill(false, first, first + slots);
        };
        steps.forEach(({ release: which, cpu, phys: offset, size, pages, device: kind, direction, value }, turn) => {
          if (which !== null) {
            if (live.length > 0) release(which % live.length);
          } else {
            const device = DEVICES[kind]!;
            // originals of their own, so that two buffers never share bytes
            const phys = ORIGINALS + turn * 2 ** 21 + offset;
            write(phys, new Uint8Array(size).fill(value));
            const place = naive.map(cpu, device, phys, size, pages ? 4095 : 0);
            const bounce = swiotlb.map(cpus[cpu]!, device, phys, size, pages ? 4095 : 0, direction, DMA_ATTR_NO_WARN);
            expect(bounce).toBe(place?.address ?? NO_BOUNCE_BUFFER);
            expect(events.pop()).toEqual({ event: 'swiotlb_bounced', address: phys, size, forced: false });
            if (place === null) return;
            expect(same(read(bounce, size), new Uint8Array(size).fill(value))).toBe(true);
            expect(swiotlb.contains(bounce)).toBe(true);
            live.push({ ...place, bounce, size, phys, turn });
          }
          highest = Math.max(highest, naive.used);
          expect([swiotlb.used, swiotlb.usedHighWater]).toEqual([naive.used, highest]);
        });
        while (live.length > 0) release(0);
        expect(swiotlb.used).toBe(0);
      }),
      { numRuns: 50, seed: areas * 100 + startIndex },
    );
  });

  test('all slots are one run again after any order of release: the largest buffers fit', () => {
    const { swiotlb } = pool({ slots: 256 });
    const device = deviceWith();
    const small = Array.from({ length: 256 }, () => swiotlb.map(cpus[0]!, device, ORIGINALS, 100, 0, DMA_TO_DEVICE, 0));
    expect(swiotlb.map(cpus[0]!, device, ORIGINALS, 100, 0, DMA_TO_DEVICE, DMA_ATTR_NO_WARN)).toBe(NO_BOUNCE_BUFFER);
    const order = [...small.keys()].sort((left, right) => ((left * 97) % 256) - ((right * 97) % 256));
    for (const index of order) swiotlb.unmap(cpus[0]!, device, small[index]!, 100, DMA_TO_DEVICE, 0);
    for (const segment of [0, 1]) {
      expect(swiotlb.map(cpus[0]!, device, ORIGINALS, 256 * 1024, 0, DMA_TO_DEVICE, 0)).toBe(POOL + segment * 2 ** 18);
    }
  });

  test('the largest mapping is a segment less what alignment may take (swiotlb_max_mapping_size)', () => {
    const { swiotlb } = pool();
    const sizes = [0, 511, 2047, 4095].map((minAlignMask) => swiotlb.maxMappingSize(deviceWith({ minAlignMask })));
    expect(sizes).toEqual([256, 254, 254, 252].map((kib) => kib * 1024));
    const device = deviceWith({ minAlignMask: 4095 });
    const map = (size: number): number => swiotlb.map(cpus[0]!, device, ORIGINALS + 4095, size, 0, DMA_TO_DEVICE, 0);
    expect(map(sizes[3]!)).not.toBe(NO_BOUNCE_BUFFER);
  });

  test('areas: a power of two, each at least a segment (swiotlb_adjust_nareas)', () => {
    expect([1, 2, 3, 5, 64].map((count) => swiotlbAreas(count, 1024))).toEqual([1, 2, 4, 8, 8]);
    expect(swiotlbAreas(4, 128)).toBe(1);
  });
});

describe('partial syncs', () => {
  const size = 10_000;

  test('a part anywhere in the buffer is copied to or from its own place, with an offset beyond a slot too', () => {
    const phys = ORIGINALS + 0xc35;
    fc.assert(
      fc.property(
        fc.constantFrom(0, 511, 2047, 4095),
        fc.boolean(),
        fc.nat(size - 1),
        fc.nat(size),
        (minAlignMask, pages, from, length) => {
          const { swiotlb, write, read } = pool();
          const device = deviceWith({ minAlignMask });
          const bytes = Uint8Array.from({ length: size }, (_, index) => index * 7);
          const part = Math.min(length, size - from);
          write(phys, bytes);
          const bounce = swiotlb.map(cpus[0]!, device, phys, size, pages ? 4095 : 0, DMA_BIDIRECTIONAL, 0);
          write(bounce, new Uint8Array(size).fill(0xaa));
          swiotlb.syncForCpu(cpus[0]!, device, bounce + from, part, DMA_FROM_DEVICE);
          bytes.fill(0xaa, from, from + part);
          expect(same(read(phys, size), bytes)).toBe(true);
          write(phys, new Uint8Array(size).fill(0x55));
          swiotlb.syncForDevice(cpus[0]!, device, bounce + from, part, DMA_TO_DEVICE);
          const expected = new Uint8Array(size).fill(0xaa).fill(0x55, from, from + part);
          expect(same(read(bounce, size), expected)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('only directions in which there is something to see', () => {
    const { swiotlb, write, read, counters } = pool();
    const device = deviceWith();
    write(ORIGINALS, new Uint8Array(64).fill(1));
    const bounce = swiotlb.map(cpus[0]!, device, ORIGINALS, 64, 0, DMA_BIDIRECTIONAL, 0);
    expect([counters.get('bounces'), counters.get('bytesBounced')]).toEqual([1, 64]);
    write(bounce, new Uint8Array(64).fill(2));
    swiotlb.syncForCpu(cpus[0]!, device, bounce, 64, DMA_TO_DEVICE);
    swiotlb.syncForDevice(cpus[0]!, device, bounce, 64, DMA_FROM_DEVICE);
    expect([read(ORIGINALS, 1)[0], read(bounce, 1)[0], counters.get('bytesBounced')]).toEqual([1, 2, 64]);
    swiotlb.unmap(cpus[0]!, device, bounce, 64, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    expect([read(ORIGINALS, 1)[0], swiotlb.used]).toEqual([1, 0]);
  });

  test.each([0, 511, 4095])(
    'a sync beyond the buffer is cut at its end, and said, min_align_mask %i',
    (minAlignMask) => {
      const { swiotlb, write, read, log } = pool();
      const device = deviceWith({ minAlignMask });
      const phys = ORIGINALS + 300;
      write(phys - 300, new Uint8Array(8192).fill(1));
      const bounce = swiotlb.map(cpus[0]!, device, phys, 1000, 0, DMA_FROM_DEVICE, 0);
      write(bounce, new Uint8Array(8192).fill(2));
      swiotlb.syncForCpu(cpus[0]!, device, bounce, 5000, DMA_FROM_DEVICE);
      expect(log.entries()[0]?.message).toBe('Buffer overflow detected. Allocation size: 1000. Mapping size: 5000.');
      expect([...read(phys + 999, 2), ...read(phys - 1, 2)]).toEqual([2, 1, 1, 2]);
    },
  );

  test('a buffer that nobody has is not copied', () => {
    const { swiotlb, log, counters } = pool();
    swiotlb.syncForCpu(cpus[0]!, deviceWith(), POOL + 5 * SLOT, 64, DMA_FROM_DEVICE);
    expect(log.entries()).toHaveLength(1);
    expect(counters.get('bytesBounced')).toBe(0);
  });
});

describe('exhaustion', () => {
  test('the kernel says how much was wanted, how much there is and how much is used; NO_WARN silences it', () => {
    const { swiotlb, log } = pool({ slots: 128 });
    const device = deviceWith();
    swiotlb.map(cpus[0]!, device, ORIGINALS, 200 * 1024, 0, DMA_TO_DEVICE, 0);
    expect(swiotlb.map(cpus[0]!, device, ORIGINALS, 100_000, 0, DMA_TO_DEVICE, DMA_ATTR_NO_WARN)).toBe(-1);
    expect(log.entries()).toEqual([]);
    expect(swiotlb.map(cpus[0]!, device, ORIGINALS, 100_000, 0, DMA_TO_DEVICE, 0)).toBe(-1);
    expect(log.entries().map(({ message }) => message)).toEqual([
      'swiotlb buffer is full (sz: 100000 bytes), total 128 (slots), used 100 (slots)',
    ]);
    expect(device.dmaSkipSync).toBe(false);
    expect([swiotlb.used, swiotlb.usedHighWater, swiotlb.slots]).toEqual([100, 100, 128]);
  });

  test('a device that never bounced keeps its shortcut past syncs, also when the pool is full', () => {
    const { swiotlb } = pool({ slots: 128 });
    const device = deviceWith();
    expect(swiotlb.map(cpus[0]!, device, ORIGINALS, 300 * 1024, 0, DMA_TO_DEVICE, DMA_ATTR_NO_WARN)).toBe(-1);
    expect(device.dmaSkipSync).toBe(true);
    swiotlb.map(cpus[0]!, device, ORIGINALS, 10, 0, DMA_TO_DEVICE, 0);
    expect(device.dmaSkipSync).toBe(false);
  });
});
