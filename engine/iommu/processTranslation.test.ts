/**
 * Requests of processes and through two stages in the timed pipeline, whose caches are tagged by domain and address space: whatever was
 * cached, the answers are those of the tables (VT-d specification 6.2; SMMUv3 specification IHI 0070, 3.3; RISC-V IOMMU specification 1.0,
 * 2.3; AMD specification 48882, 2.2.6).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Counters } from '../metrics/counters.ts';
import { NO_PASID } from '../pcie/translator.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import { architectureOf, IOMMU_VENDORS, type IommuVendor } from './architectures.ts';
import { EVERY_SPACE, NO_SPACE } from './caches/owner.ts';
import { FREE_IOMMU_COSTS } from './freeCosts.ts';
import { FunctionalTranslation } from './functionalTranslation.ts';
import { Iommu, type IommuGeometry } from './iommu.ts';
import { DEVICE, LEAF_PAGES, PASIDS, processMachine, type ProcessMachine, type Stages } from './testProcesses.ts';

const GEOMETRY: IommuGeometry = {
  iotlb: { entries4K: 16, entries2M: 4, entries1G: 4, ways: 4 },
  pagingCache: { entries512G: 4, entries1G: 4, entries2M: 4 },
  contextCacheEntries: 2,
  walkers: 2,
};
const STAGES: readonly Stages[] = ['first', 'second', 'both'];

function pipeline(vendor: IommuVendor, { memory, frames, root }: ProcessMachine, counters = new Counters()): Iommu {
  const costs = { ...FREE_IOMMU_COSTS, tableRead: nanoseconds(100), walkOverhead: nanoseconds(10) };
  const options = { name: 'iommu0', memory, frames, geometry: GEOMETRY, costs, counters, log: null };
  const iommu = new Iommu({ ...options, vendor, scalableMode: true });
  iommu.setRootTable(root);
  return iommu;
}

describe.each(IOMMU_VENDORS)('%s', (vendor) => {
  test.each(STAGES)('%s: every request ends as the tables say, whatever the caches hold', (stages) => {
    const action = fc.record({
      kind: fc.constantFrom('request', 'request', 'request', 'request', 'request', 'first', 'second'),
      process: fc.nat(PASIDS.length),
      page: fc.nat(24),
      target: fc.nat(LEAF_PAGES - 1),
      permissions: fc.constantFrom(3, 3, 3, 1, 2, 0),
      fresh: fc.boolean(),
      write: fc.boolean(),
    });
    let answers = 0;
    let refusals = 0;
    fc.assert(
      fc.property(fc.array(action, { minLength: 20, maxLength: 120 }), (actions) => {
        const machine = processMachine(vendor, stages);
        const { first, second, memory, root } = machine;
        const iommu = pipeline(vendor, machine);
        const truth = new FunctionalTranslation(memory, new (architectureOf(vendor, true).Reader)(memory));
        truth.setRootTable(root);
        for (let page = 0; page < 12; page += 1) {
          second.write(page, LEAF_PAGES + page, 3, false);
          for (const tables of first) tables.write(page, 11 - page, 3, page % 2 === 0);
        }
        // a change is followed by the invalidation that covers it
        const contextOf = (pasid: number) => {
          iommu.inside.context.read(root, DEVICE, pasid);
          return iommu.inside.context;
        };
        for (const { kind, process, page, target, permissions, fresh, write } of actions) {
          if (kind === 'first') {
            const index = process % PASIDS.length;
            first[index]!.write(page, target % 24, permissions, fresh);
            if (stages === 'second') continue;
            const { domainId, space } = contextOf(PASIDS[index]!);
            expect(space).not.toBe(NO_SPACE);
            iommu.iotlb.invalidateRange(domainId, space, page, page);
            // requests without a process may be those of process 0, which shares the tables of the first
            if (index === 0) iommu.iotlb.invalidateRange(domainId, contextOf(NO_PASID).space, page, page);
          } else if (kind === 'second') {
            second.write(page, target + LEAF_PAGES, permissions, fresh);
            const { domainId } = contextOf(stages === 'second' ? NO_PASID : PASIDS[0]);
            iommu.iotlb.invalidateRange(domainId, NO_SPACE, page, page);
            iommu.iotlb.invalidateSpaces(domainId);
          } else {
            const pasid = process === PASIDS.length ? NO_PASID : PASIDS[process]!;
            const granted = iommu.translateWithPasid(DEVICE, pasid, page, write, 1, picoseconds(0));
            const wanted = truth.translate(DEVICE, pasid, page, write);
            expect([granted, granted ? iommu.physPage : -1]).toEqual([wanted, wanted ? truth.physPage : -1]);
            if (granted) answers += 1;
            else refusals += 1;
          }
        }
      }),
      { numRuns: 100, seed: 5 },
    );
    expect(answers).toBeGreaterThan(200);
    expect(refusals).toBeGreaterThan(100);
  });

  test.each(STAGES)('%s: what a process has in the caches is hit by its own requests only', (stages) => {
    const machine = processMachine(vendor, stages);
    const counters = new Counters();
    const iommu = pipeline(vendor, machine, counters);
    for (let page = 0; page < 4; page += 1) {
      machine.second.write(page, LEAF_PAGES + page, 3, false);
      machine.first.forEach((tables, index) => {
        tables.write(page, (page + index) % 4, 3, false);
      });
    }
    const ask = (pasid: number): string => {
      const before = counters.get('iotlbMisses4K');
      const granted = iommu.translateWithPasid(DEVICE, pasid, 1, false, 1, picoseconds(0));
      return granted ? `${iommu.physPage} ${counters.get('iotlbMisses4K') > before ? 'walked' : 'hit'}` : 'refused';
    };
    const [one, other] = PASIDS;
    const base = stages === 'first' ? 0 : LEAF_PAGES;
    // without processes a second stage alone serves the device, and for some vendors all of its processes
    if (stages === 'second' && vendor !== 'vtd') {
      expect([ask(one), ask(NO_PASID), ask(NO_PASID)]).toEqual([
        'refused',
        `${LEAF_PAGES + 1} walked`,
        `${LEAF_PAGES + 1} hit`,
      ]);
      return;
    }
    const shared = stages === 'second';
    const second = shared ? `${LEAF_PAGES + 1} hit` : `${base + 2} walked`;
    expect([ask(one), ask(one), ask(other), ask(one)]).toEqual([
      `${base + 1} walked`,
      `${base + 1} hit`,
      second,
      `${base + 1} hit`,
    ]);
    const { context } = iommu.inside;
    context.read(machine.root, DEVICE, one);
    iommu.iotlb.invalidateRange(context.domainId, EVERY_SPACE, 1, 1);
    expect([ask(one), ask(other)].map((answer) => answer.split(' ')[1])).toEqual(
      shared ? ['walked', 'hit'] : ['walked', 'walked'],
    );
  });

  test('both: a walk reads up to 24 entries, and fewer where tables of either stage are known', () => {
    const machine = processMachine(vendor, 'both');
    const counters = new Counters();
    const iommu = pipeline(vendor, machine, counters);
    for (let page = 0; page < 8; page += 1) {
      machine.second.write(page, LEAF_PAGES + page, 3, false);
      machine.first[0]!.write(page, page, 3, false);
    }
    const reads = (page: number): number => {
      const before = counters.get('tableReads');
      expect(iommu.translateWithPasid(DEVICE, PASIDS[0], page, false, 1, picoseconds(0))).toBe(true);
      return counters.get('tableReads') - before;
    };
    const context = iommu.inside.context;
    context.read(machine.root, DEVICE, PASIDS[0]);
    const first = reads(1) - context.lookupReads;
    const next = reads(2);
    // each of four tables and the page itself through the second stage, whose upper tables are known after the first time
    expect(first).toBeLessThan(24);
    expect(first).toBeGreaterThanOrEqual(4 + 4 + 4);
    // the first stage's table of leaves is known, its address and the page's go through one entry of the second stage each
    expect(next).toBe(1 + 2);
    iommu.pagingCache.invalidateAll();
    iommu.iotlb.invalidateAll();
    expect(reads(1)).toBe(first);
  });

  test('first: a read leaves a page clean, and the first write walks once more and marks it (accessed and dirty bits)', () => {
    const machine = processMachine(vendor, 'first');
    const counters = new Counters();
    const iommu = pipeline(vendor, machine, counters);
    const [tables] = machine.first;
    const { format } = tables!;
    tables!.write(5, 77, 3, true);
    const ask = (write: boolean): string => {
      const walks = counters.get('iotlbMisses4K');
      const granted = iommu.translateWithPasid(DEVICE, PASIDS[0], 5, write, 1, picoseconds(0));
      return `${granted ? iommu.physPage : 'refused'} ${counters.get('iotlbMisses4K') - walks}`;
    };
    const marked = (): string => {
      const low = tables!.lowOf(5);
      const dirty = format.dirtyModifier === 0 && (low & format.dirtyBit) !== 0;
      return `${(low & format.accessedBit) === 0 ? '' : 'A'}${dirty ? 'D' : ''}`;
    };
    expect([ask(false), marked()]).toEqual(['77 1', 'A']);
    expect([ask(false), marked()]).toEqual(['77 0', 'A']);
    // Arm counts writes only where a leaf asks for it
    const counts = format.dirtyModifier === 0;
    expect([ask(true), marked()]).toEqual([counts ? '77 1' : '77 0', counts ? 'AD' : 'A']);
    expect([ask(true), ask(false)]).toEqual(['77 0', '77 0']);
  });
});

test('each read of a walk takes the time of the memory that it goes to', () => {
  const machine = processMachine('vtd', 'first');
  machine.first[0]!.write(5, 77, 3, false);
  const asked: number[] = [];
  const { memory, frames, root } = machine;
  const iommu = new Iommu({
    name: 'iommu0',
    memory,
    frames,
    geometry: GEOMETRY,
    costs: { ...FREE_IOMMU_COSTS, tableRead: nanoseconds(1) },
    counters: new Counters(),
    log: null,
    scalableMode: true,
    tableReadTiming: {
      tableRead: (page, word, at) => {
        asked.push(page, word);
        return at + 1000 * (asked.length / 2);
      },
      tablePlace: () => ({ dram: false, remote: false }),
    },
  });
  iommu.setRootTable(root);
  expect(iommu.translateWithPasid(DEVICE, PASIDS[0], 5, false, 1, picoseconds(0))).toBe(true);
  const lookup = iommu.inside.context.lookupReads;
  expect(asked[0]).toBe(machine.first[0]!.root);
  expect(asked.filter((_, index) => index % 2 === 1)).toEqual([0, 0, 0, 10]);
  expect(iommu.readyAt).toBe(lookup * 1000 + 1000 + 2000 + 3000 + 4000);
});
