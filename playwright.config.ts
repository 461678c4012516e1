// End-to-end tests drive the built desktop app. One worker: windows compete for focus, and runs for cores.
import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: 'e2e',
  testMatch: '**/*.e2e.ts',
  outputDir: 'test-results/e2e',
  // Two launches, a run and an export on two busy cores.
  timeout: 90_000,
  expect: { timeout: 15_000 },
  workers: 1,
  fullyParallel: false,
  forbidOnly: process.env['CI'] !== undefined,
  // At a desk a test that passes at the second try hides a race. A shared machine may stall a window, and is told so as flaky.
  retries: process.env['CI'] === undefined ? 0 : 1,
  reporter: [['list']],
});
