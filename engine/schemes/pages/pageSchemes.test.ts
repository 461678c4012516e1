/**
 * Page by page under every scheme: whatever pages a region has and whatever becomes of them, the device finds behind each address the page that the
 * process has, or is refused with the reason; what went is out of reach, and all that was taken is given back (mm/hmm.c; drivers/pci/p2pdma.c).
 * And what 16 pages cost, batched or one by one (drivers/iommu/dma-iommu.c).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DomainType } from '../../dma/device.ts';
import { EINVAL, EOPNOTSUPP, EREMOTEIO } from '../../dma/errno.ts';
import { TestMachine, type TestMachineOptions } from '../../dma/testMachine.ts';
import { takeWork, work } from '../../dma/testMeter.ts';
import { DMA_MAPPING_ERROR } from '../../memory/addresses.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE } from '../../memory/hmmPfn.ts';
import { PageKinds, type P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { PageScheme } from '../pageScheme.ts';
import { SCHEME_NAMES, type SchemeName } from '../scheme.ts';
import { createPageScheme } from './pageSchemes.ts';
import { UniformSplitPages } from './uniformSplitPages.ts';

const PAGE = 4096;
const PAGES = 16;
const RAM = 0x1_0000;
const NEAR = 0x14_0000;
const FAR = 0x15_0000;
const ALONE = 0x16_0000;
const near: P2pdmaProvider = { name: '0000:01:00.0', busOffset: 0x100_0000_0000, sourceId: 0x100 };
const far: P2pdmaProvider = { name: '0000:41:00.0', busOffset: 0, sourceId: 0x4100 };
const alone: P2pdmaProvider = { name: '0000:81:00.0', busOffset: 0, sourceId: 0x8100 };
const ABLE = SCHEME_NAMES.filter((name) => name !== 'premapped');

class Region {
  readonly machine: TestMachine;
  readonly scheme: PageScheme;
  /** What the device's table holds. */
  readonly table = new Float64Array(PAGES).fill(DMA_MAPPING_ERROR);

  constructor(name: SchemeName, options: TestMachineOptions = {}) {
    const pageKinds = new PageKinds();
    pageKinds.setRange(NEAR, 256, near);
    pageKinds.setRange(FAR, 256, far);
    pageKinds.setRange(ALONE, 256, alone);
    this.machine = new TestMachine({
      profile: '7.3',
      device: { maxSegmentSize: 2 ** 32 - 1 },
      pageKinds,
      p2pdma: {
        mapType: (provider) =>
          provider === near ? 'bus_addr' : provider === far ? 'thru_host_bridge' : 'not_supported',
      },
      ...options,
    });
    this.scheme = createPageScheme(name, this.machine.api, this.machine.device, 'test');
  }

  reserve(): number {
    return this.scheme.reserve(this.machine.cpu, PAGES);
  }

  /** A fault found these pages; negative: none. */
  fault(first: number, pages: readonly number[]): number {
    const { scheme, machine, table } = this;
    pages.forEach((page, offset) => {
      const had = scheme.pfns.flags[first + offset]!;
      if (page >= 0) scheme.pfns.set(first + offset, page, had | HMM_PFN_VALID | HMM_PFN_WRITE);
    });
    const addresses = new Float64Array(pages.length);
    const ret = scheme.mapPages(machine.cpu, first, pages.length, addresses);
    if (ret === 0) table.set(addresses, first);
    return ret;
  }

  /** The device lets go of all that goes, then the IOMMU; the process keeps pages outside. */
  invalidate(first: number, end: number): void {
    const range = { first, end };
    this.scheme.widen(range);
    this.table.fill(DMA_MAPPING_ERROR, range.first, range.end);
    this.scheme.unmapPages(this.machine.cpu, range.first, range.end);
    for (let index = first; index < end; index += 1) this.scheme.pfns.set(index, 0, 0);
  }

  /** The page that the device reaches by an entry. */
  reached(index: number): number | null {
    const address = this.table[index]!;
    if (address === DMA_MAPPING_ERROR) return null;
    const byBus = (address - near.busOffset) / PAGE;
    if (byBus >= NEAR && byBus < NEAR + 256) return byBus;
    return this.machine.deviceSees(address, true);
  }
}

function frames(count: number, base = RAM): number[] {
  return Array.from({ length: count }, (_, index) => base + 2 * index);
}

