import { expect, it } from 'vitest';
import type { IovaRange, IovaSnapshot } from '../../engine/lab/momentNames.ts';
import {
  ageText,
  freeSpace,
  moved,
  nearestRange,
  ownerText,
  placeText,
  stripBars,
  takenRegion,
  zoomed,
} from './iovaView.ts';

const none = { ranges: 0, pages: 0 };

function range(firstPage: number, pages: number, state: IovaRange['state'] = 'live'): IovaRange {
  const owner = {
    call: 'dma_map_sg',
    bytes: pages * 4096,
    pieces: 2,
    direction: 'fromDevice',
    progress: 'mapped',
  } as const;
  return { firstPage, pages, state, ...owner, cpu: 1, since: 1_000_000 };
}

function snapshot(ranges: readonly IovaRange[]): IovaSnapshot {
  const totals = { live: none, queued: none, cached: none, reserved: none };
  return { at: 5_000_000, device: '0000:01:00.0', translated: true, spacePages: 2 ** 36, ranges, totals };
}

it('first shows all that is taken, and the whole space when nothing is', () => {
  const region = takenRegion(snapshot([range(10, 5, 'reserved'), range(1000, 10), range(1790, 10, 'cached')]));
  expect(region).toEqual({ from: 980, to: 1820 });
  expect(takenRegion(snapshot([range(10, 5, 'reserved')]))).toEqual({ from: 0, to: 2 ** 36 });
});

it('counts what is free, and the largest gaps', () => {
  const whole = 2 ** 36;
  expect(freeSpace(snapshot([]))).toEqual({ pages: whole, largestGap: whole, largestGapBelow4G: 2 ** 20 });
  const taken = [range(100, 10), range(2 ** 19, 2 ** 19 - 50, 'cached')];
  expect(freeSpace(snapshot(taken))).toEqual({
    pages: whole - 10 - (2 ** 19 - 50),
    largestGap: whole - 2 ** 20 + 50,
    largestGapBelow4G: 2 ** 19 - 110,
  });
});

it('zooms at a point, moves, and never leaves the space', () => {
  const region = { from: 1000, to: 2000 };
  expect(zoomed(region, 0.5, 0, 10_000)).toEqual({ from: 1000, to: 1500 });
  expect(zoomed(region, 0.5, 1, 10_000)).toEqual({ from: 1500, to: 2000 });
  expect(zoomed(region, 100, 0.5, 10_000)).toEqual({ from: 0, to: 10_000 });
  expect(zoomed(region, 0.0001, 0.5, 10_000)).toEqual({ from: 1492, to: 1508 });
  expect(moved(region, -2, 10_000)).toEqual({ from: 0, to: 1000 });
  expect(moved(region, 100, 10_000)).toEqual({ from: 9000, to: 10_000 });
});

it('draws each state by itself, and says how full each part is', () => {
  const bars = stripBars([range(0, 50), range(50, 25, 'cached')], { from: 0, to: 100 }, 4);
  expect(bars).toEqual([
    { state: 'live', left: 0, width: 0.5, fill: 1 },
    { state: 'cached', left: 0.5, width: 0.25, fill: 1 },
  ]);
  expect(stripBars([range(10, 1)], { from: 0, to: 100 }, 4)).toEqual([
    { state: 'live', left: 0, width: 0.25, fill: 0.04 },
  ]);
  expect(stripBars([range(200, 10)], { from: 0, to: 100 }, 4)).toEqual([]);
});

it('never loses a page of what it draws', () => {
  const ranges = Array.from({ length: 50 }, (_, index) => range(index * 37, 11));
  const region = { from: 100, to: 1700 };
  const drawn = stripBars(ranges, region, 123).reduce((sum, { width, fill }) => sum + width * fill, 0) * 1600;
  const pages = ranges.reduce(
    (sum, { firstPage }) => sum + Math.max(0, Math.min(firstPage + 11, 1700) - Math.max(firstPage, 100)),
    0,
  );
  expect(drawn).toBeCloseTo(pages, 6);
});

it('says whose a range is, or was, where it lies and since when', () => {
  expect(ownerText(range(1, 2))).toBe('dma_map_sg 8\u202fKiB, from the device, 2 ×');
  expect(ownerText({ ...range(1, 2, 'queued'), progress: null })).toMatch(/^was dma_map_sg/);
  expect(ownerText({ ...range(1, 2), progress: 'linked' })).toContain('not synced');
  expect([placeText(range(1, 2)), placeText(range(1, 2, 'queued')), placeText(range(1, 2, 'cached'))]).toEqual([
    'CPU 1',
    'queue of CPU 1',
    'cache of CPU 1',
  ]);
  expect(placeText({ ...range(1, 2, 'cached'), cpu: -1 })).toBe('depot');
  expect(ageText(range(1, 2), 5_000_000)).toBe('4\u202fµs');
  expect(ageText(range(1, 2, 'reserved'), 5_000_000)).toBe('');
});

it('finds the range nearest to a page', () => {
  const ranges = [range(10, 5), range(100, 5)];
  expect([nearestRange(ranges, 12), nearestRange(ranges, 40), nearestRange(ranges, 90)]).toEqual([0, 0, 1]);
  expect(nearestRange([], 5)).toBe(-1);
});
