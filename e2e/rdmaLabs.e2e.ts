// Labs with an RDMA adapter and GPUs in the real window: the parts on the stage, the region's make, what a scheme refused and why, and the
// same figures as on the command line.
import path from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { root } from '../scripts/process.mjs';
import { expect, screenshot, test } from './app.ts';
import { expectEveryRun, printedSummary, runOnCommandLine, shownSummary } from './lab.ts';

const hodgepodge = path.join(root, 'fixtures/labs/hodgepodge-region.iovalab');
const faultStorm = path.join(root, 'fixtures/labs/odp-fault-storm.iovalab');

test('one region of RAM and of two GPUs: the machine, its refusals, and the figures of the command line', async ({
  app,
}) => {
  const { page, idle } = await app.launch({ lab: hodgepodge, size: { width: 1440, height: 900 } });
  const stage = page.getByRole('group', { name: 'Topology' });
  for (const name of ['RDMA adapter nic0', 'GPU gpu0', 'GPU gpu1'])
    await expect(stage.getByLabel(name, { exact: true })).toBeVisible();
  await stage.getByLabel('GPU gpu0', { exact: true }).click();
  await expect(page.getByRole('region', { name: 'Inspector' }).getByText('0000:04:00.0')).toBeVisible();
  await idle();
  await screenshot(page, 'hodgepodge-topology');

  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done', 90_000);
  await page.getByRole('tab', { name: 'Workload' }).click();
  await idle();
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id }) => id)).toEqual([]);
  await screenshot(page, 'hodgepodge-workload');
  const labels = ['regions registered', 'regions refused', 'messages failed', 'table entries of the adapter'];
  const shown = await shownSummary(page);
  const printed = printedSummary(await runOnCommandLine(['run', hodgepodge]), labels);
  for (const label of labels) expect(shown[label]).toEqual(printed[label]);

  await page.getByRole('tab', { name: 'Events' }).click();
  await expect(page.getByText(/could not be registered/).first()).toBeVisible();
  await page.getByRole('tab', { name: 'Charts' }).click();
  await idle();
  await screenshot(page, 'hodgepodge-charts');
});

test('memory on demand: what happens to it is named, and every run ends', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: faultStorm, size: { width: 1280, height: 800 } });
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done', 90_000);
  await page.getByRole('tab', { name: 'Workload' }).click();
  await idle();
  await expect(page.getByText('Happens meanwhile')).toBeVisible();
  await screenshot(page, 'odp-workload');
});
