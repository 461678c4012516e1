// What the desktop app and its tests need from the system, found by looking (ldd, the path) and not by guessing, and what to
// type where it is missing. As root on Debian the missing packages can be installed at once. Names are Debian's; other systems
// are told what is missing and look it up themselves.
import { existsSync } from 'node:fs';
import { isOnPath, isRoot, run } from './process.mjs';

/** Shared libraries of Electron and the Debian package that holds each. */
const libraryPackages = /** @type {const} */ ({
  'libnspr4.so': 'libnspr4',
  'libnss3.so': 'libnss3',
  'libnssutil3.so': 'libnss3',
  'libsmime3.so': 'libnss3',
  'libdbus-1.so.3': 'libdbus-1-3',
  'libatk-1.0.so.0': 'libatk1.0-0',
  'libatk-bridge-2.0.so.0': 'libatk-bridge2.0-0',
  'libatspi.so.0': 'libatspi2.0-0',
  'libcups.so.2': 'libcups2',
  'libdrm.so.2': 'libdrm2',
  'libgtk-3.so.0': 'libgtk-3-0',
  'libgdk-3.so.0': 'libgtk-3-0',
  'libgdk_pixbuf-2.0.so.0': 'libgdk-pixbuf-2.0-0',
  'libpango-1.0.so.0': 'libpango-1.0-0',
  'libcairo.so.2': 'libcairo2',
  'libX11.so.6': 'libx11-6',
  'libxcb.so.1': 'libxcb1',
  'libXcomposite.so.1': 'libxcomposite1',
  'libXdamage.so.1': 'libxdamage1',
  'libXext.so.6': 'libxext6',
  'libXfixes.so.3': 'libxfixes3',
  'libXrandr.so.2': 'libxrandr2',
  'libgbm.so.1': 'libgbm1',
  'libexpat.so.1': 'libexpat1',
  'libxkbcommon.so.0': 'libxkbcommon0',
  'libasound.so.2': 'libasound2',
  'libudev.so.1': 'libudev1',
  'libglib-2.0.so.0': 'libglib2.0-0',
  'libgobject-2.0.so.0': 'libglib2.0-0',
  'libgio-2.0.so.0': 'libglib2.0-0',
});

/** Debian 13 renamed some packages when time_t grew. */
const renamed = new Set([
  'libatk1.0-0',
  'libatk-bridge2.0-0',
  'libatspi2.0-0',
  'libcups2',
  'libgtk-3-0',
  'libasound2',
  'libglib2.0-0',
]);

/**
 * @param {string} text what ldd printed
 * @returns {string[]} libraries that were not found
 */
export const missingLibraries = (text) =>
  [...text.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1] ?? '').filter((name) => name !== '');

/**
 * @param {readonly string[]} libraries
 * @returns {{ packages: string[], unknown: string[] }}
 */
export function packagesOf(libraries) {
  const known = new Map(Object.entries(libraryPackages));
  const packages = new Set(libraries.flatMap((name) => known.get(name) ?? []));
  return { packages: [...packages].sort(), unknown: libraries.filter((name) => !known.has(name)) };
}

/**
 * @param {{ executable: string, display: boolean }} need `display`: a virtual display is needed too
 * @returns {Promise<{ packages: string[], unknown: string[] }>}
 */
async function missingPackages({ executable, display }) {
  if (process.platform !== 'linux') return { packages: [], unknown: [] };
  const { output } = await run('ldd', [executable]);
  const { packages, unknown } = packagesOf(missingLibraries(output));
  if (display && !isOnPath('Xvfb')) packages.push('xvfb');
  if (display && !isOnPath('xauth')) packages.push('xauth');
  return { packages, unknown };
}

/** @param {readonly string[]} packages */
const installCommand = (packages) => `apt-get install --yes --no-install-recommends ${packages.join(' ')}`;

const isDebian = () => existsSync('/etc/debian_version') && isOnPath('apt-get');

/** @param {readonly string[]} packages */
async function namesHere(packages) {
  return await Promise.all(
    packages.map(async (name) => {
      if (!renamed.has(name)) return name;
      const { output } = await run('apt-cache', ['show', `${name}t64`]);
      return output.includes(`Package: ${name}t64`) ? `${name}t64` : name;
    }),
  );
}

/**
 * Sees to it that the window can open, or says what to type.
 * @param {{ executable: string, display: boolean, install: boolean, say: (line: string) => void }} need
 * @returns {Promise<string | null>} null when all is there, else a sentence for the user
 */
export async function ensureSystemPackages({ executable, display, install, say }) {
  const { packages, unknown } = await missingPackages({ executable, display });
  if (packages.length === 0 && unknown.length === 0) return null;
  if (!isDebian()) {
    const { output } = await run('ldd', [executable]);
    const parts = [...missingLibraries(output), ...packages.filter((name) => name === 'xvfb' || name === 'xauth')];
    return `This system lacks what the app's window needs: ${parts.join(', ')}. Install the packages that hold them.`;
  }
  if (install && isRoot && packages.length > 0) {
    say(
      `Installing what the app's window needs on this system (shared libraries, a virtual display): ${packages.join(' ')}`,
    );
    const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const updated = await run('apt-get', ['update', '--quiet'], { env: environment });
    const names = await namesHere(packages);
    const installed = await run('sh', ['-c', installCommand(names)], { env: environment });
    if (!installed.ok) return `The packages could not be installed:\n${updated.output}${installed.output}`.trim();
    return ensureSystemPackages({ executable, display, install: false, say });
  }
  const names = await namesHere(packages);
  const others = unknown.length === 0 ? '' : ` Also missing, in no package known here: ${unknown.join(', ')}.`;
  const command = names.length === 0 ? '' : ` Type: ${isRoot ? '' : 'sudo '}${installCommand(names)}`;
  return `This system lacks libraries or the virtual display that the app's window needs.${command}${others}`;
}
