// Runs that are under way, and runs that fail: every view says so, and why, in both themes and at both sizes.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, bioLab, screenshot, test } from './app.ts';
import { expectEveryRun, makeLong } from './lab.ts';

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)).toEqual([]);
}

for (const theme of ['dark', 'light'] as const) {
  test(`a failed run says why in every view (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: bioLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    // buffers of one GiB do not fit a memory of one GiB beside all else
    const outcome = await page.evaluate(async () => {
      const { lab } = await window.lab.document.current();
      const { blockSizeMix: _, ...workload } = lab.workloads[0] as { readonly blockSizeMix?: unknown };
      return window.lab.document.edit(
        { path: 'topology.parts[dram0].sizeGiB', value: 1 },
        { path: 'workloads[0]', value: { ...workload, blockSize: 1 << 20, queueDepth: 1023 } },
      );
    });
    expect(outcome).toEqual({ status: 'done' });
    const labels = await page.getByRole('treeitem', { name: /^(map_sg|two_step)/ }).allTextContents();
    await page.keyboard.press('F5');
    await expectEveryRun(page, 'failed');
    const bar = page.getByRole('banner', { name: 'Lab and run controls' });
    await expect(bar.getByRole('button', { name: /, failed$/ })).toHaveCount(labels.length);
    await expect(bar.getByRole('button', { name: /more$/ })).toHaveCount(0);
    await expect(page.getByRole('tabpanel', { name: 'Charts' })).toContainText('out of memory');
    for (const stage of ['Charts', 'Translation', 'Presets', 'Events', 'Faults and checker', 'Summary']) {
      await page.getByRole('tab', { name: stage }).click();
      await idle();
      await expectAccessible(page);
      await screenshot(page, `failed-${stage.toLowerCase().replaceAll(' ', '-')}-${theme}`);
    }
    await expect(page.getByRole('tabpanel', { name: 'Summary' })).toContainText('out of memory');
    await page.getByRole('tab', { name: 'Translation' }).click();
    const translation = page.getByRole('tabpanel', { name: 'Translation' });
    await expect(translation.getByRole('heading', { name: `${labels.length} runs have failed` })).toBeVisible();
    await expect(translation).toContainText('out of memory');
    await bar
      .getByRole('button', { name: /, failed$/ })
      .nth(2)
      .click();
    await expect(translation.getByRole('heading', { name: 'map_sg lazy has failed' })).toBeVisible();
    await expect(page.getByRole('region', { name: 'map_sg lazy' }).getByRole('alert')).toContainText('out of memory');
    await idle();
    await screenshot(page, `failed-selected-${theme}`);
  });
}

for (const theme of ['dark', 'light'] as const) {
  test(`while runs are under way every view can be used (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page } = await app.launch({ lab: bioLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await makeLong(page);
    await page.keyboard.press('F5');
    await expectEveryRun(page, 'running');
    for (const stage of ['Charts', 'Translation', 'Presets', 'Events', 'Faults and checker', 'Summary']) {
      await page.getByRole('tab', { name: stage }).click();
      await expectAccessible(page);
      await screenshot(page, `busy-${stage.toLowerCase().replaceAll(' ', '-')}-${theme}`);
    }
    await page.getByRole('tab', { name: 'Translation' }).click();
    await expect(page.getByRole('tabpanel', { name: 'Translation' })).toContainText('as soon as a run has ended');
    await page.getByRole('tab', { name: 'Presets' }).click();
    // an edit in the middle of a run: the run goes on, and its numbers belong to the lab of before
    const field = page.getByRole('textbox', { name: 'Table read', exact: true });
    await field.fill('130');
    await field.press('Enter');
    await expect(page.getByRole('button', { name: /^Undo/ })).toBeEnabled();
    await page.keyboard.press('Shift+F5');
    await expectEveryRun(page, 'cancelled');
    await page.getByRole('tab', { name: 'Translation' }).click();
    await expect(page.getByRole('tabpanel', { name: 'Translation' })).toContainText(
      'The lab was changed after this run',
    );
    await expectAccessible(page);
    await screenshot(page, `outdated-translation-${theme}`);
  });
}
