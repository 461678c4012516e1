import { RuleTester } from 'eslint';
import { describe, expect, it } from 'vitest';
import { house } from './house.mjs';
import { importDirection, judgeImport } from './importDirection.mjs';

const judge = (file: string, specifier: string, typeOnly = false): string | null =>
  judgeImport(house, { file, specifier, typeOnly });

describe('the arrows of the house', () => {
  it.each([
    ['engine/dma/dmaIommu.ts', '../iommu/iommu.ts'],
    ['engine/dma/dmaIommu.ts', './iova.ts'],
    ['engine/dma/inner/deep.ts', '../../time/picoseconds.ts'],
    ['engine/lab/schema.ts', 'zod'],
    ['engine/lab/presets.ts', '../../fixtures/presets/default.json'],
    ['engine/time/random.ts', 'pure-rand'],
    ['electron/main/window.ts', '../ipc/contract.ts'],
    ['electron/main/index.ts', 'electron'],
    ['renderer/run/RunBar.vue', '../../electron/ipc/commands.ts'],
    ['scripts/test.mjs', '../anything/at/all.ts'],
  ])('%s may import %s', (file, specifier) => {
    expect(judge(file, specifier)).toBeNull();
  });

  it.each([
    ['engine/iommu/iommu.ts', '../dma/dmaApi.ts'],
    ['engine/pcie/fabric.ts', '../iommu/iommu.ts'],
    ['engine/devices/nvmeDrive.ts', '../dma/dmaApi.ts'],
    ['engine/drivers/nvmeDriver.ts', '../iommu/iommu.ts'],
    ['engine/metrics/metrics.ts', '../memory/addresses.ts'],
    ['engine/dma/dmaApi.ts', 'node:fs'],
    ['engine/dma/dmaApi.ts', 'zod'],
    ['engine/lab/run.ts', 'electron'],
    ['engine/lab/run.ts', '../../renderer/main.ts'],
    ['engine/lab/run.ts', '../conformance/linuxTrace.ts'],
    ['electron/workers/runWorker.ts', 'electron'],
    ['electron/preload/index.ts', '../main/index.ts'],
    ['electron/main/window.ts', '../../renderer/main.ts'],
    ['renderer/main.ts', 'electron'],
    ['renderer/main.ts', 'node:fs'],
    ['renderer/main.ts', 'fs'],
    ['renderer/main.ts', '../electron/main/window.ts'],
  ])('%s may not import %s', (file, specifier) => {
    expect(judge(file, specifier)).toMatch(/may not import/);
  });

  it('says why, not only that', () => {
    expect(judge('engine/devices/nvmeDrive.ts', '../dma/dmaApi.ts')).toContain('a device sees bus addresses only');
  });

  it('lets types through where only code would tie two rooms together', () => {
    expect(judge('engine/formats/ftrace.ts', '../workloads/recordedRequest.ts', true)).toBeNull();
    expect(judge('engine/formats/ftrace.ts', '../workloads/recordedRequest.ts')).toContain('import type');
  });

  it('gives tests their tools and nothing else', () => {
    expect(judge('engine/dma/iova/iova.test.ts', 'fast-check')).toBeNull();
    expect(judge('engine/dma/iova/iova.ts', 'fast-check')).not.toBeNull();
    expect(judge('engine/dma/iova/iova.test.ts', '../../lab/run.ts')).not.toBeNull();
  });

  it('asks for the extension of a relative import', () => {
    expect(judge('engine/dma/iova/iova.ts', './errno')).toContain('whole file name');
  });

  it('gives every room a reason that ends as a sentence', () => {
    for (const room of house) expect(room.why).toMatch(/^.{40,}\.$/s);
  });
});

// The wiring into ESLint: every kind of import is seen.
new RuleTester({ languageOptions: { ecmaVersion: 2023, sourceType: 'module' } }).run(
  'import-direction',
  importDirection,
  {
    valid: [
      {
        filename: '/repo/engine/dma/a.js',
        code: "import { x } from '../iommu/b.ts';",
        options: [{ root: '/repo', rooms: house }],
      },
    ],
    invalid: [
      "import '../lab/b.ts';",
      "export { x } from '../lab/b.ts';",
      "export * from '../lab/b.ts';",
      "import('../lab/b.ts');",
    ].map((code) => ({
      filename: '/repo/engine/dma/a.js',
      code,
      options: [{ root: '/repo', rooms: house }],
      errors: 1,
    })),
  },
);
