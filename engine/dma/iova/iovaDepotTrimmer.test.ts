import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, PICOSECONDS_PER_MILLISECOND } from '../../time/picoseconds.ts';
import { IovaDepotTrimmer } from './iovaDepotTrimmer.ts';
import { IovaDomain } from './iovaDomain.ts';
import { IOVA_MAG_SIZE } from './iovaRcache.ts';

const CPUS = 2;

function runUntil(timers: EventQueue, milliseconds: number): void {
  const end = milliseconds * PICOSECONDS_PER_MILLISECOND;
  for (let next = timers.nextTime; next !== null && next <= end; next = timers.nextTime) timers.step();
}

/** A domain whose depot holds so many full magazines of single pages, all given back at time 0. */
function filled(magazines: number): { readonly iova: IovaDomain; readonly timers: EventQueue } {
  const iova = new IovaDomain(CPUS);
  const timers = new EventQueue();
  const trimmer = new IovaDepotTrimmer(iova, timers, CPUS);
  const ranges = (magazines + 2) * IOVA_MAG_SIZE;
  const pfns = Array.from({ length: ranges }, () => iova.allocateFast(0, 1, 0xf_ffff, false));
  for (const pfn of pfns) {
    iova.freeFast(0, pfn, 1);
    trimmer.watch(picoseconds(0));
  }
  return { iova, timers };
}

describe('the worker that trims the depot (drivers/iommu/iova.c, iova_depot_work_func)', () => {
  test('gives back one magazine every 100 ms, and keeps one for each CPU', () => {
    const { iova, timers } = filled(4);
    const held = iova.rcache.size;
    const after = (milliseconds: number): number => {
      runUntil(timers, milliseconds);
      return (held - iova.rcache.size) / IOVA_MAG_SIZE;
    };
    expect([99, 101, 201, 301, 401, 10_000].map(after)).toEqual([0, 1, 2, 2, 2, 2]);
    expect(iova.tree.size).toBe(held - 2 * IOVA_MAG_SIZE);
  });

  test('leaves a depot alone that is no larger than the CPUs are many', () => {
    const { iova, timers } = filled(1);
    const held = iova.rcache.size;
    runUntil(timers, 1_000);
    expect(iova.rcache.size).toBe(held);
  });
});
