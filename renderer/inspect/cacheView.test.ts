import { describe, expect, it } from 'vitest';
import type { CacheLook } from '../../engine/lab/momentNames.ts';
import { sampleCache } from '../testing/sampleLab.ts';
import {
  axisTicks,
  cacheGrid,
  cellText,
  entriesIn,
  heatSteps,
  heldCount,
  MAX_COLUMNS,
  MAX_ROWS,
  MEASURES,
  measuresOf,
  stepText,
  sumText,
  warmth,
} from './cacheView.ts';

const AT = 5_000_000;

/** Entries at every third place, each used as often as its number. */
function cache(sets: number, ways: number): CacheLook {
  const size = sets * ways;
  const column = (value: (entry: number) => number): Float64Array =>
    Float64Array.from({ length: size }, (_, at) => value(at));
  return {
    title: 'large',
    sets,
    ways,
    hits: new Float64Array(sets).fill(2),
    evictions: new Float64Array(sets).fill(1),
    pages: column((entry) => (entry % 3 === 0 ? 1 : 0)),
    firstPages: column((entry) => entry),
    domains: new Int32Array(size).fill(1),
    spaces: new Int32Array(size).fill(-1),
    targets: column((entry) => entry),
    permissions: new Uint8Array(size).fill(3),
    filledAt: column((entry) => entry),
    uses: column((entry) => entry),
  };
}

const words = (text: string): string => text.replaceAll('\u202f', ' ');

describe('the grid of a cache', () => {
  it('has a cell for each place of a small one, sets across and ways down', () => {
    const { across, rows } = cacheGrid(sampleCache, 'uses', AT);
    expect(across).toBe('sets');
    expect(rows.map((row) => row.map(({ value }) => value))).toEqual([
      [6, 0],
      [0, 4],
    ]);
  });

  it.each([
    [4096, 16],
    [1, 4096],
    [65_536, 1],
    [3, 5],
    [1024, 64],
    [100, 7],
  ])('counts every place of %i sets of %i ways once, in cells that can be seen', (sets, ways) => {
    const look = cache(sets, ways);
    for (const measure of MEASURES) {
      const { rows, across } = cacheGrid(look, measure, AT);
      expect(across).toBe(sets >= ways ? 'sets' : 'ways');
      expect(rows.length).toBeLessThanOrEqual(MAX_ROWS);
      for (const row of rows) expect(row.length).toBeLessThanOrEqual(MAX_COLUMNS);
      const cells = rows.flat();
      expect(cells.reduce((sum, { places }) => sum + places, 0)).toBe(sets * ways);
      expect(cells.reduce((sum, { held }) => sum + held, 0)).toBe(heldCount(look));
    }
    const cells = cacheGrid(look, 'held', AT).rows.flat();
    expect(cells.flatMap((cell) => entriesIn(look, cell)).length).toBe(entriesIn(look, null).length);
  });

  it('says of one entry all that there is, and of several how many', () => {
    const [[first, empty] = []] = cacheGrid(sampleCache, 'age', AT).rows;
    expect(words(cellText(sampleCache, first!, 'age', AT))).toBe(
      'set 0, way 0: domain 3, 0xffff8000 → 0x40000, 4 KiB, reads and writes, 6 uses, 4 µs old',
    );
    expect(cellText(sampleCache, empty!, 'age', AT)).toBe('set 1, way 0: empty');
    const several = cacheGrid(cache(128, 4), 'evictions', AT).rows[0]![0]!;
    expect(cellText(cache(128, 4), several, 'evictions', AT)).toBe(
      'sets 0 to 1, way 0: 1 of 2 held; evictions of the sets: 2',
    );
  });

  it('shades by rank: five steps of as many cells, however far apart the values lie', () => {
    const ages = [0, 1, 2, 3, 4, 5, 6, 7, 8, 4_999_999].map((age) => AT - age);
    const skewed = { ...cache(10, 1), pages: new Float64Array(10).fill(1), filledAt: Float64Array.from(ages) };
    const grid = cacheGrid(skewed, 'age', AT);
    const steps = heatSteps(grid);
    expect(steps).toEqual([
      { from: 0, to: 1 },
      { from: 2, to: 3 },
      { from: 4, to: 5 },
      { from: 6, to: 7 },
      { from: 8, to: 4_999_999 },
    ]);
    expect(grid.rows[0]!.map((cell) => warmth(cell, steps))).toEqual([0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 1, 1]);
    expect(words(stepText('age', steps[4]!))).toBe('8 ps – 5 µs');
  });

  it('gives few different values a step each, and places that hold nothing none', () => {
    const grid = cacheGrid(sampleCache, 'uses', AT);
    const steps = heatSteps(grid);
    expect(steps.map((step) => stepText('uses', step))).toEqual(['4', '6']);
    expect(grid.rows.map((row) => row.map((cell) => warmth(cell, steps)))).toEqual([
      [1, 0],
      [0, 0.5],
    ]);
    const empty = { ...sampleCache, pages: new Float64Array(4) };
    expect(heatSteps(cacheGrid(empty, 'held', AT))).toEqual([]);
  });

  it.each([1, 7, 32, 64])('numbers an axis of %i at places that are evenly apart', (length) => {
    const ticks = axisTicks(Array.from({ length }, (_, index) => 3 * index));
    expect(ticks.length).toBeLessThanOrEqual(8);
    expect(ticks[0]).toEqual({ index: 0, text: '0' });
    for (const { index, text } of ticks) expect(text).toBe(String(3 * index));
    for (const [at, { index }] of ticks.entries()) expect(index).toBe(at * (ticks[1]?.index ?? 0));
  });

  it('has no measure that the cache does not keep', () => {
    const uncounted = { ...sampleCache, uses: new Float64Array(4).fill(-1), filledAt: new Float64Array(4).fill(-1) };
    expect(measuresOf(uncounted)).toEqual(['held', 'evictions']);
    expect(sumText(uncounted)).toBe('2 sets of 2 ways, 2 held, 1 evicted');
    expect(sumText(sampleCache)).toBe('2 sets of 2 ways, 2 held, 13 lookups found, 1 evicted');
    const cell = cacheGrid(uncounted, 'held', AT).rows[0]![0]!;
    expect(cellText(uncounted, cell, 'held', AT)).not.toMatch(/old|use/);
  });
});
