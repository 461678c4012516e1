/**
 * Content end to end while everything happens to the memory of an on-demand region, in the middle of faults and transfers; and the same with one step
 * of the protocol left out, which must be caught: the check of the sequence (mm/mmu_notifier.c `mmu_interval_read_retry`), the adapter before the
 * IOMMU (drivers/infiniband/hw/mlx5/odp.c `mlx5_ib_invalidate_range`), the sync after a link where not-present entries are kept, and the flush after an
 * unlink (drivers/iommu/dma-iommu.c).
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { NicPageFaults } from '../../devices/nicPageFaults.ts';
import type { AddressSpace } from '../../memory/addressSpace.ts';
import { IntervalNotifier } from '../../memory/intervalNotifier.ts';
import { IommuDomain } from '../../dma/iommuDomain.ts';
import { createPageScheme } from '../../schemes/pages/pageSchemes.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { OdpDriver } from './odpDriver.ts';
import { OdpRegion } from './odpRegion.ts';
import { OdpWorld, type OdpWorldOptions } from './testOdpWorld.ts';

const OPERATIONS = 400;
const SEEDS = [1, 2, 3, 4, 5, 6];
const FEW = [1, 2, 3];
const NOTHING_HELD = { pages: 0, intervals: 0, swapped: 0, ranges: 0 };

/** What went wrong in some worlds, and what happened in them. */
function worlds(options: Omit<OdpWorldOptions, 'seed'>, seeds = SEEDS) {
  const wrong: string[] = [];
  const done = new Map<string, number>();
  let messages = 0;
  let overtaking = 0;
  for (const seed of seeds) {
    const world = new OdpWorld({ seed, ...options });
    world.run(OPERATIONS);
    wrong.push(...world.wrong);
    messages += world.messages;
    overtaking += world.overtaking;
    for (const [what, times] of world.done) done.set(what, (done.get(what) ?? 0) + times);
    if (wrong.length === 0) expect(world.release()).toEqual(NOTHING_HELD);
  }
  return { wrong, done, messages, overtaking };
}

/** Takes from the IOMMU what the adapter still uses. */
class IommuFirstRegion extends OdpRegion {
  protected override takeAway(first: number, end: number): void {
    const { adapter, cpu } = this.options;
    const { umem } = this;
    umem.unmapPages(cpu, { first, end }, first, end);
    adapter.zap(this.key, umem.start + first, end - first);
  }
}

class IommuFirstDriver extends OdpDriver {
  protected override createRegion(mm: AddressSpace, start: number, pages: number, writable: boolean) {
    const { api, device, adapter, events, cpu } = this.options;
    const scheme = createPageScheme('two_step_per_page', api, device, 'test');
    return IommuFirstRegion.create({
      key: this.takeKey(),
      adapter,
      events,
      cpu,
      umem: { mm, start, pages, writable, scheme },
    });
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('every byte is right while pages move, are swapped, shared, protected and taken away', () => {
  test('explicit, as Linux maps; and all of it happens, also in the middle of transfers', () => {
    const { wrong, done, messages, overtaking } = worlds({});
    expect(wrong).toEqual([]);
    const kinds = ['migrate', 'slow migration', 'to the peer', 'to RAM', 'swap', 'fork', 'protect', 'discard'];
    for (const kind of kinds) expect(done.get(kind)).toBeGreaterThan(5);
    expect(messages).toBeGreaterThan(200);
    expect(overtaking).toBeGreaterThan(200);
  });

  test('implicit, with children that come and go', () => {
    expect(worlds({ implicit: true }).wrong).toEqual([]);
  });

  test('where the IOMMU keeps what was not present, and a broken device looks for it', () => {
    expect(worlds({ cachingMode: true, strays: true }).wrong).toEqual([]);
  });

  test.each(['map_sg', 'map_phys', 'two_step', 'uniform_split', 'hybrid', 'iova_export'] as const)(
    'under the scheme %s',
    (scheme: SchemeName) => {
      expect(worlds({ scheme }, [7, 8]).wrong).toEqual([]);
    },
  );
});

describe('a step left out is caught', () => {
  test('the check of the sequence: stale pages reach the adapter', () => {
    vi.spyOn(IntervalNotifier.prototype, 'readRetry').mockReturnValue(false);
    expect(worlds({}, FEW).wrong).not.toEqual([]);
  });

  test('the adapter before the IOMMU: it uses addresses that are gone', () => {
    const { wrong } = worlds({ driver: IommuFirstDriver }, FEW);
    expect(wrong.some((what) => what.endsWith('failed'))).toBe(true);
  });

  test('the wait for what is under way: it meets an IOMMU that has forgotten its pages', () => {
    vi.spyOn(NicPageFaults.prototype, 'zap').mockImplementation(function (this: NicPageFaults, key, first, count) {
      this.writeEntries(key, first, new Float64Array(count), new Uint8Array(count), count);
    });
    expect(worlds({}, FEW).wrong.some((what) => what.endsWith('failed'))).toBe(true);
  });

  test('the zap: the adapter goes on with what is gone', () => {
    vi.spyOn(NicPageFaults.prototype, 'zap').mockReturnValue(undefined);
    expect(worlds({}, FEW).wrong.some((what) => what.endsWith('failed'))).toBe(true);
  });

  test('the sync: a page that was not present stays so for the device', () => {
    const prepare: OdpWorldOptions['prepare'] = ({ api }) => {
      api.dmaIovaSync = () => 0;
    };
    const { wrong } = worlds({ cachingMode: true, strays: true, prepare }, FEW);
    expect(wrong.some((what) => what.endsWith('failed'))).toBe(true);
  });

  test('the flush: the device goes on with the page that was there before', () => {
    vi.spyOn(IommuDomain.prototype, 'sync').mockReturnValue(undefined);
    expect(worlds({}, FEW).wrong.some((what) => what.includes('wrong bytes'))).toBe(true);
  });
});