describe('16 pages of RAM that come in one fault and go in one invalidation, strict', () => {
  const each = { maps: PAGES };
  test.each([
    [
      'two_step_per_page',
      work({ iovaAllocations: 1 }),
      work({ ...each, syncs: 16 }),
      work({ unmaps: 16, flushes: 16 }),
    ],
    ['two_step', work({ iovaAllocations: 1 }), work({ ...each, syncs: 1 }), work({ unmaps: 1, flushes: 1 })],
    ['hybrid', work({ iovaAllocations: 1 }), work({ ...each, syncs: 1 }), work({ unmaps: 1, flushes: 1 })],
    ['uniform_only', work({ iovaAllocations: 1 }), work({ ...each, syncs: 1 }), work({ unmaps: 1, flushes: 1 })],
    ['uniform_split', work({ iovaAllocations: 1 }), work({ ...each, syncs: 16 }), work({ unmaps: 1, flushes: 1 })],
    ['iova_export', work({ iovaAllocations: 1 }), work(each), work({ unmaps: 1, flushes: 1 })],
    ['rfc_link_range', work({ iovaAllocations: 1 }), work(each), work({ unmaps: 16, flushes: 16 })],
    ['map_phys', work(), work({ ...each, iovaAllocations: 16 }), work({ unmaps: 16, flushes: 16, iovaFrees: 16 })],
    ['map_sg', work(), work({ ...each, iovaAllocations: 1 }), work({ unmaps: 1, flushes: 1, iovaFrees: 1 })],
  ] as const)('%s', (name, reserving, mapping, unmapping) => {
    const region = new Region(name);
    expect(region.reserve()).toBe(0);
    expect(takeWork(region.machine)).toEqual(reserving);
    expect(region.fault(0, frames(PAGES))).toBe(0);
    expect(takeWork(region.machine)).toEqual(mapping);
    expect(frames(PAGES).map((_, index) => region.reached(index))).toEqual(frames(PAGES));
    region.invalidate(0, PAGES);
    expect(takeWork(region.machine)).toEqual(unmapping);
    region.scheme.release(region.machine.cpu);
    expect(takeWork(region.machine).iovaFrees).toBe(reserving.iovaAllocations);
  });
});

describe('what a scheme cannot do', () => {
  test('premapped is refused, since nothing of the region is pinned', () => {
    expect(() => new Region('premapped')).toThrow(/pins and maps a region before its first use/u);
  });

  test.each(ABLE)('%s: a device whose memory might be copied is refused with the reason', (name) => {
    const region = new Region(name, { device: { dmaSkipSync: false } });
    expect(region.reserve()).toBe(EOPNOTSUPP);
    expect(region.scheme.refusal).toMatch(/copied/u);
    expect(takeWork(region.machine)).toEqual(work());
  });

  test('uniform_only refuses a page that flips, until all the others have gone', () => {
    const region = new Region('uniform_only');
    region.reserve();
    region.fault(0, frames(PAGES));
    region.invalidate(5, 6);
    expect(region.fault(5, [NEAR])).toBe(EINVAL);
    expect(region.scheme.refusal).toMatch(/^Page 5 .* a peer’s memory behind a common switch now, .* ordinary memory/u);
    region.invalidate(0, PAGES);
    expect(region.fault(0, frames(PAGES, NEAR))).toBe(0);
  });

  test('uniform_split makes three of a region whose page 5 flips, and one again', () => {
    for (const place of [NEAR, FAR]) {
      const region = new Region('uniform_split');
      const { scheme } = region;
      if (!(scheme instanceof UniformSplitPages)) throw new Error('another scheme was made');
      region.reserve();
      region.fault(0, frames(PAGES));
      expect(scheme.transactions).toBe(1);
      region.invalidate(5, 6);
      takeWork(region.machine);
      expect(region.fault(5, [place])).toBe(0);
      expect(takeWork(region.machine)).toEqual(
        place === NEAR ? work() : work({ iovaAllocations: 1, maps: 1, syncs: 1 }),
      );
      expect([scheme.transactions, region.reached(5)]).toEqual([3, place]);
      region.invalidate(5, 6);
      region.fault(5, [RAM + 99]);
      expect([scheme.transactions, region.reached(5)]).toEqual([1, RAM + 99]);
    }
  });

  test('hybrid asks once a batch, and after a flip page by page', () => {
    const region = new Region('hybrid');
    region.reserve();
    region.fault(0, frames(8));
    region.fault(8, [RAM + 90, FAR, RAM + 92, RAM + 94]);
    expect(takeWork(region.machine)).toEqual(work({ iovaAllocations: 1, maps: 12, syncs: 5 }));
    region.invalidate(0, 12);
    expect(takeWork(region.machine)).toEqual(work({ unmaps: 12, flushes: 12 }));
    region.fault(0, frames(8));
    expect(takeWork(region.machine)).toEqual(work({ maps: 8, syncs: 1 }));
  });

  test('map_sg: one page of a batch takes the addresses of all of them', () => {
    const region = new Region('map_sg');
    region.reserve();
    region.fault(0, frames(8));
    region.fault(8, frames(8, RAM + 100));
    region.invalidate(3, 4);
    expect(frames(PAGES).map((_, index) => region.reached(index) !== null)).toEqual(
      frames(PAGES).map((_, index) => index >= 8),
    );
  });

  test('the RFC refuses lazy domains and peers', () => {
    const lazy = new Region('rfc_link_range', { domain: 'lazy' });
    expect(lazy.reserve()).toBe(EOPNOTSUPP);
    expect(lazy.scheme.refusal).toMatch(/old translations/u);
    const strict = new Region('rfc_link_range');
    strict.reserve();
    expect(strict.fault(0, [FAR])).toBe(EREMOTEIO);
  });

  test.each(ABLE)('%s: a peer out of reach is refused, and what lies before it stays usable', (name) => {
    const region = new Region(name);
    region.reserve();
    expect(region.fault(0, [RAM])).toBe(0);
    expect(region.fault(1, [ALONE])).toBeLessThan(0);
    expect(region.scheme.refusal).not.toBe('');
    expect(region.reached(0)).toBe(RAM);
    region.invalidate(0, PAGES);
    region.scheme.release(region.machine.cpu);
  });
});

