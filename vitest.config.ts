// Unit tests stand beside their source. What runs in Node (engine, desktop shell, scripts, lint rules) and what runs in a
// page (renderer) are two projects, so that an engine test can never lean on a DOM by accident.
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vitest/config';

/** Against a test that hangs. Property tests with coverage on a busy machine take seconds; how long they take is no verdict. */
const TIMEOUT = 120_000;

export default defineConfig({
  test: {
    reporters: ['default'],
    coverage: {
      provider: 'v8',
      include: ['engine/**/*.ts', 'electron/**/*.ts', 'renderer/**/*.{ts,vue}', 'scripts/**/*.mjs'],
      exclude: ['**/*.test.ts', '**/*.d.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
    },
    projects: [
      {
        test: {
          name: 'node',
          environment: 'node',
          testTimeout: TIMEOUT,
          include: ['engine/**/*.test.ts', 'electron/**/*.test.ts', 'scripts/**/*.test.ts'],
        },
      },
      {
        plugins: [vue()],
        test: {
          name: 'renderer',
          environment: 'happy-dom',
          testTimeout: TIMEOUT,
          // The tokens are read by the test that computes contrasts; other styles do nothing without a layout.
          css: { include: [/tokens\.css/] },
          include: ['renderer/**/*.test.ts'],
        },
      },
    ],
  },
});
