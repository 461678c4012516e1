// The window in each of its states, themes and sizes: accessible, and pictured for people to look at.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, firstRunLab, screenshot, test } from './app.ts';
import { expectEveryRun } from './lab.ts';

async function expectAccessible(page: Page): Promise<void> {
  // Electron has no Target.createTarget, which the other mode needs.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)).toEqual([]);
}

const sizes = [
  { width: 1280, height: 800 },
  { width: 1600, height: 1000 },
];
const stages = ['Topology', 'Workload', 'Events', 'Faults and checker', 'Summary', 'Presets', 'Translation', 'Charts'];

for (const theme of ['dark', 'light'] as const) {
  for (const size of sizes) {
    test(`no accessibility violations: ${theme}, ${size.width}x${size.height}, every stage, before and after a run`, async ({
      app,
    }) => {
      const { page, idle } = await app.launch({ lab: firstRunLab, size });
      await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
      await idle();
      await expectAccessible(page);
      await screenshot(page, `idle-${theme}-${size.width}`);
      // Nothing to read yet: the panel leaves the room to the stage, and takes it when there is.
      const panel = page.getByRole('region', { name: 'Results' });
      expect((await panel.boundingBox())?.height ?? 0).toBeLessThan(0.2 * size.height);
      await page.keyboard.press('F5');
      await expectEveryRun(page, 'done');
      await idle();
      expect((await panel.boundingBox())?.height ?? 0).toBeGreaterThan(0.25 * size.height);
      // All four runs have room in the bar, with their states.
      const bar = page.getByRole('banner', { name: 'Lab and run controls' });
      await expect(bar.getByRole('button', { name: /, done$/ })).toHaveCount(4);
      await expect(bar.getByRole('button', { name: /more$/ })).toHaveCount(0);
      for (const stage of stages) {
        await page.getByRole('tab', { name: stage }).click();
        await idle();
        await expectAccessible(page);
        await screenshot(page, `done-${stage.toLowerCase().replaceAll(' ', '-')}-${theme}-${size.width}`);
        if (stage === 'Charts' && theme === 'dark' && size.width === 1600) await screenshot(page, 'first-run');
      }
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(overflow).toBe(0);
    });
  }
}

test('the palette finds a command by its name and runs it', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: firstRunLab });
  await page.keyboard.press('Control+Shift+P');
  const palette = page.getByRole('dialog');
  await expect(palette).toBeVisible();
  await expectAccessible(page);
  await screenshot(page, 'palette');
  await page.keyboard.type('show comparison');
  await page.keyboard.press('Enter');
  await idle();
  await expect(page.getByRole('tab', { name: 'Summary' })).toHaveAttribute('aria-selected', 'true');
});
