// What a developer of a driver asks of the app: which calls of the DMA API are wrong and how it came to them, and whose each
// range of the IOVA space is at a moment of a run.
import path from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { root } from '../scripts/process.mjs';
import { expect, screenshot, test } from './app.ts';
import { expectEveryRun, runOnCommandLine } from './lab.ts';

const checkerLab = path.join(root, 'fixtures/labs/api-checker.iovalab');
const MOMENT = '6 ms';

interface Snapshot {
  readonly totals: Record<string, { readonly ranges: number }>;
  readonly ranges: readonly { readonly firstPage: number; readonly pages: number; readonly state: string }[];
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)).toEqual([]);
}

async function chooseRun(page: Page, name: string): Promise<void> {
  await page
    .getByRole('navigation', { name: 'Outline' })
    .getByRole('treeitem', { name: new RegExp(`^${name}`) })
    .click();
}

async function lookAt(page: Page, moment: string): Promise<void> {
  const space = page.getByRole('region', { name: 'IOVA space' });
  await space.getByRole('textbox', { name: 'Exact moment' }).fill(moment);
  await space.getByRole('button', { name: 'Show', exact: true }).click();
}

for (const theme of ['dark', 'light'] as const) {
  test(`misuses are named with the calls before them, in the log and beside the faults (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: checkerLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.keyboard.press('F5');
    await expectEveryRun(page, 'done');
    await idle();

    await page.getByRole('tab', { name: 'Faults and checker' }).click();
    const faults = page.getByRole('table', { name: 'Faults and checker' });
    await expect(page.getByText(/correct driver: no misuse/)).toBeVisible();
    await expect(page.getByText(/forgets the sync: 8 misuses/)).toBeVisible();
    const forgotten = faults.getByRole('button', { name: /^Calls before: .* linked and not synced/ }).first();
    await forgotten.click();
    await expect(forgotten).toHaveAttribute('aria-expanded', 'true');
    await expect(faults.getByText(/^dma_iova_try_alloc\(phys=0x/).first()).toBeVisible();
    await expect(faults.getByText(/^dma_iova_link\(phys=0x/).first()).toBeVisible();
    await expectAccessible(page);
    await screenshot(page, `checker-faults-${theme}`);

    await page.getByRole('tab', { name: 'Events' }).click();
    const log = page.getByRole('table', { name: 'Events' });
    await log
      .getByRole('button', { name: /^Calls before:/ })
      .first()
      .click();
    await expect(log.getByText(/^dma_(map|iova)_/).first()).toBeVisible();
    await expectAccessible(page);
    await screenshot(page, `checker-events-${theme}`);
  });

  test(`the inspector shows the IOVA space that the engine computes for the moment (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: checkerLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.keyboard.press('F5');
    await expectEveryRun(page, 'done');
    await chooseRun(page, 'never unmaps some');
    await lookAt(page, MOMENT);
    await idle();
    await expectAccessible(page);
    await screenshot(page, `iova-${theme}`);

    const args = ['inspect', checkerLab, '--run', 'forgets-unmap', '--at', MOMENT, '--json'];
    const { totals, ranges } = JSON.parse(await runOnCommandLine(args)) as Snapshot;
    const space = page.getByRole('region', { name: 'IOVA space' });
    const states = space.getByRole('group', { name: 'Show ranges of the state' });
    for (const state of ['live', 'queued', 'cached', 'reserved']) {
      await expect(
        states.getByRole('button', { name: new RegExp(`^${state} ${totals[state]?.ranges ?? -1} `) }),
      ).toBeVisible();
    }
    const table = space.getByRole('table', { name: 'Ranges of the IOVA space' });
    await expect(table).toHaveAttribute('aria-rowcount', String(ranges.length + 1));
    for (const state of ['queued', 'cached', 'reserved']) {
      await states.getByRole('button', { name: new RegExp(`^${state} `) }).click();
    }
    const live = ranges.filter((range) => range.state === 'live');
    await expect(table).toHaveAttribute('aria-rowcount', String(live.length + 1));
    const shown = table.getByRole('row').filter({ has: page.getByRole('button') });
    expect(await shown.count()).toBeGreaterThan(3);
    for (const [index, row] of (await shown.all()).entries()) {
      const { firstPage, pages } = live[index] ?? { firstPage: -1, pages: -1 };
      await expect(row.getByRole('cell').nth(0).getByRole('button').first()).toHaveText(
        `0x${(firstPage * 4096).toString(16)}`,
      );
      await expect(row.getByRole('cell').nth(1)).toHaveText(String(pages));
    }
    await screenshot(page, `iova-live-${theme}`);
  });
}

test('the IOVA space is found by keyboard, by a click into a chart, and refused where the lab has moved on', async ({
  app,
}) => {
  const { page, idle } = await app.launch({ lab: checkerLab });
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  await chooseRun(page, 'correct driver');
  const space = page.getByRole('region', { name: 'IOVA space' });
  await space.getByRole('slider', { name: 'Moment' }).focus();
  await page.keyboard.press('Home');
  const states = space.getByRole('group', { name: 'Show ranges of the state' });
  await expect(states.getByRole('button', { name: /^cached 0 / })).toBeVisible();
  await idle();

  const map = space.getByRole('slider', { name: 'Map of the IOVA space' });
  const before = await map.getAttribute('aria-valuetext');
  await map.focus();
  await page.keyboard.press('+');
  await expect(map).not.toHaveAttribute('aria-valuetext', before ?? '');
  await page.keyboard.press('Home');
  await expect(map).toHaveAttribute('aria-valuetext', before ?? '');

  await page.getByRole('tab', { name: 'Charts' }).click();
  await idle();
  await page.getByRole('img', { name: 'Chart: Throughput' }).click({ position: { x: 200, y: 60 } });
  await expect(states.getByRole('button', { name: /^cached [1-9]/ })).toBeVisible();

  await space.getByRole('textbox', { name: 'Exact moment' }).fill('noon');
  await page.keyboard.press('Enter');
  await expect(space.getByRole('alert')).toContainText('Write a number and a unit');

  const outcome = await page.evaluate(() => window.lab.document.edit({ path: 'seed', value: 5 }));
  expect(outcome).toEqual({ status: 'done' });
  await expect(space).toContainText('The lab was changed after this run');
  const refused = await page.evaluate(() => window.lab.runs.inspect({ comparisonId: 'correct', at: 1, walk: null }));
  expect(refused).toMatchObject({ status: 'failed', error: { code: 'not-found' } });
});

test('a run that is to stop at the first misuse says where it stopped', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: checkerLab });
  await page.getByRole('tab', { name: 'Faults and checker' }).click();
  await page.getByRole('combobox', { name: 'API checker' }).selectOption('stop at the first');
  await idle();
  await page.keyboard.press('F5');
  await expect(page.getByText(/other direction: 1 misuse, stopped there/)).toBeVisible();
  await idle();
  await chooseRun(page, 'forgets the sync');
  await expect(page.getByRole('alert').filter({ hasText: 'The API checker stopped the run' })).toBeVisible();
  await screenshot(page, 'checker-stopped');
});
