/**
 * A process's memory in an IOMMU's tables against what shared virtual addressing promises (Linux Documentation/arch/x86/sva.rst,
 * drivers/iommu/iommu-sva.c, mm/mmu_notifier.c): a device finds the process's page or none, never one that the process gave up.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FREE_IOMMU_COSTS } from '../iommu/freeCosts.ts';
import type { IommuVendor } from '../iommu/architectures.ts';
import { Iommu } from '../iommu/iommu.ts';
import { AddressSpace } from '../memory/addressSpace.ts';
import { PTE_PRESENT, PTE_WRITE } from '../memory/cpuPageTable.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { EBUSY, EFAULT } from '../memory/memoryErrors.ts';
import { migratePage } from '../memory/pageMovement.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { UserPages } from '../memory/userPages.ts';
import { Counters } from '../metrics/counters.ts';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { DeviceDomains } from './attachDomain.ts';
import { IommuDomain } from './iommuDomain.ts';
import { dmaCostParameters, resolveDmaCosts } from './kernels/costs.ts';
import { kernelProfile } from './kernels/profiles.ts';
import { ProcessMirror } from './processMirror.ts';

const PAGE = 4096;
const PAGES = 12;
const SOURCE_ID = 0x18;

class Shared {
  readonly events = new EventQueue();
  readonly mm: AddressSpace;
  readonly start: number;
  readonly mirror: ProcessMirror;
  readonly iommu: Iommu;

  constructor(vendor: IommuVendor = 'vtd') {
    const memory = new PhysicalMemory(2 ** 30);
    const frames = new FrameAllocator(memory, 1, 2 ** 18 - 1);
    const counters = new Counters();
    const iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      counters,
      log: null,
      vendor,
      geometry: {
        iotlb: { entries4K: 64, entries2M: 16, entries1G: 4, ways: 4 },
        pagingCache: { entries512G: 4, entries1G: 4, entries2M: 16 },
        contextCacheEntries: 4,
        walkers: 1,
      },
      costs: FREE_IOMMU_COSTS,
    });
    const domains = new DeviceDomains(memory, frames, iommu);
    const domainId = domains.takeDomainId();
    const domain = new IommuDomain({
      profile: kernelProfile('7.3'),
      costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3')),
      memory,
      frames,
      iommu,
      format: domains.format,
      levels: domains.firstLevels,
      domainId,
      counters,
      trace: null,
      log: null,
      deviceName: '0000:00:03.0',
      topChanged: (cpu, page, levels) => {
        domains.topChanged(cpu, SOURCE_ID, domainId, page, levels);
      },
    });
    domains.attach(SOURCE_ID, domainId, domain.table.rootPage, domain.table.levels);
    this.iommu = iommu;
    this.mm = new AddressSpace({ pages: new UserPages(memory, frames, null) });
    this.start = this.mm.map({ pages: PAGES });
    const { mm, start, events } = this;
    this.mirror = new ProcessMirror({ mm, domain, cpu: new Cpu(0), events, start, pages: PAGES });
  }

  /** The page that the device reaches through all caches, or null. */
  device(index: number, write: boolean): number | null {
    const { iommu, start, events } = this;
    return iommu.translate(SOURCE_ID, start + index, write, 1, events.now) ? iommu.physPage : null;
  }

  /** The page that the process has there, or null where it has none or may not write to it. */
  process(index: number, write: boolean): number | null {
    const { table } = this.mm;
    const needed = PTE_PRESENT | (write ? PTE_WRITE : 0);
    return (table.flagsOf(this.start + index) & needed) === needed ? table.pageOf(this.start + index) : null;
  }
}

