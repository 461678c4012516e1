// Presets: chosen by title, each parameter with value, unit, range, source and mark, edited, marked as edited, put back, undone.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, firstRunLab, screenshot, test } from './app.ts';
import { runOnCommandLine } from './lab.ts';

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)).toEqual([]);
}

const overrides = (page: Page): Promise<Record<string, number>> =>
  page.evaluate(async () => (await window.lab.document.current()).lab.costs.overrides);

for (const theme of ['dark', 'light'] as const) {
  test(`cost presets are chosen and edited, and every edit can be undone (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: firstRunLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.getByRole('tab', { name: 'Presets' }).click();
    await idle();
    const costs = page.getByRole('region', { name: 'What everything costs' });
    const presets = costs.getByRole('radiogroup', { name: 'What everything costs' });
    await expect(presets.getByRole('radio', { name: /^Recorded instructions/ })).toBeChecked();
    const read = costs.getByRole('row').filter({ has: page.getByRole('textbox', { name: 'Table read', exact: true }) });
    await expect(read).toContainText('50 – 200');
    await expect(read).toContainText('derived');
    await expect(read).toContainText('Source: pcie-bench');

    const field = read.getByRole('textbox');
    await field.fill('seventy');
    await field.press('Enter');
    await expect(read.getByRole('alert')).toContainText('Write a number');
    await field.fill('130');
    await field.press('Enter');
    await expect(read).toContainText('changed in this lab');
    expect(await overrides(page)).toEqual({ tableRead: 130 });
    await field.fill('250');
    await field.press('Enter');
    await expect(read).toContainText('outside the published range');
    await page.getByRole('checkbox', { name: 'Changed only (1)' }).first().check();
    await idle();
    await expectAccessible(page);
    await screenshot(page, `presets-changed-${theme}`);
    // What has nothing changed steps aside.
    await expect(page.getByRole('textbox', { name: 'Table read', exact: true })).toBeVisible();
    await expect(page.getByRole('region', { name: /^What IOMMU .* is like$/ })).toHaveCount(0);
    await page.getByRole('searchbox', { name: 'Find a parameter' }).fill('nonsense');
    await expect(page.getByRole('status').filter({ hasText: 'No parameter fits.' })).toBeVisible();
    await page.getByRole('searchbox', { name: 'Find a parameter' }).fill('');
    await page.getByRole('checkbox', { name: 'Changed only (1)' }).first().uncheck();

    await read.getByRole('button', { name: 'Table read: back to 75' }).click();
    await expect(field).toHaveValue('75');
    expect(await overrides(page)).toEqual({});
    await page.getByRole('button', { name: /^Undo/ }).click();
    await expect(field).toHaveValue('250');
    await page.getByRole('button', { name: /^Undo/ }).click();
    await expect(field).toHaveValue('130');

    await presets.getByRole('radio', { name: /^Published/ }).check();
    await idle();
    const chosen = await page.evaluate(async () => (await window.lab.document.current()).lab.costs.preset);
    expect(chosen).toBe('published');
    await expect(page.getByRole('contentinfo')).toContainText('published');
    await expectAccessible(page);
    await screenshot(page, `presets-${theme}`);
  });
}

for (const theme of ['dark', 'light'] as const) {
  test(`a hardware preset is chosen and edited, and names the charts (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: firstRunLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.getByRole('tab', { name: 'Presets' }).click();
    const hardware = page.getByRole('region', { name: /^What .* is like$/ });
    const presets = hardware.getByRole('radiogroup');
    await expect(presets.getByRole('radio', { name: /^Intel, Sandy Bridge/ })).toBeChecked();
    await presets.getByRole('radio', { name: /^AMD EPYC/ }).check();
    await idle();
    const iommu = () =>
      page.evaluate(async () => {
        const { lab } = await window.lab.document.current();
        return lab.topology.parts.find(({ kind }) => kind === 'iommu');
      });
    expect(await iommu()).toMatchObject({ preset: 'amd-zen', vendor: 'amd' });
    await hardware.scrollIntoViewIfNeeded();
    await expectAccessible(page);
    await screenshot(page, `presets-hardware-${theme}`);

    const entries = hardware.getByRole('textbox', { name: 'IOTLB, 4 KiB pages' });
    const preset = Number(await entries.inputValue());
    await entries.fill('70000');
    await entries.press('Enter');
    await expect(hardware.getByRole('alert')).toContainText('Write a whole number from 1 to 65536');
    await entries.fill('64');
    await entries.press('Enter');
    expect(await iommu()).toMatchObject({ preset: 'amd-zen', iotlbEntries4K: 64 });
    await expect(hardware.getByText('changed in this lab')).toHaveCount(1);
    await page.keyboard.press('F5');
    await expect(page.getByText('costs: default · hardware: amd-zen, 1 changed').first()).toBeVisible();
    await page.getByRole('tab', { name: 'Presets' }).click();
    await hardware.getByRole('button', { name: `IOTLB, 4 KiB pages: back to ${preset}` }).click();
    await expect(entries).toHaveValue(String(preset));
    await page.getByRole('button', { name: /^Undo/ }).click();
    await page.getByRole('button', { name: /^Undo/ }).click();
    await page.getByRole('button', { name: /^Undo/ }).click();
    await expect(presets.getByRole('radio', { name: /^Intel, Sandy Bridge/ })).toBeChecked();
  });
}

test('a changed cost makes the run that the command line makes with it', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: firstRunLab });
  await page.keyboard.press('Control+6');
  const field = page.getByRole('textbox', { name: 'Table read', exact: true });
  await field.fill('130');
  await field.press('Enter');
  await idle();
  await page.keyboard.press('F5');
  await expect
    .poll(
      () =>
        page.evaluate(async () => (await window.lab.document.current()).runs.every(({ status }) => status === 'done')),
      {
        timeout: 40_000,
      },
    )
    .toBe(true);
  const shown = await page.evaluate(async () => (await window.lab.document.current()).runs.map(({ runId }) => runId));
  const printed = await runOnCommandLine(['run', firstRunLab, '--set', 'costs.overrides.tableRead=130', '--json']);
  for (const id of shown) expect(printed).toContain(String(id));
});
