/**
 * Walkers that do not look into CPU caches (VT-d ECAP.C = 0; SMMU without IDR0.COHACC): they see what the kernel's page-table code has
 * cleaned, and nothing else. Which lines it cleans is read in Linux: generic_pt/iommu_pt.h `flush_writes_range`,
 * intel/iommu.c `domain_flush_cache`, io-pgtable-arm.c `__arm_lpae_sync_pte`.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import { FAULT_READ_NOT_ALLOWED, FAULT_RESERVED_BITS } from '../faults.ts';
import { Walker } from '../walk/walker.ts';
import type { PageTable } from './tableOperations.ts';
import { GenericPageTable } from './tableOperationsGeneric.ts';
import { LegacyPageTable } from './tableOperationsLegacy.ts';
import { WriteBackTables } from './writeBackTables.ts';

const LEVELS = 4;
const MEGA = 512;
const LINES_OF_TABLE = 64;
const READ_WRITE = 3;

type Code = 'generic' | 'arm' | 'legacy';
const CODES: readonly Code[] = ['generic', 'arm', 'legacy'];

/** A kernel that cleans nothing while it `forgets`. */
class Forgetful extends WriteBackTables {
  forgets = false;

  override entriesWritten(page: number, firstEntry: number, entries: number): number {
    return this.forgets ? 0 : super.entriesWritten(page, firstEntry, entries);
  }
}

function build(code: Code) {
  const memory = new PhysicalMemory(2 ** 32);
  const frames = new FrameAllocator(memory, 2 ** 19, 2 ** 19);
  const writes = new Forgetful(memory);
  const watcher = {
    topChanged: () => undefined,
    tablesReplaced: () => undefined,
    rangeUnmapped: () => undefined,
    alreadyMapped: () => undefined,
  };
  const Table = code === 'legacy' ? LegacyPageTable : GenericPageTable;
  const table: PageTable = new Table(memory, frames, VTD_SECOND_STAGE, LEVELS, new Counters(), watcher, writes);
  if (table instanceof GenericPageTable) table.unmapCleaning = code === 'arm' ? 'cleared' : 'passed';
  const walker = new Walker(memory, VTD_SECOND_STAGE);
  /** What the hardware finds in memory: the page, or -1. */
  const walk = (page: number): number =>
    walker.walkFromRoot(0, page, false, table.rootPage, LEVELS) ? walker.physPage(page) : -1;
  const dropTables = (): void => {
    table.releaseTables(table.detachedTables);
    table.detachedTables = [];
  };
  return { table, writes, walker, walk, dropTables };
}

const page = fc.oneof(fc.nat(40), fc.integer({ min: MEGA - 9, max: MEGA + 9 }), fc.constantFrom(0, MEGA, 2 * MEGA));
const pages = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(MEGA, MEGA + 1, 2 * MEGA));
const step = fc.record({ map: fc.boolean(), at: page, count: pages, phys: page });
/** Pages at which a difference shows: each of the small ones, and some of the large leaves. */
const LOOKED_AT = [
  ...Array.from({ length: MEGA + 40 }, (_, at) => at),
  MEGA + 300,
  2 * MEGA,
  2 * MEGA + 7,
  3 * MEGA + 9,
];