const step = fc.oneof(
  fc.record({
    first: fc.nat(PAGES - 1),
    places: fc.array(fc.constantFrom(RAM, RAM, RAM, NEAR, FAR, -1), { minLength: 1, maxLength: PAGES }),
  }),
  fc.record({ first: fc.nat(PAGES - 1), gone: fc.integer({ min: 1, max: PAGES }) }),
);

describe.each(['strict', 'lazy', 'passthrough'] as const)(
  'random faults and invalidations, %s',
  (domain: DomainType) => {
    test('the device finds the same pages under every scheme that does not refuse', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
          for (const name of ABLE) {
            const region = new Region(name, { domain });
            const { machine, scheme, table } = region;
            if (region.reserve() !== 0) {
              expect([name, domain]).toEqual(['rfc_link_range', 'lazy']);
              continue;
            }
            const held = new Map<number, number>();
            let next = 0;
            for (const one of steps) {
              if ('gone' in one) {
                const end = Math.min(PAGES, one.first + one.gone);
                const old = [...table.subarray(one.first, end)];
                region.invalidate(one.first, end);
                for (let index = one.first; index < end; index += 1) held.delete(index);
                // one-shot unmaps of a lazy domain leave the flush to the queue
                const queued = domain === 'lazy' && (name === 'map_phys' || name === 'map_sg');
                if (domain === 'passthrough' || queued) continue;
                for (const address of old) {
                  if (address !== DMA_MAPPING_ERROR) expect(machine.deviceSees(address)).toBeNull();
                }
                continue;
              }
              const pages = one.places.slice(0, PAGES - one.first).map((place, offset) => {
                const had = held.get(one.first + offset);
                if (had !== undefined) return had;
                next += 1;
                return place < 0 ? -1 : place + (next % 250);
              });
              const ret = region.fault(one.first, pages);
              if (ret !== 0) {
                expect(['uniform_only', 'rfc_link_range']).toContain(name);
                expect(scheme.refusal).not.toBe('');
                region.invalidate(one.first, one.first + pages.length);
                for (let index = 0; index < pages.length; index += 1) held.delete(one.first + index);
                continue;
              }
              pages.forEach((page, offset) => {
                if (page >= 0) held.set(one.first + offset, page);
              });
              pages.forEach((page, offset) => {
                expect(region.reached(one.first + offset)).toBe(page < 0 ? null : page);
              });
            }
            for (let index = 0; index < PAGES; index += 1) {
              const seen = region.reached(index);
              // neighbours of a list that went may have to be asked for again
              if (name !== 'map_sg' || seen !== null) expect(seen).toBe(held.get(index) ?? null);
            }
            region.invalidate(0, PAGES);
            scheme.release(machine.cpu);
            const done = takeWork(machine);
            expect(done.iovaFrees + done.queueEntries).toBe(done.iovaAllocations);
            expect(scheme.bookkeepingBytes).toBeLessThanOrEqual(16);
          }
        }),
        { seed: 11, numRuns: 40 },
      );
    });
  },
);
