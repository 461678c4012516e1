/**
 * Shortcuts of the command registry, matched against key events. They are written as Electron accelerators there, so that
 * one text serves the native menu, the page and the key help.
 */
import { commands, type Command, type CommandId } from '../../electron/ipc/commands.ts';

interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
}

/** Keys that mean a command beside the one in the registry: `?` has no accelerator that fits every keyboard. */
const EXTRA_KEYS: Readonly<Record<string, CommandId>> = { '?': 'help.shortcuts' };

/** Editing keys that a text field keeps for itself. */
const TEXT_FIELD_KEYS = new Set<CommandId>(['edit.undo', 'edit.redo']);

function matches(shortcut: string, press: KeyPress, isMac: boolean): boolean {
  const parts = shortcut.split('+');
  // `Ctrl++` splits into an empty last part.
  const key = (parts.at(-1) === '' ? '+' : (parts.at(-1) ?? '')).toLowerCase();
  const wants = (name: string): boolean => parts.slice(0, -1).includes(name);
  const command = isMac ? press.metaKey : press.ctrlKey;
  const otherCommand = isMac ? press.ctrlKey : press.metaKey;
  return (
    press.key.toLowerCase() === key &&
    command === wants('CmdOrCtrl') &&
    !otherCommand &&
    press.shiftKey === wants('Shift') &&
    press.altKey === wants('Alt')
  );
}

/** The command that a key press means, if any. */
export function commandOf(press: KeyPress, inTextField: boolean, isMac: boolean): CommandId | null {
  const found = (commands as readonly Command[]).find(
    ({ shortcut }) => shortcut !== undefined && matches(shortcut, press, isMac),
  );
  const extra = inTextField || press.ctrlKey || press.metaKey || press.altKey ? undefined : EXTRA_KEYS[press.key];
  const id = (found?.id as CommandId | undefined) ?? extra ?? null;
  return id !== null && inTextField && TEXT_FIELD_KEYS.has(id) ? null : id;
}

/** The keys of a shortcut as they are printed on the keyboard. */
export function keysOf(shortcut: string, isMac: boolean): string[] {
  const names: Readonly<Record<string, string>> = isMac
    ? { CmdOrCtrl: '⌘', Shift: '⇧', Alt: '⌥' }
    : { CmdOrCtrl: 'Ctrl' };
  return shortcut.split('+').map((part) => names[part] ?? (part === '' ? '+' : part));
}

export function isTextField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;
}

export const isMac = navigator.platform.startsWith('Mac');
