import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { defaultSettings, maximumRecent, openSettings, parseSettings, withRecent } from './settings.ts';

const path = async () => join(await mkdtemp(join(tmpdir(), 'settings-')), 'settings.json');
const noWarning = (message: string) => {
  throw new Error(message);
};

it('starts from defaults and finds its changes again', async () => {
  const file = await path();
  const store = await openSettings(file, noWarning);
  expect(store.current).toEqual(defaultSettings);
  store.change({ theme: 'dark' });
  store.change({ panes: { outline: 20 } });
  await store.flush();
  const again = await openSettings(file, noWarning);
  expect(again.current).toMatchObject({ theme: 'dark', panes: { outline: 20 }, firstRunSeen: false });
});

it.each(['', '{', '[]', '{"version":99}', '{"version":1,"theme":"pink"}'])(
  'keeps %j aside and goes on with defaults',
  async (text) => {
    const file = await path();
    await writeFile(file, text);
    const warnings: string[] = [];
    const store = await openSettings(file, (message) => warnings.push(message));
    expect(store.current).toEqual(defaultSettings);
    expect(warnings).toHaveLength(1);
    expect(await readFile(`${file}.bak`, 'utf8')).toBe(text);
  },
);

it('fills what an older file does not have', () => {
  expect(parseSettings('{"version":1,"theme":"light"}')).toEqual({ ...defaultSettings, theme: 'light' });
});

it('keeps the newest recent files, each once', () => {
  const many = Array.from({ length: maximumRecent }, (_, index) => `/${index}.iovalab`);
  expect(withRecent(many, '/3.iovalab')[0]).toBe('/3.iovalab');
  expect(withRecent(many, '/3.iovalab')).toHaveLength(maximumRecent);
  expect(withRecent(many, '/new.iovalab')).toHaveLength(maximumRecent);
});
