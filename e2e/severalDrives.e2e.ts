// A machine of two sockets in the real window: every part on the stage and in the tree, where Linux finds it, and the address space of
// each drive by itself.
import path from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { root } from '../scripts/process.mjs';
import { expect, screenshot, test } from './app.ts';
import { expectEveryRun, runOnCommandLine } from './lab.ts';

interface Snapshot {
  readonly totals: Record<string, { readonly ranges: number }>;
}

const twoSockets = path.join(root, 'fixtures/labs/two-sockets.iovalab');

test('two sockets, a switch and three drives are drawn, named and looked into', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: twoSockets, size: { width: 1280, height: 800 } });
  const stage = page.getByRole('group', { name: 'Topology' });
  for (const name of [
    'Socket Socket 1',
    'Switch Switch',
    'NVMe drive Drive 0',
    'NVMe drive Drive 1',
    'NVMe drive Drive 2',
  ])
    await expect(stage.getByLabel(name, { exact: true })).toBeVisible();
  await stage.getByLabel('NVMe drive Drive 1', { exact: true }).click();
  const inspector = page.getByRole('region', { name: 'Inspector' });
  await expect(inspector.getByText('0000:04:00.0')).toBeVisible();
  await page
    .getByRole('navigation', { name: 'Outline' })
    .getByRole('treeitem', { name: /^Drive 2/ })
    .click();
  await expect(inspector.getByText('0000:81:00.0')).toBeVisible();
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id }) => id)).toEqual([]);
  await idle();
  await screenshot(page, 'two-sockets');

  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  await idle();
  await page
    .getByRole('navigation', { name: 'Outline' })
    .getByRole('treeitem', { name: /^two_step strict/ })
    .click();
  const space = page.getByRole('region', { name: 'IOVA space' });
  await space.getByRole('textbox', { name: 'Exact moment' }).fill('1 ms');
  await space.getByRole('button', { name: 'Show', exact: true }).click();
  for (const device of ['nvme0', 'nvme2']) {
    await space.getByRole('combobox', { name: 'Device' }).selectOption(device);
    await idle();
    const args = ['inspect', twoSockets, '--run', 'two-step-strict', '--at', '1ms', '--device', device, '--json'];
    const { totals } = JSON.parse(await runOnCommandLine(args)) as Snapshot;
    for (const state of ['live', 'cached']) {
      const shown = new RegExp(`^${state} ${totals[state]?.ranges ?? -1} `);
      await expect(space.getByRole('button', { name: shown })).toBeVisible();
    }
  }
});
