// Running other programs: output kept or passed through, a time limit, and a result instead of an exception.
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/**
 * @typedef {object} Outcome
 * @property {boolean} ok
 * @property {number | null} code exit status; null when the program could not start or was stopped
 * @property {string} output stdout and stderr as they came
 */

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, timeoutMs?: number, inherit?: boolean }} [options]
 * @returns {Promise<Outcome>}
 */
export function run(command, args, { env = process.env, cwd = root, timeoutMs, inherit = false } = {}) {
  return new Promise((resolve) => {
    // Kept output is read as text and shown indented: no colours in it.
    /** @type {NodeJS.ProcessEnv} */
    const plain = { ...env, NO_COLOR: '1' };
    delete plain['FORCE_COLOR'];
    // Its own process group, so that a time limit also ends what the program has started.
    const child = spawn(command, args, {
      cwd,
      env: inherit ? env : plain,
      stdio: inherit ? 'inherit' : ['ignore', 'pipe', 'pipe'],
      detached: timeoutMs !== undefined,
    });
    let output = '';
    child.stdout?.on('data', (chunk) => (output += String(chunk)));
    child.stderr?.on('data', (chunk) => (output += String(chunk)));
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            output += `\nstopped: no end after ${Math.round(timeoutMs / 1000)} s\n`;
            try {
              if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
            } catch {
              child.kill('SIGKILL');
            }
          }, timeoutMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ ok: false, code: null, output: `${output}${command}: ${error.message}\n` });
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ ok: code === 0, code, output });
    });
  });
}

/** @param {string} program */
export function isOnPath(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}

/** A package's own program, without the cost of npx. @param {string} name */
export const localProgram = (name) => `${root}/node_modules/.bin/${name}`;

/** True where a window can be opened. */
export function hasDisplay() {
  const isSet = (/** @type {string | undefined} */ value) => value !== undefined && value !== '';
  return process.platform !== 'linux' || isSet(process.env['DISPLAY']) || isSet(process.env['WAYLAND_DISPLAY']);
}

export const isRoot = process.getuid?.() === 0;
