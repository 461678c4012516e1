// Counting single tests out of the reports of the tools, and nothing that the reports do not say. A skipped test is neither passed
// nor failed, so a suite that skips everything counts nothing, and the caller treats that as a failure.

/** @typedef {{ passed: number, failed: number, flaky?: number }} Count */

/** @param {unknown} report Vitest's JSON reporter @returns {Count} */
export function countVitest(report) {
  const { numPassedTests, numFailedTests, testResults } =
    /** @type {{ numPassedTests: number, numFailedTests: number, testResults: { status: string, assertionResults: unknown[] }[] }} */ (
      report
    );
  // A file that does not even load holds no test that could fail.
  const broken = testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
  return { passed: numPassedTests, failed: numFailedTests + broken };
}

/** @param {unknown} report Playwright's JSON reporter @returns {Count} */
export function countPlaywright(report) {
  const { stats, errors } =
    /** @type {{ stats: { expected: number, unexpected: number, flaky: number }, errors: unknown[] }} */ (report);
  // Second tries are allowed on shared machines only (playwright.config.ts); there they pass, and the line of the step says so.
  const { unexpected, flaky } = stats;
  return { passed: stats.expected + flaky, failed: unexpected === 0 ? errors.length : unexpected, flaky };
}

/**
 * One check a file: `FILE: agree n/m` holds when n equals m.
 * @param {string} output of `lab conform`
 * @returns {Count}
 */
export function countConformance(output) {
  let passed = 0;
  let failed = 0;
  for (const [, name = '', agree, total] of output.matchAll(/^(.+): agree (\d+)\/(\d+)/gm)) {
    if (/^linux-(api|trace)$|^riscv-sv$/.test(name)) continue;
    if (agree === total) passed += 1;
    else failed += 1;
  }
  return { passed, failed };
}
