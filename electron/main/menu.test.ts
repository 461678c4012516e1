import type { MenuItemConstructorOptions } from 'electron';
import { describe, expect, it } from 'vitest';
import { commands, findCommand, isCommandId, type Command } from '../ipc/commands.ts';
import { menuTemplate } from './menu.ts';

const content = {
  recent: [{ id: 'r1', name: 'R&D.iovalab', folder: '~/labs' }],
  examples: [{ id: 'first-run', title: 'Scattered pages', question: '' }],
  theme: 'dark',
  development: false,
} as const;

function open(development = false) {
  const calls: unknown[] = [];
  const template = menuTemplate({ ...content, development }, (id, argument) => calls.push([id, argument]));
  const items = template.flatMap((menu) => menu.submenu as MenuItemConstructorOptions[]);
  const find = (id: string) => items.find((item) => item.id === id)!;
  const click = (item: MenuItemConstructorOptions) => (item.click as unknown as () => void)();
  return { template, items, find, click, calls };
}

describe('the registry of commands', () => {
  const all: readonly Command[] = commands;

  it('has each id and each shortcut once', () => {
    const ids = all.map(({ id }) => id);
    const shortcuts = all.flatMap(({ shortcut }) => shortcut ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    expect(new Set(shortcuts).size).toBe(shortcuts.length);
  });

  it('can be reached: every command is in the palette or in a menu', () => {
    for (const command of all) if (command.hidden === true) expect(command.menu, command.id).toBeDefined();
  });

  it('knows its own ids only', () => {
    expect(isCommandId('file.open')).toBe(true);
    expect(isCommandId('__proto__')).toBe(false);
    expect(findCommand('file.open').title).toBe('Open Lab…');
  });
});

describe('the native menu', () => {
  it('shows every command that has a place, with its shortcut, and dispatches it', () => {
    const { find, click, calls } = open(true);
    for (const command of commands as readonly Command[]) {
      if (command.menu === undefined || command.submenu !== undefined || command.role !== undefined) continue;
      const item = find(command.id);
      expect(item.label).toBe(command.title);
      expect(item.accelerator).toBe(command.shortcut);
      click(item);
      expect(calls.at(-1)).toEqual([command.id, null]);
    }
  });

  it('draws a line between groups and none at the ends', () => {
    for (const menu of open().template) {
      const kinds = (menu.submenu as MenuItemConstructorOptions[]).map(({ type }) => type === 'separator');
      expect(kinds[0]).toBe(false);
      expect(kinds.at(-1)).toBe(false);
      expect(kinds.some((line, index) => line && kinds[index + 1] === true)).toBe(false);
    }
  });

  it('lists recent files and examples by id', () => {
    const { find, click, calls } = open();
    const [recent] = find('file.openRecent').submenu as MenuItemConstructorOptions[];
    expect(recent!.label).toBe('R&&D.iovalab  (~/labs)');
    click(recent!);
    click((find('file.openExample').submenu as MenuItemConstructorOptions[])[0]!);
    expect(calls).toEqual([
      ['file.openRecent', 'r1'],
      ['file.openExample', 'first-run'],
    ]);
  });

  it('marks the theme in use, and keeps developer tools from users', () => {
    const { find } = open();
    expect(find('view.themeDark').checked).toBe(true);
    expect(find('view.themeSystem').checked).toBe(false);
    expect(find('view.developerTools')).toBeUndefined();
    expect(open(true).find('view.developerTools')).toBeDefined();
  });
});