describe('a process’s memory for devices', () => {
  test('a page is there after its fault, and for writing after a fault to write', () => {
    const world = new Shared();
    const { mirror, mm, start } = world;
    expect(world.device(3, false)).toBeNull();
    expect(mirror.fault(start + 3, false)).toBe(0);
    // untouched memory reads as the zero page, which nobody may write to
    expect([world.device(3, false), world.device(3, true)]).toEqual([mm.pages.zeroPage, null]);
    expect(mirror.fault(start + 3, true)).toBe(0);
    const own = mm.table.pageOf(start + 3);
    expect(own).not.toBe(mm.pages.zeroPage);
    expect([world.device(3, false), world.device(3, true)]).toEqual([own, own]);
    expect(mirror.held).toBe(1);
  });

  test('a second fault on the same page changes nothing', () => {
    const world = new Shared();
    const { mirror, start } = world;
    mirror.fault(start, true);
    const page = world.device(0, true);
    expect([mirror.fault(start, true), mirror.fault(start, false), mirror.held]).toEqual([0, 0, 1]);
    expect(world.device(0, true)).toBe(page);
  });

  test('outside the range, without an area, and against its permissions there is no page', () => {
    const { mirror, mm, start } = new Shared();
    expect([mirror.fault(start - 1, false), mirror.fault(start + PAGES, false)]).toEqual([EFAULT, EFAULT]);
    mm.unmap(start + 1, 1);
    mm.protect(start + 2, 1, { writable: false });
    expect([mirror.fault(start + 1, false), mirror.fault(start + 2, true)]).toEqual([EFAULT, EFAULT]);
    expect(mirror.fault(start + 2, false)).toBe(0);
    expect(mirror.held).toBe(1);
  });

  test('while the process’s tables change, a fault is told to come back', () => {
    const { mirror, mm, start } = new Shared();
    const seen: number[] = [];
    mm.invalidate(start, start + 1, 'clear', () => seen.push(mirror.fault(start + 4, false)));
    expect([...seen, mirror.fault(start + 4, false)]).toEqual([EBUSY, 0]);
  });

  test('devices lose a page before the process does, and only the pages that change', () => {
    const world = new Shared();
    const { mirror, mm, start } = world;
    for (const index of [4, 5, 6]) mirror.fault(start + index, true);
    mm.invalidate(start + 5, start + 6, 'clear', () => {
      expect([world.device(5, false), world.process(5, false)]).toEqual([null, expect.any(Number)]);
    });
    expect(mirror.held).toBe(2);
    for (const index of [4, 6]) expect(world.device(index, true)).toBe(world.process(index, true));
  });

  test('a page that devices could write to is dirty when they lose it; one that they could only read is not', () => {
    const { mirror, mm, start } = new Shared();
    const { pages, table } = mm;
    mirror.fault(start, true);
    mm.write(start * PAGE + PAGE, Uint8Array.of(1));
    mm.protect(start + 1, 1, { writable: false });
    mirror.fault(start + 1, false);
    const [written, read] = [table.pageOf(start), table.pageOf(start + 1)];
    const before = [written, read].map((page) => pages.isDirty(page));
    mirror.release();
    expect([before[0], pages.isDirty(written), pages.isDirty(read)]).toEqual([false, true, before[1]]);
  });

  test('when memory runs out: an invalidation that may not block is refused, and nothing is lost', () => {
    const world = new Shared();
    const { mirror, mm, start } = world;
    mirror.fault(start, true);
    expect(mm.discard(start, 1, false)).not.toBe(0);
    expect(world.device(0, true)).toBe(world.process(0, true));
    expect(mm.discard(start, 1)).toBe(0);
    expect(world.device(0, true)).toBeNull();
  });

  test('after release devices find nothing, and the process’s changes call nobody', () => {
    const world = new Shared();
    const { mirror, mm, start } = world;
    mirror.fault(start, true);
    mirror.release();
    const { callbacks } = mm.notifiers;
    mm.discard(start, PAGES);
    expect([world.device(0, false), mirror.held, mm.notifiers.callbacks]).toEqual([null, 0, callbacks]);
  });

  const step = fc.record({
    what: fc.constantFrom(
      ...(['fault', 'fault', 'fault', 'touch', 'discard', 'protect', 'allow', 'migrate', 'unmap', 'map'] as const),
    ),
    index: fc.integer({ min: 0, max: PAGES - 1 }),
    count: fc.integer({ min: 1, max: 4 }),
    write: fc.boolean(),
  });

  test.each(['vtd', 'amd', 'smmuv3', 'riscv'] as const)(
    'property, %s: whatever changes, a device finds the process’s page or none, and a served fault makes it find one',
    (vendor) => {
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
          const world = new Shared(vendor);
          const { mirror, mm, start } = world;
          for (const { what, index, count, write } of steps) {
            const page = start + index;
            const pages = Math.min(count, PAGES - index);
            if (what === 'fault' && mirror.fault(page, write) === 0) {
              expect(world.device(index, write)).toBe(world.process(index, write));
              expect(world.device(index, write)).not.toBeNull();
            } else if (what === 'touch') mm.write(page * PAGE, Uint8Array.of(1));
            else if (what === 'discard') mm.discard(page, pages);
            else if (what === 'protect' || what === 'allow') mm.protect(page, pages, { writable: what === 'allow' });
            else if (what === 'migrate') migratePage(mm, page);
            else if (what === 'unmap') mm.unmap(page, pages);
            else if (what === 'map') mm.map({ pages, at: page });
            for (let other = 0; other < PAGES; other += 1) {
              for (const access of [false, true]) {
                const found = world.device(other, access);
                if (found !== null) expect(found).toBe(world.process(other, access));
              }
            }
          }
          mm.exit();
          expect(mirror.held).toBe(0);
          expect(mm.pages.held).toBe(0);
        }),
        { numRuns: 40, seed: 17 },
      );
    },
  );
});
