/**
 * An IOVA space made ready to be looked at: the region that the map shows, what stands in each column of it, and the words of
 * each range. Linear and without gaps left out: what looks near is near.
 */
import type { IovaRange, IovaSnapshot, IovaState } from '../../engine/lab/momentNames.ts';
import { formatQuantity, formatTime } from '../../engine/lab/quantity.ts';
import { strings } from '../strings.ts';

export const PAGE_BYTES = 4096;
const SMALLEST_REGION = 16;
const words = strings.iova;

/** Pages of the space, the last one not included. */
export interface Region {
  readonly from: number;
  readonly to: number;
}

/** From the lowest to the highest range that is not reserved, with a little room; the whole space when there is none. */
export function takenRegion({ ranges, spacePages }: IovaSnapshot): Region {
  const taken = ranges.filter(({ state }) => state !== 'reserved');
  const first = taken[0];
  const last = taken.at(-1);
  if (first === undefined || last === undefined) return { from: 0, to: spacePages };
  const end = last.firstPage + last.pages;
  const room = Math.ceil((end - first.firstPage) / 40);
  return within({ from: first.firstPage - room, to: end + room }, spacePages);
}

/** `factor` below 1 zooms in; `at`: the point that stays where it is, as a share of the region. */
export function zoomed({ from, to }: Region, factor: number, at: number, spacePages: number): Region {
  const length = Math.min(spacePages, Math.max(SMALLEST_REGION, Math.round((to - from) * factor)));
  const start = Math.round(from + (to - from) * at - length * at);
  return within({ from: start, to: start + length }, spacePages);
}

/** Moved by a share of its length. */
export function moved({ from, to }: Region, share: number, spacePages: number): Region {
  const by = Math.round((to - from) * share);
  return within({ from: from + by, to: to + by }, spacePages);
}

function within({ from, to }: Region, spacePages: number): Region {
  const length = Math.min(to - from, spacePages);
  const start = Math.max(0, Math.min(from, spacePages - length));
  return { from: start, to: start + length };
}

export interface StripBar {
  readonly state: IovaState;
  /** Shares of the region's length. */
  readonly left: number;
  readonly width: number;
  /** Share of the bar's pages that are of its state. */
  readonly fill: number;
}

/** What lies in each of `columns` equal parts of the region; neighbours that are alike are one bar. */
export function stripBars(ranges: readonly IovaRange[], region: Region, columns: number): StripBar[] {
  const length = region.to - region.from;
  const perColumn = length / columns;
  const covered = new Map<IovaState, Float64Array>();
  for (const { firstPage, pages, state } of ranges) {
    const from = Math.max(firstPage, region.from);
    const to = Math.min(firstPage + pages, region.to);
    if (from >= to) continue;
    const counts = covered.get(state) ?? new Float64Array(columns);
    covered.set(state, counts);
    const lastColumn = Math.min(columns - 1, Math.ceil((to - region.from) / perColumn) - 1);
    for (let column = Math.floor((from - region.from) / perColumn); column <= lastColumn; column += 1) {
      const start = region.from + column * perColumn;
      counts[column] = (counts[column] ?? 0) + Math.max(0, Math.min(to, start + perColumn) - Math.max(from, start));
    }
  }
  return [...covered].flatMap(([state, counts]) => {
    const bars: StripBar[] = [];
    for (let column = 0; column < columns; column += 1) {
      const fill = Math.min(1, (counts[column] ?? 0) / perColumn);
      if (fill === 0) continue;
      const left = column / columns;
      const last = bars.at(-1);
      if (last?.fill === fill && Math.abs(last.left + last.width - left) < 1e-9) {
        bars[bars.length - 1] = { ...last, width: last.width + 1 / columns };
      } else bars.push({ state, left, width: 1 / columns, fill });
    }
    return bars;
  });
}

const PAGES_BELOW_4G = 2 ** 20;

export interface FreeSpace {
  readonly pages: number;
  readonly largestGap: number;
  /** Where addresses are looked for first. */
  readonly largestGapBelow4G: number;
}

/** What no range has. Page 0 is never handed out, and counts as free here, as it is in no range either. */
export function freeSpace({ ranges, spacePages }: IovaSnapshot): FreeSpace {
  let pages = 0;
  let largestGap = 0;
  let largestGapBelow4G = 0;
  let end = 0;
  const gap = (to: number): void => {
    const free = Math.max(0, to - end);
    pages += free;
    largestGap = Math.max(largestGap, free);
    largestGapBelow4G = Math.max(largestGapBelow4G, Math.min(to, PAGES_BELOW_4G) - end);
  };
  for (const range of ranges) {
    gap(range.firstPage);
    end = range.firstPage + range.pages;
  }
  gap(spacePages);
  return { pages, largestGap, largestGapBelow4G };
}

export function addressText(page: number): string {
  return `0x${(page * PAGE_BYTES).toString(16)}`;
}

export function regionText({ from, to }: Region): string {
  return words.region(addressText(from), addressText(to), formatQuantity((to - from) * PAGE_BYTES, 'bytes'));
}

/** Whose a range is, where it lies, and what is still to come; of a free one whose it was. */
export function ownerText({ state, call, bytes, pieces, direction, progress }: IovaRange): string {
  if (state === 'reserved') return words.nobody;
  if (call === null) return words.unknown;
  const parts = [`${call} ${formatQuantity(bytes, 'bytes')}`];
  if (direction !== null) parts.push(words.directions[direction]);
  if (pieces > 1) parts.push(`${pieces} ×`);
  const unfinished = progress === null ? '' : words.progress[progress];
  if (unfinished !== '') parts.push(unfinished);
  const owner = parts.join(', ');
  return state === 'live' ? owner : words.was(owner);
}

export function placeText({ state, cpu }: IovaRange): string {
  if (state === 'reserved') return '';
  if (state === 'queued') return words.queueOf(cpu);
  if (state === 'cached') return cpu < 0 ? words.depot : words.cacheOf(cpu);
  return cpu < 0 ? words.setup : words.cpu(cpu);
}

export function ageText({ state, since }: IovaRange, at: number): string {
  return state === 'reserved' ? '' : formatTime(Math.max(0, at - since));
}

/** The range that lies nearest to a page. */
export function nearestRange(ranges: readonly IovaRange[], page: number): number {
  let nearest = -1;
  let distance = Infinity;
  for (const [index, { firstPage, pages }] of ranges.entries()) {
    const away = page < firstPage ? firstPage - page : Math.max(0, page - (firstPage + pages - 1));
    if (away < distance) {
      distance = away;
      nearest = index;
    }
  }
  return nearest;
}
