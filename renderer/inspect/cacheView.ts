/**
 * A translation cache made ready to be looked at: a grid of sets and ways of at most 64 by 16 cells, each of which stands for
 * one entry or, in a large cache, for several neighbours; how warm each cell is, in steps by rank; and its words.
 */
import { addressOf } from '../../engine/lab/iovaText.ts';
import type { CacheLook } from '../../engine/lab/momentNames.ts';
import { formatQuantity, formatTime } from '../../engine/lab/quantity.ts';
import { cacheEntry, permissionText, sizeText, total, type HeldEntry } from '../../engine/lab/walkText.ts';
import { strings } from '../strings.ts';

export const MAX_COLUMNS = 64;
export const MAX_ROWS = 16;
const words = strings.translation;

export const MEASURES = ['held', 'uses', 'age', 'hits', 'evictions'] as const;
export type Measure = (typeof MEASURES)[number];

export interface CacheCell {
  readonly firstSet: number;
  readonly lastSet: number;
  readonly firstWay: number;
  readonly lastWay: number;
  /** Places, and how many of them hold something. */
  readonly places: number;
  readonly held: number;
  /** Of the measure; 0 where nothing is held. */
  readonly value: number;
}

export interface CacheGrid {
  /** What runs from left to right; the other from top to bottom. */
  readonly across: 'sets' | 'ways';
  readonly rows: readonly (readonly CacheCell[])[];
}

/** The values that share one shade, from the least to the greatest that is there. */
export interface HeatStep {
  readonly from: number;
  readonly to: number;
}

const MOST_STEPS = 5;
const TICKS = 8;

/** The measures that a cache can be coloured by: not every one counts its hits. */
export function measuresOf({ uses }: CacheLook): readonly Measure[] {
  return (uses[0] ?? 0) < 0 ? ['held', 'evictions'] : MEASURES;
}

export function heldCount({ pages }: CacheLook): number {
  return pages.reduce((sum, size) => sum + (size > 0 ? 1 : 0), 0);
}

export function cacheGrid(cache: CacheLook, measure: Measure, at: number): CacheGrid {
  const { sets, ways } = cache;
  const across = sets >= ways ? 'sets' : 'ways';
  const [columns, lines] = across === 'sets' ? [sets, ways] : [ways, sets];
  const perColumn = Math.max(1, Math.ceil(columns / MAX_COLUMNS));
  const perRow = Math.max(1, Math.ceil(lines / MAX_ROWS));
  const rows: CacheCell[][] = [];
  for (let line = 0; line < lines; line += perRow) {
    const row: CacheCell[] = [];
    for (let column = 0; column < columns; column += perColumn) {
      const lastColumn = Math.min(columns, column + perColumn) - 1;
      const lastLine = Math.min(lines, line + perRow) - 1;
      row.push(
        across === 'sets'
          ? cellOf(cache, measure, at, column, lastColumn, line, lastLine)
          : cellOf(cache, measure, at, line, lastLine, column, lastColumn),
      );
    }
    rows.push(row);
  }
  return { across, rows };
}

/**
 * Steps by rank, each with about as many cells: ages and uses lie orders of magnitude apart, and a linear scale would give all
 * but a few cells one shade. A handful of different values get a step each.
 */
export function heatSteps({ rows }: CacheGrid): HeatStep[] {
  const values = rows
    .flat()
    .filter(isWarm)
    .map(({ value }) => value)
    .toSorted((left, right) => left - right);
  const distinct = [...new Set(values)];
  if (distinct.length <= MOST_STEPS) return distinct.map((value) => ({ from: value, to: value }));
  const steps: HeatStep[] = [];
  for (let step = 1; step <= MOST_STEPS; step += 1) {
    const to = values[Math.ceil((values.length * step) / MOST_STEPS) - 1] ?? 0;
    const before = steps.at(-1)?.to ?? Number.NEGATIVE_INFINITY;
    const from = distinct.find((value) => value > before);
    if (from !== undefined && to > before) steps.push({ from, to });
  }
  return steps;
}

/** From 0, for a cell with nothing to show, to 1 in the last step. */
export function warmth(cell: CacheCell, steps: readonly HeatStep[]): number {
  if (!isWarm(cell)) return 0;
  const step = steps.findIndex(({ to }) => cell.value <= to);
  return step < 0 ? 1 : (step + 1) / steps.length;
}

function isWarm({ held, value }: CacheCell): boolean {
  return held > 0 || value > 0;
}

/** The numbers along an axis of the grid: at most a few, evenly apart. */
export function axisTicks(firsts: readonly number[]): { readonly index: number; readonly text: string }[] {
  const every = Math.max(1, Math.ceil(firsts.length / TICKS));
  return firsts.flatMap((first, index) => (index % every === 0 ? [{ index, text: String(first) }] : []));
}

