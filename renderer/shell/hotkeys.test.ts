import { describe, expect, it } from 'vitest';
import { commands, type Command } from '../../electron/ipc/commands.ts';
import { commandOf, keysOf } from './hotkeys.ts';

function press(key: string, ...held: ('ctrl' | 'shift' | 'alt' | 'meta')[]): Parameters<typeof commandOf>[0] {
  return {
    key,
    ctrlKey: held.includes('ctrl'),
    shiftKey: held.includes('shift'),
    altKey: held.includes('alt'),
    metaKey: held.includes('meta'),
  };
}

describe('shortcuts', () => {
  it('mean the command of the registry, with exactly its modifiers', () => {
    expect(commandOf(press('P', 'ctrl', 'shift'), false, false)).toBe('view.palette');
    expect(commandOf(press('p', 'ctrl'), false, false)).toBeNull();
    expect(commandOf(press('F5'), false, false)).toBe('run.start');
    expect(commandOf(press('F5', 'shift'), false, false)).toBe('run.cancel');
  });

  it('use the command key on a Mac', () => {
    expect(commandOf(press('s', 'meta'), false, true)).toBe('file.save');
    expect(commandOf(press('s', 'ctrl'), false, true)).toBeNull();
  });

  it('open the key help with a question mark, but not while someone types one', () => {
    expect(commandOf(press('?', 'shift'), false, false)).toBe('help.shortcuts');
    expect(commandOf(press('?', 'shift'), true, false)).toBeNull();
  });

  it('leave undo to a text field', () => {
    expect(commandOf(press('z', 'ctrl'), true, false)).toBeNull();
    expect(commandOf(press('z', 'ctrl'), false, false)).toBe('edit.undo');
  });

  it('are unique', () => {
    const used = (commands as readonly Command[]).flatMap(({ shortcut }) => shortcut ?? []);
    expect(new Set(used).size).toBe(used.length);
  });

  it('are printed as on the keyboard', () => {
    expect(keysOf('CmdOrCtrl+Shift+P', false)).toEqual(['Ctrl', 'Shift', 'P']);
    expect(keysOf('CmdOrCtrl+=', true)).toEqual(['⌘', '=']);
  });
});
