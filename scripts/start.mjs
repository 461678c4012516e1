// `npm start`: the desktop app on the first-run lab; where there is no display, the same lab on the command line.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { ensureBuilt } from './build.mjs';
import { resolveRuntime } from './electronRuntime.mjs';
import { hasDisplay, isRoot, root, run } from './process.mjs';
import { ensureSystemPackages } from './systemPackages.mjs';

const firstRunLab = 'fixtures/labs/first-run.iovalab';
const resultFolder = 'out/first-run';

/** @param {string} line */
const say = (line) => console.error(line);

/** @param {import('./process.mjs').Outcome} built */
function requireBuilt(built) {
  if (built.ok) return;
  throw new Error(`The app could not be built:\n${built.output}`);
}

async function startHeadless() {
  say(
    'There is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set), so the first-run lab runs on the command line.',
  );
  requireBuilt(await ensureBuilt('cli'));
  const ran = await run(process.execPath, ['scripts/lab.mjs', 'run', firstRunLab, '--out', resultFolder], {
    inherit: true,
  });
  if (!ran.ok) return ran.code ?? 3;
  say(`\nCharts: ${path.join(root, resultFolder, 'charts')}`);
  say('The window needs a display: run `npm start` in a desktop session, over `ssh -X`, or under `xvfb-run -a`.');
  return 0;
}

/** @param {readonly string[]} args */
async function startWindow(args) {
  const runtime = await resolveRuntime({ say });
  const missing = await ensureSystemPackages({ executable: runtime.executable, display: false, install: false, say });
  if (missing !== null) throw new Error(missing);
  requireBuilt(await ensureBuilt('app'));
  if (runtime.origin === 'test runtime') {
    say('Running on a test runtime (Electron 33): good for development and tests, not for shipping.');
  }
  // Chromium refuses to run as root with its sandbox on. A user's own session keeps it.
  const rootArguments = isRoot && process.platform === 'linux' ? ['--no-sandbox'] : [];
  const files = args.length > 0 ? args : [firstRunLab];
  const child = spawn(runtime.executable, [root, ...rootArguments, ...files], { stdio: 'inherit' });
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => child.kill(signal));
  return await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

try {
  process.exitCode = hasDisplay() ? await startWindow(process.argv.slice(2)) : await startHeadless();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 3;
}
