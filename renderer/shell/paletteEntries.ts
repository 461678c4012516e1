/** The lines of the command palette and how typing narrows them: letters in order, with whole words and beginnings first. */
import type { ExampleLab, RecentFile } from '../../electron/ipc/api.ts';
import { commands, type Command, type CommandId } from '../../electron/ipc/commands.ts';
import { strings } from '../strings.ts';
import { keysOf } from './hotkeys.ts';

export interface PaletteEntry {
  readonly key: string;
  readonly id: CommandId;
  readonly argument: string | null;
  readonly title: string;
  readonly keys: readonly string[];
}

export function paletteEntries(
  examples: readonly ExampleLab[],
  recent: readonly RecentFile[],
  isMac: boolean,
): PaletteEntry[] {
  const listed = commands.filter((command: Command) => command.hidden !== true && command.developmentOnly !== true);
  return [
    ...listed.map((command: Command & { readonly id: CommandId }) => ({
      key: command.id,
      id: command.id,
      argument: null,
      title: command.title,
      keys: command.shortcut === undefined ? [] : keysOf(command.shortcut, isMac),
    })),
    ...examples.map(({ id, title }) => ({
      key: `example/${id}`,
      id: 'file.openExample' as const,
      argument: id,
      title: strings.palette.openExample(title),
      keys: [],
    })),
    ...recent.map(({ id, name }) => ({
      key: `recent/${id}`,
      id: 'file.openRecent' as const,
      argument: id,
      title: strings.palette.openRecent(name),
      keys: [],
    })),
  ];
}

/** Lower is better; null: the letters do not occur in this order. */
function rank(title: string, query: string): number | null {
  const text = title.toLowerCase();
  const wanted = query.trim().toLowerCase();
  const at = text.indexOf(wanted);
  if (at === 0) return 0;
  if (at > 0) return text[at - 1] === ' ' ? 1 : 2;
  let from = 0;
  let gaps = 0;
  for (const letter of wanted.replaceAll(' ', '')) {
    const found = text.indexOf(letter, from);
    if (found < 0) return null;
    gaps += found - from;
    from = found + 1;
  }
  return 3 + gaps;
}

export function filterEntries(entries: readonly PaletteEntry[], query: string): PaletteEntry[] {
  return entries
    .map((entry) => ({ entry, score: rank(entry.title, query) }))
    .filter((one): one is { entry: PaletteEntry; score: number } => one.score !== null)
    .sort((left, right) => left.score - right.score)
    .map(({ entry }) => entry);
}
