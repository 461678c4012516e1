/**
 * A look through two stages is what the hardware does, for every vendor: same end, same address, the entries that it reads and the time that
 * it takes, whatever the caches hold (VT-d specification 3.8 and 6.2; SMMUv3 specification IHI 0070, 3.3; RISC-V IOMMU specification 1.0, 2.3;
 * AMD specification 48882, 2.2.6).
 */
import { describe, expect, it } from 'vitest';
import { IOMMU_VENDORS, type IommuVendor } from '../iommu/architectures.ts';
import { FREE_IOMMU_COSTS } from '../iommu/freeCosts.ts';
import { Iommu } from '../iommu/iommu.ts';
import { DEVICE, LEAF_PAGES, processMachine } from '../iommu/testProcesses.ts';
import { Counters } from '../metrics/counters.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { RandomStream } from '../time/random.ts';
import { addressOf } from './iovaText.ts';
import { costParameters, resolveCosts } from './presets.ts';
import { inspectWalk, type WalkSnapshot } from './walkInspection.ts';
import { formatTitle, remedyWords } from './walkText.ts';

const COSTS = { preset: 'default', overrides: {} };
const PROFILE = '7.3';
const PAGES = 24;
const ROUNDS = 12;
const ACCESSES = 40;
const APART = 10_000_000;

function pipeline(
  vendor: IommuVendor,
  machine: ReturnType<typeof processMachine>,
  entries: number,
  counters: Counters,
) {
  const { iotlbHit, contextCacheHit, pagingCacheLookup, tableRead, walkOverhead } = resolveCosts(
    COSTS,
    PROFILE,
  ).hardware;
  const iommu = new Iommu({
    name: 'iommu0',
    memory: machine.memory,
    frames: machine.frames,
    geometry: {
      iotlb: { entries4K: 8, entries2M: 4, entries1G: 4, ways: 4 },
      pagingCache: { entries512G: entries, entries1G: entries, entries2M: entries },
      contextCacheEntries: 2,
      walkers: 2,
    },
    costs: { ...FREE_IOMMU_COSTS, iotlbHit, contextCacheHit, pagingCacheLookup, tableRead, walkOverhead },
    counters,
    log: null,
    vendor,
    scalableMode: true,
  });
  iommu.setRootTable(machine.root);
  return iommu;
}

function look(iommu: Iommu, page: number, write: boolean, at: number): WalkSnapshot {
  const place = {
    at,
    iommu,
    sourceId: DEVICE,
    iotlb: iommu.iotlb.look(),
    pagingCache: iommu.pagingCache.look(),
    costs: costParameters({ costs: COSTS, kernelProfile: PROFILE, workloads: [] }),
  };
  return inspectWalk(place, { iova: addressOf(page, 0x40), write });
}

describe.each(IOMMU_VENDORS)('%s', (vendor) => {
  it.each([0, 16])('with paging-structure caches of %i entries', (entries) => {
    const random = new RandomStream(41).fork(vendor);
    const seen = { granted: 0, second: 0, spared: 0, full: 0 };
    for (let round = 0; round < ROUNDS; round += 1) {
      const machine = processMachine(vendor, 'both');
      const counters = new Counters();
      const iommu = pipeline(vendor, machine, entries, counters);
      for (let page = 0; page < PAGES; page += 1) {
        const permissions = (): number => [3, 3, 3, 3, 1, 0][random.below(6)]!;
        for (const tables of machine.first)
          tables.write(page, random.below(PAGES), permissions(), random.below(2) === 0);
        machine.second.write(page, LEAF_PAGES + random.below(PAGES), permissions(), random.below(2) === 0);
      }
      for (let access = 0; access < ACCESSES; access += 1) {
        const at = (access + 1) * APART;
        const page = random.below(PAGES + 1);
        const write = random.below(2) === 1;
        const looked = look(iommu, page, write, at);
        const before = counters.get('tableReads');
        const allowed = iommu.translate(DEVICE, page, write, 1, picoseconds(at));
        expect(looked.outcome.kind === 'refused').toBe(!allowed);
        expect(looked.ps).toBe(iommu.readyAt - at);
        const reads = looked.steps.filter(({ cost }) => cost?.name === 'tableRead');
        expect(reads.reduce((sum, { count }) => sum + count, 0)).toBe(counters.get('tableReads') - before);
        const read = looked.entries.filter((entry) => entry.read);
        if (looked.outcome.kind === 'refused') {
          if (read.at(-1)?.stage === 2) seen.second += 1;
          continue;
        }
        seen.granted += 1;
        if (read.length === 24) seen.full += 1;
        else if (read.length > 0) seen.spared += 1;
        expect(looked.outcome).toMatchObject({ kind: 'translated', address: addressOf(iommu.physPage, 0x40) });
        expect(
          [formatTitle(looked.format), formatTitle(looked.secondFormat)].every((title) => /[A-Z]/.test(title)),
        ).toBe(true);
      }
    }
    expect(seen.granted).toBeGreaterThan(100);
    expect(seen.second).toBeGreaterThan(10);
    expect(entries === 0 ? seen.full : seen.spared).toBeGreaterThan(20);
  });
});

it('says which stage refuses, and what it was asked for', () => {
  const machine = processMachine('vtd', 'both');
  const iommu = pipeline('vtd', machine, 0, new Counters());
  machine.first[0]!.write(1, 5, 3, false);
  const refused = look(iommu, 1, false, APART);
  expect(refused.entries.filter(({ stage }) => stage === 1)).toHaveLength(4);
  expect(refused.entries.at(-1)).toMatchObject({ stage: 2, row: -1, guestPage: 5, kind: 'absent' });
  expect(remedyWords(refused.outcome)).toContain('The second stage refuses');
  machine.second.write(5, LEAF_PAGES + 5, 3, false);
  expect(look(iommu, 1, false, APART).outcome).toMatchObject({ kind: 'translated', pages: 1, permissions: 3 });
  expect(look(iommu, 1, false, APART).steps.map(({ title }) => title)).toContain('entry of level 4 read, second stage');
});

it('tells a page that is not marked as used from one that is mapped for the other direction', () => {
  const machine = processMachine('smmuv3', 'both');
  const iommu = pipeline('smmuv3', machine, 0, new Counters());
  const helps = (permissions: number, fresh: boolean): string => {
    machine.first[0]!.write(1, 5, 3, false);
    machine.second.write(5, LEAF_PAGES + 5, permissions, fresh);
    return remedyWords(look(iommu, 1, true, APART).outcome);
  };
  expect(helps(3, true)).toContain('accessed or dirty bit');
  expect(helps(1, false)).toContain('for this direction');
  expect(helps(3, false)).toBe('');
});
