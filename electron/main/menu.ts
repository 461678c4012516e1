/*
 * The native menu, made from the registry of commands: titles, shortcuts and places are written down there and nowhere else.
 */
import type { MenuItemConstructorOptions } from 'electron';
import type { ExampleLab, RecentFile, ThemeChoice } from '../ipc/api.ts';
import { commands, type Command, type CommandId, type MenuName } from '../ipc/commands.ts';

export interface MenuContent {
  readonly recent: readonly RecentFile[];
  readonly examples: readonly ExampleLab[];
  readonly theme: ThemeChoice;
  readonly development: boolean;
}

export type Dispatch = (id: CommandId, argument: string | null) => void;

const menuTitles: Readonly<Record<MenuName, string>> = {
  file: 'File',
  edit: 'Edit',
  run: 'Run',
  view: 'View',
  help: 'Help',
};

const themeCommands: Readonly<Record<ThemeChoice, CommandId>> = {
  system: 'view.themeSystem',
  dark: 'view.themeDark',
  light: 'view.themeLight',
};

export function menuTemplate(content: MenuContent, dispatch: Dispatch): MenuItemConstructorOptions[] {
  return (Object.keys(menuTitles) as MenuName[]).map((name) => ({
    id: name,
    label: menuTitles[name],
    submenu: menuItems(name, content, dispatch),
  }));
}

function menuItems(name: MenuName, content: MenuContent, dispatch: Dispatch): MenuItemConstructorOptions[] {
  const items: MenuItemConstructorOptions[] = [];
  let group: number | null = null;
  for (const command of commands as readonly (Command & { readonly id: CommandId })[]) {
    if (command.menu?.name !== name || (command.developmentOnly === true && !content.development)) continue;
    if (group !== null && group !== command.menu.group) items.push({ type: 'separator' });
    group = command.menu.group;
    items.push(menuItem(command, content, dispatch));
  }
  return items;
}

function menuItem(
  command: Command & { readonly id: CommandId },
  content: MenuContent,
  dispatch: Dispatch,
): MenuItemConstructorOptions {
  const { id, title, shortcut, submenu, radio, role } = command;
  if (submenu !== undefined) {
    const entries = submenu === 'recent' ? content.recent.map(recentEntry) : content.examples.map(exampleEntry);
    return {
      id,
      label: title,
      enabled: entries.length > 0,
      submenu: entries.map(({ argument, label }) => ({ label, click: () => dispatch(id, argument) })),
    };
  }
  if (role !== undefined) return { id, label: title, role };
  return {
    id,
    label: title,
    click: () => dispatch(id, null),
    ...(shortcut !== undefined && { accelerator: shortcut }),
    ...(radio !== undefined && { type: 'radio', checked: themeCommands[content.theme] === id }),
  };
}

/** An ampersand would underline the next letter. */
const plain = (text: string): string => text.replaceAll('&', '&&');

function recentEntry({ id, name, folder }: RecentFile): { argument: string; label: string } {
  return { argument: id, label: plain(`${name}  (${folder})`) };
}

function exampleEntry({ id, title }: ExampleLab): { argument: string; label: string } {
  return { argument: id, label: plain(title) };
}
