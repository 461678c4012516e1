import { mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';
import type { WalkedEntry, WalkSnapshot } from '../../engine/lab/momentNames.ts';
import NestedWalk from './NestedWalk.vue';
import { nestedGrid } from './nestedGrid.ts';

const PAGE = -1;

function entryOf(stage: 1 | 2, row: number, level: number, more: Partial<WalkedEntry> = {}): WalkedEntry {
  return {
    stage,
    row,
    rowNumber: row === PAGE ? null : row + 1,
    again: false,
    guestPage: 0x100 + row,
    level,
    number: level + 1,
    tablePage: 9,
    index: 10 * (row + 1) + level,
    address: '0x9000',
    kind: level === 0 ? 'leaf' : 'table',
    bits: '0x0000000000040003',
    fields: [{ high: 63, low: 0, name: 'ADDR', value: 0x40, meaning: `stage ${stage}, row ${row}, level ${level}` }],
    targetPage: 0x40,
    pages: level === 0 ? 1 : 0,
    permissions: 3,
    read: true,
    ...more,
  };
}

/** Two levels of the first stage over three of the second, as it is read; the upper row's are known to caches. */
const entries = [1, 0, PAGE].flatMap((row) => [
  ...[2, 1, 0].map((level) => entryOf(2, row, level, { read: row < 1 && level === 0 })),
  ...(row === PAGE ? [] : [entryOf(1, row, row, { read: row === 0 })]),
]);

const walk: WalkSnapshot = {
  at: 0,
  iova: '0x1000',
  write: false,
  format: 'vtd-first-stage',
  secondFormat: 'vtd-second-stage',
  domainId: 3,
  space: -1,
  caches: [],
  entries,
  steps: [],
  ps: 0,
  outcome: { kind: 'translated', address: '0x40000', pages: 1, permissions: 3, stale: false },
};

describe('the grid of a walk through two stages', () => {
  it('has a row for each table of the first stage and one for the page, and columns for the levels of the second', () => {
    const { columns, rows, reads, spared, again } = nestedGrid(entries);
    expect(columns.map(({ number }) => number)).toEqual([3, 2, 1]);
    expect(rows.map(({ number, guestPage }) => [number, guestPage])).toEqual([
      [2, 0x101],
      [1, 0x100],
      [null, 0xff],
    ]);
    expect(rows.every(({ second }) => second.every((entry) => entry !== null))).toBe(true);
    expect(rows.map(({ first }) => first?.level ?? null)).toEqual([1, 0, null]);
    expect([reads, spared, again]).toEqual([3, 8, 0]);
  });

  it('ends where the second stage refuses, and counts what is read once more', () => {
    const absent = entryOf(2, 0, 1, { kind: 'absent' });
    const cut = [...entries.slice(0, 5), absent, entryOf(2, 1, 0, { again: true })];
    const { rows, again } = nestedGrid(cut);
    expect(rows).toHaveLength(2);
    expect(rows[1]).toMatchObject({ number: 1, first: null, second: [{ level: 2 }, { kind: 'absent' }, null] });
    expect(again).toBe(1);
  });
});

describe('the view of it', () => {
  it('names every entry with stage, level, what it leads to and whether it is read, and shows the chosen one by its bits', async () => {
    const view = mount(NestedWalk, { props: { walk } });
    const buttons = view.findAll('button');
    expect(buttons).toHaveLength(entries.length);
    const names = buttons.map((button) => button.attributes('aria-label') ?? '');
    expect(new Set(names).size).toBe(entries.length);
    expect(names[0]).toBe('second stage, level 3, to the table at guest 0x101000: table at 0x40000, not read');
    expect(names[3]).toBe('first stage, level 2: table at guest 0x40000, not read');
    expect(names.at(-1)).toContain('second stage, level 1, to the page at guest 0xff000');
    const pressed = () => buttons.filter((button) => button.attributes('aria-pressed') === 'true');
    expect(pressed()).toHaveLength(1);
    expect(view.get('section').text()).toContain('stage 2, row -1, level 0');
    await buttons[3]!.trigger('click');
    expect(pressed()).toHaveLength(1);
    expect(view.get('section').text()).toContain('stage 1, row 1, level 1');
    expect(view.text()).toContain('3 entries read, 8 not read');
  });
});
