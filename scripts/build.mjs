// Builds the app (`--cli` alone: the command line only, quick and without Electron). `ensureBuilt` skips what is newer than
// every source, so that `npm start` is not slower than it has to be and never shows yesterday's code.
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { localProgram, root, run } from './process.mjs';

const sources = [
  'engine',
  'electron',
  'renderer',
  'fixtures/presets',
  'fixtures/reference',
  'package-lock.json',
  'electron.vite.config.ts',
  'cli.vite.config.ts',
];

/** @param {string} place @returns {number} the latest change below it */
function newest(place) {
  const stat = statSync(place, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(place).reduce((latest, name) => Math.max(latest, newest(path.join(place, name))), 0);
}

/** @param {readonly string[]} outputs */
function isFresh(outputs) {
  if (!outputs.every((file) => existsSync(path.join(root, file)))) return false;
  const built = Math.min(...outputs.map((file) => statSync(path.join(root, file)).mtimeMs));
  return sources.every((place) => newest(path.join(root, place)) <= built);
}

export const buildCli = () =>
  run(localProgram('vite'), ['build', '--config', 'cli.vite.config.ts', '--logLevel', 'warn']);
export const buildApp = () => run(localProgram('electron-vite'), ['build', '--logLevel', 'warn']);

/**
 * @param {'app' | 'cli'} what
 * @returns {Promise<import('./process.mjs').Outcome>}
 */
export async function ensureBuilt(what) {
  const outputs =
    what === 'cli' ? ['out/main/cli.js'] : ['out/main/index.js', 'out/preload/index.cjs', 'out/renderer/index.html'];
  if (isFresh(outputs)) return { ok: true, code: 0, output: '' };
  return what === 'cli' ? buildCli() : buildApp();
}

if (process.argv[1] === import.meta.filename) {
  const outcome = process.argv.includes('--cli') ? await buildCli() : await buildApp();
  process.stderr.write(outcome.output);
  process.exitCode = outcome.ok ? 0 : 1;
}
