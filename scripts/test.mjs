// `npm test`: every check of the project, one after the other, each by its name; the output of a step is shown when it fails.
// The last line counts single tests, not steps: `N passed, N failed`. A step that could not even start is a failure of its own.
// `npm test -- unit lint` runs the named steps only.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { buildApp } from './build.mjs';
import { countConformance, countPlaywright, countVitest } from './counts.mjs';
import { resolveRuntime } from './electronRuntime.mjs';
import { localProgram, root, run } from './process.mjs';
import { callRecordings, recordings, walkRecordings } from './recordings.mjs';
import { ensureSystemPackages } from './systemPackages.mjs';

/** @typedef {import('./counts.mjs').Count} Count */
/** @typedef {{ name: string, run: () => Promise<Count & { output: string }> }} Step */

const results = path.join(root, 'test-results');

/**
 * A check that passes or fails as a whole.
 * @param {string} name
 * @param {() => Promise<import('./process.mjs').Outcome>} check
 * @returns {Step}
 */
const single = (name, check) => ({
  name,
  run: async () => {
    const { ok, output } = await check();
    return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, output };
  },
});

/**
 * A step that leaves a report of its single tests. Without a readable report, or when the program fails although every test in
 * the report passed, the step itself has failed.
 * @param {string} name
 * @param {string} report
 * @param {(report: unknown) => Count} count
 * @param {() => Promise<import('./process.mjs').Outcome>} start
 * @returns {Step}
 */
const reported = (name, report, count, start) => ({
  name,
  run: async () => {
    rmSync(report, { force: true });
    const { ok, output } = await start();
    if (!existsSync(report)) return { passed: 0, failed: 1, output: `${output}\nno report was written\n` };
    const { passed, failed, flaky = 0 } = count(JSON.parse(readFileSync(report, 'utf8')));
    return { passed, failed: failed === 0 && (!ok || passed === 0) ? 1 : failed, flaky, output };
  },
});

/**
 * `lab conform`: one check a file.
 * @param {string} name
 * @param {string} suite
 * @param {readonly string[]} files
 * @returns {Step}
 */
const conformance = (name, suite, files) => ({
  name,
  run: async () => {
    const { ok, output } = await run(process.execPath, ['scripts/lab.mjs', 'conform', suite, ...files]);
    const { passed, failed } = countConformance(output);
    return { passed, failed: failed === 0 && (!ok || passed === 0) ? 1 : failed, output };
  },
});

/** @param {string} line */
const say = (line) => console.log(line);

const vitestReport = path.join(results, 'vitest.json');
const playwrightReport = path.join(results, 'playwright.json');

/** @type {readonly Step[]} */
const steps = [
  ...['.', 'engine', 'electron', 'electron/preload', 'renderer'].map((folder) =>
    single(`types of ${folder === '.' ? 'scripts, e2e and configuration' : folder}`, () =>
      run(localProgram(folder === 'renderer' ? 'vue-tsc' : 'tsc'), ['--project', folder]),
    ),
  ),
  single('lint', () => run(localProgram('eslint'), ['--cache', '--max-warnings', '0', '.'])),
  single('format', () => run(localProgram('prettier'), ['--check', '--log-level', 'warn', '.'])),
  single('unused code and dependencies', () => run(localProgram('knip'), [])),
  reported('unit tests', vitestReport, countVitest, () =>
    run(localProgram('vitest'), [
      'run',
      '--coverage',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${vitestReport}`,
    ]),
  ),
  single('build', buildApp),
  conformance('conformance to recorded kernels', 'linux-trace', recordings()),
  conformance('conformance to recorded calls', 'linux-api', callRecordings()),
  conformance('conformance to recorded walks', 'riscv-sv', walkRecordings()),
  reported('end to end', playwrightReport, countPlaywright, async () => {
    const runtime = await resolveRuntime({ say });
    const missing = await ensureSystemPackages({ executable: runtime.executable, display: true, install: true, say });
    if (missing !== null) return { ok: false, code: null, output: `${missing}\n` };
    // Always a display of its own: windows on a developer's screen would take the focus and lose it.
    const environment = {
      ...process.env,
      LAB_ELECTRON: runtime.executable,
      PLAYWRIGHT_JSON_OUTPUT_NAME: playwrightReport,
    };
    const playwright = [localProgram('playwright'), 'test', '--reporter=list,json'];
    return process.platform === 'linux'
      ? run('xvfb-run', ['--auto-servernum', '--server-args=-screen 0 1920x1200x24', ...playwright], {
          env: environment,
        })
      : run(playwright[0] ?? '', playwright.slice(1), { env: environment });
  }),
];

const wanted = process.argv.slice(2);
const chosen = wanted.length === 0 ? steps : steps.filter(({ name }) => wanted.some((word) => name.includes(word)));
if (chosen.length === 0) {
  say(`There is no step named like ${wanted.join(', ')}. Steps: ${steps.map(({ name }) => name).join('; ')}.`);
  process.exit(2);
}

mkdirSync(results, { recursive: true });
let passed = 0;
let failed = 0;
for (const step of chosen) {
  const start = performance.now();
  const outcome = await step.run().catch((/** @type {unknown} */ error) => ({
    passed: 0,
    failed: 1,
    flaky: 0,
    output: `the step could not start: ${error instanceof Error ? error.message : String(error)}\n`,
  }));
  const flaky = outcome.flaky ?? 0;
  const second = flaky === 0 ? '' : `, ${flaky} of them at the second try`;
  passed += outcome.passed;
  failed += outcome.failed;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  say(
    `${outcome.failed === 0 ? 'ok    ' : 'FAILED'}  ${step.name}: ${outcome.passed} passed${second}, ${outcome.failed} failed (${seconds} s)`,
  );
  if (outcome.failed > 0 || flaky > 0) say(outcome.output.replace(/^/gm, '        '));
}
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
