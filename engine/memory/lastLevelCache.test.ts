import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LastLevelCache } from './lastLevelCache.ts';

const LINE = 64;

/** Sets of lines in order of use, newest last; a line remembers its way, so that devices fill only theirs. */
class NaiveCache {
  readonly sets: { line: number; way: number }[][];
  private readonly ways: number;
  private readonly deviceWays: number;

  constructor(sets: number, ways: number, deviceWays: number) {
    this.sets = Array.from({ length: sets }, () => []);
    this.ways = ways;
    this.deviceWays = deviceWays;
  }

  access(line: number, fillWays: number): boolean {
    const set = this.sets[line % this.sets.length]!;
    const at = set.findIndex((entry) => entry.line === line);
    if (at >= 0) {
      set.push(...set.splice(at, 1));
      return true;
    }
    if (fillWays === 0) return false;
    const free = Array.from({ length: fillWays }, (_, way) => way).find((way) => set.every((e) => e.way !== way));
    if (free !== undefined) set.push({ line, way: free });
    else {
      const oldest = set.findIndex((entry) => entry.way < fillWays);
      const [{ way }] = set.splice(oldest, 1) as [{ line: number; way: number }];
      set.push({ line, way });
    }
    return false;
  }

  write(line: number): void {
    if (this.deviceWays > 0) this.access(line, this.deviceWays);
    else {
      const set = this.sets[line % this.sets.length]!;
      const at = set.findIndex((entry) => entry.line === line);
      if (at >= 0) set.splice(at, 1);
    }
  }
  cpu(line: number): boolean {
    return this.access(line, this.ways);
  }
}

describe('last-level cache (Intel DDIO technology brief)', () => {
  it('holds what a naive cache holds, after any accesses of CPUs and devices', () => {
    const step = fc.tuple(fc.constantFrom('cpu', 'read', 'write'), fc.nat(40));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 0, max: 2 }), (steps, deviceWays) => {
        const cache = new LastLevelCache({ bytes: 5 * 4 * LINE, ways: 4, deviceWays });
        const naive = new NaiveCache(5, 4, deviceWays);
        for (const [kind, line] of steps) {
          if (kind === 'cpu') expect(cache.cpuAccess(line * LINE + 3)).toBe(naive.cpu(line));
          else if (kind === 'read') expect(cache.deviceRead(line * LINE, LINE)).toBe(naive.access(line, 0));
          else {
            cache.deviceWrite(line * LINE, LINE);
            naive.write(line);
          }
        }
      }),
      { seed: 4, numRuns: 300 },
    );
  });

  it('gives a window that is larger than itself the share of hits that fits', () => {
    const cache = new LastLevelCache({ bytes: 1 << 20, ways: 16, deviceWays: 2 });
    const window = 4 << 20;
    for (let phys = 0; phys < window; phys += LINE) cache.cpuAccess(phys);
    let hits = 0;
    for (let phys = 0; phys < window; phys += LINE) if (cache.deviceRead(phys, LINE)) hits += 1;
    expect(hits / (window / LINE)).toBeCloseTo(0.25, 3);
  });

  it('finds a range only when all of its lines are here', () => {
    const cache = new LastLevelCache({ bytes: 1 << 16, ways: 4, deviceWays: 2 });
    cache.cpuAccess(0);
    expect(cache.deviceRead(10, 20)).toBe(true);
    expect(cache.deviceRead(10, 64)).toBe(false);
    cache.deviceWrite(64, 64);
    expect(cache.deviceRead(10, 64)).toBe(true);
  });
});