describe('tables behind caches that walkers do not look into', () => {
  it.each(CODES)('are seen by them as the kernel sees them, since it cleans all that it writes: %s', (code) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const { table, walk, dropTables } = build(code);
        for (const { map, at, count, phys } of steps) {
          if (map) table.map(at, phys, count, READ_WRITE);
          else table.unmap(at, count);
          dropTables();
        }
        for (const looked of LOOKED_AT) expect(walk(looked)).toBe(table.lookup(looked));
      }),
      { seed: 31, numRuns: 60 },
    );
  });

  it.each(CODES)('are seen as they were where the kernel forgets to clean: %s', (code) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), step, (steps, forgotten) => {
        const { table, writes, walk, dropTables } = build(code);
        const carryOut = ({ map, at, count, phys }: typeof forgotten): void => {
          if (map) table.map(at, phys, count, READ_WRITE);
          else table.unmap(at, count);
        };
        for (const each of steps) {
          carryOut(each);
          dropTables();
        }
        const before = LOOKED_AT.map((looked) => table.lookup(looked));
        writes.forgets = true;
        carryOut(forgotten);
        expect(LOOKED_AT.map(walk)).toEqual(before);
      }),
      { seed: 32, numRuns: 60 },
    );
  });

  it('lead a device to what was unmapped, or to nothing where something was mapped, until their lines are cleaned', () => {
    const { table, writes, walk } = build('generic');
    table.map(3, 100, 1, READ_WRITE);
    writes.forgets = true;
    table.unmap(3, 1);
    table.map(4, 101, 1, READ_WRITE);
    expect([table.lookup(3), walk(3)]).toEqual([-1, 100]);
    expect([table.lookup(4), walk(4)]).toEqual([101, -1]);
    // one cleaned line carries all eight entries
    writes.forgets = false;
    table.map(5, 102, 1, READ_WRITE);
    expect([3, 4, 5].map(walk)).toEqual([-1, 101, 102]);
  });

  it('hold what the last owner of a page left where the zeros of a new table are not cleaned', () => {
    const { table, writes, walker, walk } = build('generic');
    writes.forgets = true;
    table.map(0, 100, 1, READ_WRITE);
    writes.forgets = false;
    // the way down to it is in memory by now, and one line of the lowest table
    for (let level = 1, at = table.rootPage; level <= LEVELS; level += 1) {
      writes.entriesWritten(at, 0, 1);
      at = VTD_SECOND_STAGE.target(writes.view.readWord(at, 0), writes.view.readWord(at, 1), LEVELS - level);
    }
    expect(walk(0)).toBe(100);
    expect([walk(7), walker.fault]).toEqual([-1, FAULT_READ_NOT_ALLOWED]);
    // all ones are no entry: bit 62 is reserved (VT-d specification 9.8)
    expect([walk(8), walker.fault]).toEqual([-1, FAULT_RESERVED_BITS]);
  });
});

describe('the cache lines that the kernel cleans', () => {
  const lines = (code: Code, run: (table: PageTable) => void): number => {
    const { table } = build(code);
    table.map(MEGA, 9, 1, READ_WRITE);
    table.map(0, 5, 1, READ_WRITE);
    run(table);
    return table.linesCleaned;
  };

  it.each(CODES)(
    'are those of each new table and of the entry that leads to it, and of each line of leaves: %s',
    (code) => {
      expect(lines(code, () => undefined)).toBe(LINES_OF_TABLE + 1 + 1);
      expect(lines(code, (table) => table.map(1, 6, 1, READ_WRITE))).toBe(1);
      expect(lines(code, (table) => table.map(8, 6, 8, READ_WRITE))).toBe(1);
      expect(lines(code, (table) => table.map(7, 6, 8, READ_WRITE))).toBe(2);
      expect(lines(code, (table) => table.map(4 * MEGA, 4 * MEGA, 3 * MEGA, READ_WRITE))).toBe(1);
    },
  );

  it.each([
    ['generic', 4],
    ['arm', 1],
    ['legacy', 1],
  ] as const)('of an unmap are those that its code goes through, or clears: %s', (code, unmapped) => {
    expect(lines(code, (table) => table.unmap(0, 1))).toBe(unmapped);
    expect(
      lines(code, (table) => {
        table.map(16, 32, 17, READ_WRITE);
        table.unmap(16, 17);
      }),
    ).toBe(unmapped + 2);
  });

  it('are none where walkers look into caches', () => {
    const memory = new PhysicalMemory(2 ** 32);
    const frames = new FrameAllocator(memory, 2 ** 19, 2 ** 19);
    const watcher = {
      topChanged: () => undefined,
      tablesReplaced: () => undefined,
      rangeUnmapped: () => undefined,
      alreadyMapped: () => undefined,
    };
    const table = new GenericPageTable(memory, frames, VTD_SECOND_STAGE, LEVELS, new Counters(), watcher);
    table.map(0, 5, 600, READ_WRITE);
    table.unmap(0, 600);
    expect(table.linesCleaned).toBe(0);
  });
});