export function stepText(measure: Measure, { from, to }: HeatStep): string {
  const [least, most] = [measureText(measure, from), measureText(measure, to)];
  return least === most ? least : `${least} – ${most}`;
}

function cellOf(
  cache: CacheLook,
  measure: Measure,
  at: number,
  firstSet: number,
  lastSet: number,
  firstWay: number,
  lastWay: number,
): CacheCell {
  let held = 0;
  let sum = 0;
  for (let set = firstSet; set <= lastSet; set += 1) {
    if (measure === 'hits') sum += cache.hits[set] ?? 0;
    if (measure === 'evictions') sum += cache.evictions[set] ?? 0;
    for (let way = firstWay; way <= lastWay; way += 1) {
      const entry = set * cache.ways + way;
      if ((cache.pages[entry] ?? 0) === 0) continue;
      held += 1;
      if (measure === 'uses') sum += cache.uses[entry] ?? 0;
      if (measure === 'age') sum += Math.max(0, at - (cache.filledAt[entry] ?? at));
    }
  }
  const places = (lastSet - firstSet + 1) * (lastWay - firstWay + 1);
  return { firstSet, lastSet, firstWay, lastWay, places, held, value: measured(measure, sum, held, places) };
}

/** Uses and ages are means of what is held, hits and evictions sums of the sets. */
function measured(measure: Measure, sum: number, held: number, places: number): number {
  if (measure === 'held') return held / places;
  return measure === 'uses' || measure === 'age' ? sum / Math.max(1, held) : sum;
}

function measureText(measure: Measure, value: number): string {
  if (measure === 'held') return `${formatQuantity(Math.round(value * 100), 'count')}\u202f%`;
  return measure === 'age' ? formatTime(value) : formatQuantity(Math.round(value * 10) / 10, 'count');
}

/** All that a cell has to say, for those who point at it and those who hear it. */
export function cellText(cache: CacheLook, cell: CacheCell, measure: Measure, at: number): string {
  const { firstSet, lastSet, firstWay, lastWay, places, held, value } = cell;
  const place = `${words.span('set', firstSet, lastSet)}, ${words.span('way', firstWay, lastWay)}`;
  const bySet = measure === 'hits' || measure === 'evictions';
  const heat = bySet
    ? `; ${words.setHeat(words.measures[measure], measureText(measure, value), lastSet > firstSet)}`
    : '';
  if (places > 1) return `${place}: ${words.heldOf(held, places)}${heat}`;
  const entry = cacheEntry(cache, firstSet * cache.ways + firstWay);
  return `${place}: ${entry === null ? words.empty : entryText(entry, at)}${heat}`;
}

function entryText(entry: HeldEntry, at: number): string {
  const { domainId, space, firstPage, pages, targetPage, permissions } = entry;
  const tag = space < 0 ? words.domain(domainId) : `${words.domain(domainId)}, ${words.space(space)}`;
  const parts = [
    tag,
    `${addressOf(firstPage)} → ${addressOf(targetPage)}`,
    sizeText(pages),
    permissionText(permissions),
  ];
  return [
    ...parts,
    ...(entry.uses < 0 ? [] : [words.uses(entry.uses)]),
    ...(ageOf(entry, at) === '' ? [] : [words.aged(ageOf(entry, at))]),
  ].join(', ');
}

/** '' where the cache does not keep when it was filled. */
export function ageOf({ filledAt }: HeldEntry, at: number): string {
  return filledAt < 0 ? '' : formatTime(Math.max(0, at - filledAt));
}

/** The entries of a cell, of the whole cache when there is none. */
export function entriesIn(cache: CacheLook, cell: CacheCell | null): HeldEntry[] {
  const entries: HeldEntry[] = [];
  const { firstSet, lastSet, firstWay, lastWay } = cell ?? {
    firstSet: 0,
    lastSet: cache.sets - 1,
    firstWay: 0,
    lastWay: cache.ways - 1,
  };
  for (let set = firstSet; set <= lastSet; set += 1) {
    for (let way = firstWay; way <= lastWay; way += 1) {
      const entry = cacheEntry(cache, set * cache.ways + way);
      if (entry !== null) entries.push(entry);
    }
  }
  return entries;
}

export function sumText(cache: CacheLook): string {
  const held = heldCount(cache);
  const hits = (cache.uses[0] ?? 0) < 0 ? null : total(cache.hits);
  return words.sum(cache.sets, cache.ways, held, hits, total(cache.evictions));
}
