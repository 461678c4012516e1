// The renderer really runs inside Chromium's sandbox. Root cannot have it, and Playwright switches it off unless told, so this
// test launches the app as an ordinary user: as root by making one for the run, otherwise as whoever runs the tests.
// The judgement is the kernel's: `Seccomp: 2` in the renderer's /proc status means that a system call filter is in force.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { resolveRuntime } from '../scripts/electronRuntime.mjs';
import { isRoot, root } from '../scripts/process.mjs';

const secondUser = 'iova-lab-test';

function statusOf(pid: number): ReadonlyMap<string, string> {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return new Map(text.split('\n').map((line) => [line.split(':')[0] ?? '', line.split(':')[1]?.trim() ?? '']));
}

/** Renderers whose user data folder is this one: no other app on the machine is looked at. */
function renderersOf(userDataFolder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.includes('--type=renderer') && command.includes(userDataFolder);
      } catch {
        return false;
      }
    });
}

/** A copy that another user may read, with chrome-sandbox set up as an installation would. */
function installForEveryone(folder: string, executable: string): { executable: string; app: string } {
  const runtime = path.join(folder, 'runtime');
  cpSync(path.dirname(executable), runtime, { recursive: true });
  const sandbox = path.join(runtime, 'chrome-sandbox');
  chownSync(sandbox, 0, 0);
  chmodSync(sandbox, 0o4755);
  const app = path.join(folder, 'app');
  cpSync(path.join(root, 'out'), path.join(app, 'out'), { recursive: true });
  cpSync(path.join(root, 'package.json'), path.join(app, 'package.json'));
  return { executable: path.join(runtime, path.basename(executable)), app };
}

test.skip(process.platform !== 'linux', 'seccomp is a facility of Linux');

test('the renderer runs under a seccomp filter', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'iova-lab-sandbox-'));
  const userDataFolder = path.join(folder, 'home', 'user-data');
  let app: ReturnType<typeof spawn> | undefined;
  try {
    let identity: { uid: number; gid: number } | undefined;
    let installed = { executable: (await resolveRuntime()).executable, app: root };
    execFileSync('mkdir', [path.join(folder, 'home')]);
    if (isRoot) {
      chmodSync(folder, 0o755);
      execFileSync('useradd', ['--system', '--no-create-home', '--home-dir', path.join(folder, 'home'), secondUser]);
      const idOf = (flag: string): number => Number(execFileSync('id', [flag, secondUser], { encoding: 'utf8' }));
      identity = { uid: idOf('-u'), gid: idOf('-g') };
      installed = installForEveryone(folder, installed.executable);
      chownSync(path.join(folder, 'home'), identity.uid, identity.gid);
    }
    // xvfb-run keeps its key in a file of root's; a display of its own does not need one.
    const environment: Record<string, string | undefined> = {
      ...process.env,
      HOME: path.join(folder, 'home'),
      XDG_CACHE_HOME: path.join(folder, 'home', 'cache'),
    };
    if (process.env['XAUTHORITY'] !== undefined && identity !== undefined) {
      const key = path.join(folder, 'home', 'Xauthority');
      cpSync(process.env['XAUTHORITY'], key);
      chownSync(key, identity.uid, identity.gid);
      environment['XAUTHORITY'] = key;
    }
    const output: string[] = [];
    const child = spawn(installed.executable, [installed.app, `--user-data-dir=${userDataFolder}`], {
      cwd: path.join(folder, 'home'),
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...identity,
    });
    app = child;
    child.stdout.on('data', (chunk) => output.push(String(chunk)));
    child.stderr.on('data', (chunk) => output.push(String(chunk)));

    await expect
      .poll(() => renderersOf(userDataFolder).length, { message: output.join(''), timeout: 20_000 })
      .toBeGreaterThan(0);
    // The filter is put on while the process starts.
    await expect
      .poll(() => renderersOf(userDataFolder).map((pid) => statusOf(pid).get('Seccomp')), { timeout: 10_000 })
      .toContain('2');
    for (const pid of renderersOf(userDataFolder)) {
      expect(statusOf(pid).get('Seccomp')).toBe('2');
      expect(statusOf(pid).get('NoNewPrivs')).toBe('1');
      expect(statSync(`/proc/${pid}`).uid).not.toBe(0);
    }
  } finally {
    if (app?.pid !== undefined) {
      const ended = new Promise((resolve) => app?.once('close', resolve));
      if (app.exitCode === null) {
        process.kill(-app.pid, 'SIGKILL');
        await ended;
      }
    }
    if (isRoot) {
      try {
        execFileSync('userdel', [secondUser], { stdio: 'ignore' });
      } catch {
        // It was never made.
      }
    }
    rmSync(folder, { recursive: true, force: true });
  }
});
