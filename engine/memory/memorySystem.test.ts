/**
 * Where data and tables are found, and what that takes: sockets, caches, DDIO on and off (Intel Data Direct I/O technology brief;
 * pcie-bench, SIGCOMM'18, 6.4), against a model that keeps a set of lines for each socket.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Counters } from '../metrics/counters.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import { LastLevelCache } from './lastLevelCache.ts';
import { MemorySystem, type MemoryCosts } from './memorySystem.ts';

const LINE = 64;
const PAGE = 4096;
const PAGES = 4;
const COSTS: MemoryCosts = {
  tableRead: nanoseconds(75),
  dramTableRead: nanoseconds(130),
  memoryRead: nanoseconds(65),
  cachedRead: nanoseconds(5),
  remoteSocket: nanoseconds(106),
  socketLinkPerLine: picoseconds(0),
};

/** `deviceWays`: of each socket's cache, in which everything has room; null: no cache. */
function build(deviceWays: readonly (number | null)[], costs = COSTS) {
  const counters = new Counters();
  const nodes = deviceWays.map((ways) => ({
    pages: PAGES,
    cache: ways === null ? null : new LastLevelCache({ bytes: 1024 * LINE, ways: 1024, deviceWays: ways }),
  }));
  const system = new MemorySystem(nodes, costs, counters);
  return { system, counters, views: nodes.map((_, node) => system.seenFrom(node)) };
}

describe('memory of several sockets', () => {
  it('answers as a set of lines for each socket says, after any accesses of CPUs, devices and walkers', () => {
    const socket = fc.nat(2);
    const step = fc.record({
      kind: fc.constantFrom('cpuWrite', 'read', 'write', 'walk'),
      socket,
      page: fc.nat(3 * PAGES - 1),
      line: fc.nat(5),
      lines: fc.integer({ min: 1, max: 3 }),
    });
    const modelled = fc.array(fc.constantFrom(null, 0, 1024), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(modelled, fc.array(step, { maxLength: 120 }), (deviceWays, steps) => {
        const { system, views } = build(deviceWays);
        const held = deviceWays.map(() => new Set<number>());
        const home = (page: number): number => Math.floor(page / PAGES);
        const found = (at: number, lines: readonly number[]): boolean =>
          deviceWays[at] !== null && lines.every((line) => held[at]!.has(line));
        for (const { kind, socket: from, page, line, lines: count } of steps) {
          const lines = Array.from({ length: kind === 'walk' ? 1 : count }, (_, index) => page * 64 + line + index);
          const node = home(page);
          const away = node === from ? 0 : COSTS.remoteSocket;
          if (kind === 'cpuWrite' || kind === 'write') {
            for (const each of lines) {
              for (const [other, set] of held.entries()) if (other !== from) set.delete(each);
              if (kind === 'cpuWrite' || (deviceWays[from] ?? 0) > 0) held[from]!.add(each);
              else held[from]!.delete(each);
            }
          }
          const near = found(from, lines);
          const far = node !== from && found(node, lines);
          if (kind === 'cpuWrite') system.cpuWrite(from, page * PAGE + line * LINE, count * LINE);
          else if (kind === 'write') {
            const direct = (deviceWays[from] ?? 0) > 0;
            const visible = views[from]!.dataWrite(page, line * LINE, count * LINE, 1000);
            expect(visible).toBe(1000 + (direct ? 0 : away / 2));
          } else if (kind === 'read') {
            const take = near ? COSTS.cachedRead : away + (far ? COSTS.cachedRead : COSTS.memoryRead);
            expect(views[from]!.dataRead(page, line * LINE, count * LINE, 1000)).toBe(1000 + take);
          } else {
            const cached = near || far || deviceWays[node] === null;
            const take = (near ? 0 : away) + (cached ? COSTS.tableRead : COSTS.dramTableRead);
            expect(views[from]!.tablePlace(page, line * 16 + 6)).toEqual({
              dram: !cached,
              remote: !near && node !== from,
            });
            expect(views[from]!.tableRead(page, line * 16 + 6, 1000)).toBe(1000 + take);
          }
        }
      }),
      { seed: 3, numRuns: 400 },
    );
  });

  it('lets a walker that does not snoop read DRAM, whatever the caches hold', () => {
    const { system, counters } = build([1024, 1024]);
    system.cpuWrite(0, 0, PAGE);
    const walker = system.seenFrom(0, false);
    expect(walker.tableRead(0, 8, 0)).toBe(COSTS.dramTableRead);
    expect(system.seenFrom(0).tableRead(0, 8, 0)).toBe(COSTS.tableRead);
    expect(counters.get('dramTableReads')).toBe(1);
  });

  it('lets the interconnect be the limit of what reads of far memory pass it', () => {
    const perLine = nanoseconds(4);
    const { views, counters } = build([null, null], { ...COSTS, socketLinkPerLine: perLine });
    let near = 0;
    let far = 0;
    for (let read = 0; read < 10_000; read += 1) {
      near = Math.max(near, views[0]!.dataRead(0, 0, 256, 0));
      far = Math.max(far, views[0]!.dataRead(PAGES, 0, 256, 0));
    }
    expect(near).toBe(COSTS.memoryRead);
    expect(far).toBe(10_000 * 4 * perLine + COSTS.remoteSocket + COSTS.memoryRead);
    expect(counters.get('socketLinkLines')).toBe(40_000);
    // the other direction is free
    expect(views[1]!.dataRead(0, 0, 64, 0)).toBe(perLine + COSTS.remoteSocket + COSTS.memoryRead);
  });

  it('keeps only so much of what devices write as they have ways, and nothing with DDIO off', () => {
    const hits = (deviceWays: number): number => {
      const cache = new LastLevelCache({ bytes: 256 * LINE, ways: 16, deviceWays });
      const view = new MemorySystem([{ pages: 64, cache }], COSTS, new Counters()).seenFrom(0);
      for (let line = 0; line < 256; line += 1) view.dataWrite(Math.floor(line / 64), (line % 64) * LINE, LINE, 0);
      let found = 0;
      for (let line = 0; line < 256; line += 1) {
        if (view.dataRead(Math.floor(line / 64), (line % 64) * LINE, LINE, 0) === COSTS.cachedRead) found += 1;
      }
      return found;
    };
    expect([0, 2, 16].map(hits)).toEqual([0, 32, 256]);
  });
});
