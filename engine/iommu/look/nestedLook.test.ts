/**
 * A look through two stages says what the walker says, for every vendor: same end, same page, which stage refuses, and every entry that is
 * read, in order; nothing in memory has changed.
 */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../time/random.ts';
import { IOMMU_VENDORS, architectureOf } from '../architectures.ts';
import { NO_FAULT } from '../faults.ts';
import { DEVICE, LEAF_PAGES, PASIDS, processMachine } from '../testProcesses.ts';
import { NestedWalker } from '../walk/nestedWalker.ts';
import { lookNestedWalk } from './nestedLook.ts';
import { PAGE_ROW } from './walkLook.ts';

const PAGES = 24;
const ROUNDS = 16;

describe.each(IOMMU_VENDORS)('%s', (vendor) => {
  it('ends as the walk does, and reads the same entries', () => {
    const random = new RandomStream(23).fork(vendor);
    let granted = 0;
    let refusedBySecond = 0;
    let again = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const machine = processMachine(vendor, 'both');
      const { memory, root, first, second } = machine;
      const permissions = (): number => [3, 3, 3, 1, 2, 0][random.below(6)]!;
      for (let page = 0; page < PAGES; page += 1) {
        for (const tables of first) tables.write(page, random.below(PAGES), permissions(), random.below(2) === 0);
        second.write(page, LEAF_PAGES + random.below(PAGES), permissions(), random.below(2) === 0);
      }
      const context = new (architectureOf(vendor, true).Reader)(memory);
      expect(context.read(root, DEVICE, PASIDS[0])).toBe(true);
      const below = context.second!;
      for (let page = 0; page < PAGES + 2; page += 1) {
        for (const write of [false, true]) {
          const looked = lookNestedWalk(memory, context, below, page, write);
          const walker = new NestedWalker(memory, context.format, below.format, context.accessBits, below.accessBits);
          walker.setSecondStage(below.tablePage, below.levels, below.endPage);
          const allowed = walker.walkFromRoot(1, page, write, context.tablePage, context.levels);
          expect(looked.fault).toBe(walker.fault);
          expect(looked.faultStage).toBe(walker.faultStage);
          expect(looked.entries.map(({ tablePage, index }) => [tablePage, index])).toEqual(
            Array.from({ length: walker.reads }, (_, read) => [walker.readTables[read], walker.readIndexes[read]]),
          );
          if (!allowed) {
            if (looked.faultStage === 2) refusedBySecond += 1;
            expect(looked.permissions).toBe(walker.refusedPermissions);
            continue;
          }
          granted += 1;
          again += looked.entries.filter((entry) => entry.again).length;
          expect(looked.fault).toBe(NO_FAULT);
          expect(looked.physPage).toBe(walker.physPage(page));
          expect(looked.permissions).toBe(walker.permissions);
          expect(looked.pages).toBe(1);
          // a grid: for each level of the first stage and for the page all levels of the second, and the first stage's entry
          const once = looked.entries.filter((entry) => !entry.again);
          expect(once).toHaveLength((context.levels + 1) * (below.levels + 1) - 1);
          expect(once.filter(({ row, stage }) => row === PAGE_ROW && stage === 2)).toHaveLength(below.levels);
        }
      }
    }
    expect(granted).toBeGreaterThan(80);
    expect(refusedBySecond).toBeGreaterThan(40);
    // bits of the first stage's entries that a walk sets ask the second stage whether it may
    expect(again).toBeGreaterThan(20);
  });
});
