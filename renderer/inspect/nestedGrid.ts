/** The entries of a walk through two stages as a grid: what each row leads to, and the levels of the second stage as columns. */
import type { WalkedEntry } from '../../engine/lab/momentNames.ts';

export interface NestedRow {
  readonly row: number;
  /** Of the first stage's level, as the manual counts; null: the row leads to the page. */
  readonly number: number | null;
  /** What the second stage is asked for. */
  readonly guestPage: number;
  /** By column; null where the walk did not come so far, or a larger page ends it. */
  readonly second: readonly (WalkedEntry | null)[];
  /** Null: the second stage refuses, or the row leads to the page. */
  readonly first: WalkedEntry | null;
}

export interface NestedGrid {
  readonly columns: readonly { readonly level: number; readonly number: number }[];
  readonly rows: readonly NestedRow[];
  /** Of those in the grid. */
  readonly reads: number;
  readonly spared: number;
  /** Entries that are read once more beside those. */
  readonly again: number;
}

export function nestedGrid(entries: readonly WalkedEntry[]): NestedGrid {
  const once = entries.filter(({ again }) => !again);
  const numbers = new Map(once.filter(({ stage }) => stage === 2).map(({ level, number }) => [level, number]));
  const columns = [...numbers].map(([level, number]) => ({ level, number })).toSorted((a, b) => b.level - a.level);
  const rows = [...new Set(once.map(({ row }) => row))].map((row): NestedRow => {
    const own = once.filter((entry) => entry.row === row);
    const first = own.find(({ stage }) => stage === 1) ?? null;
    return {
      row,
      number: own[0]?.rowNumber ?? null,
      guestPage: own[0]?.guestPage ?? -1,
      second: columns.map(({ level }) => own.find((entry) => entry.stage === 2 && entry.level === level) ?? null),
      first,
    };
  });
  return {
    columns,
    rows,
    reads: once.filter(({ read }) => read).length,
    spared: once.filter(({ read }) => !read).length,
    again: entries.filter(({ again, read }) => again && read).length,
  };
}
