/*
 * What the app remembers of its user: theme, window, recent files, the last folder, pane sizes. One JSON file in the user data
 * folder, read with defaults, migrated by version, written atomically. A file that cannot be understood is kept beside as
 * .bak and the defaults are taken: settings are never a reason not to start.
 */
import { copyFile, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { atomicWrite } from '../../engine/lab/atomicWrite.ts';

const settingsVersion = 1;
export const maximumRecent = 12;

const bounds = z.object({
  x: z.int().min(-100_000).max(100_000).nullable(),
  y: z.int().min(-100_000).max(100_000).nullable(),
  width: z.int().min(200).max(20_000),
  height: z.int().min(200).max(20_000),
  maximized: z.boolean(),
});

const settingsSchema = z.object({
  version: z.literal(settingsVersion),
  theme: z.enum(['system', 'dark', 'light']).default('system'),
  window: bounds.default({ x: null, y: null, width: 1440, height: 900, maximized: false }),
  recent: z.array(z.string().min(1).max(4096)).max(maximumRecent).default([]),
  lastFolder: z.string().max(4096).nullable().default(null),
  panes: z.record(z.string().max(64), z.number()).default({}),
  firstRunSeen: z.boolean().default(false),
});

export type Settings = Readonly<z.output<typeof settingsSchema>>;
export type WindowBounds = Settings['window'];

export const defaultSettings: Settings = settingsSchema.parse({ version: settingsVersion });

/** From version n (the key) to n + 1. Version 1 is the first, so there is nothing to bring forward yet. */
const migrations: ReadonlyMap<number, (old: Record<string, unknown>) => Record<string, unknown>> = new Map();

export function parseSettings(text: string): Settings {
  let value = z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  for (;;) {
    const version = value['version'];
    const migrate = typeof version === 'number' ? migrations.get(version) : undefined;
    if (migrate === undefined) break;
    value = migrate(value);
  }
  return settingsSchema.parse(value);
}

export interface SettingsStore {
  readonly current: Settings;
  change(changes: Partial<Omit<Settings, 'version'>>): void;
  /** Resolves when everything is on disk. */
  flush(): Promise<void>;
}

export async function openSettings(path: string, warn: (message: string) => void): Promise<SettingsStore> {
  let current = defaultSettings;
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text !== null) {
    try {
      current = parseSettings(text);
    } catch {
      await copyFile(path, `${path}.bak`).catch(() => undefined);
      warn(
        'The settings could not be read and are back to their defaults; the old file was kept as settings.json.bak.',
      );
    }
  }
  let writing = Promise.resolve();
  let waiting = false;
  return {
    get current() {
      return current;
    },
    change(changes) {
      current = { ...current, ...changes };
      if (waiting) return;
      waiting = true;
      writing = writing
        .then(() => {
          waiting = false;
          return atomicWrite(path, `${JSON.stringify(current, null, 2)}\n`);
        })
        .catch((error: unknown) => warn(`The settings could not be written: ${String(error)}`));
    },
    flush: () => writing,
  };
}

export function withRecent(recent: readonly string[], path: string): string[] {
  return [path, ...recent.filter((other) => other !== path)].slice(0, maximumRecent);
}
