// A preset out of a measured curve: three figures, what they give, one edit; and the presets of a socket's cache. All by keyboard.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, firstRunLab, screenshot, test } from './app.ts';

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)).toEqual([]);
}

const document = (page: Page) => page.evaluate(async () => (await window.lab.document.current()).lab);

for (const theme of ['dark', 'light'] as const) {
  test(`K, m and b make a preset, which one undo takes back (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: firstRunLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    const before = await document(page);
    await page.keyboard.press('Control+6');
    const hardware = page.getByRole('region', { name: /^What .* is like$/ });
    await hardware.getByRole('button', { name: 'From a measured curve…' }).press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Preset from a measured curve' });
    const field = (name: string) => dialog.getByRole('textbox', { name, exact: true });
    await expect(field('K, entries')).toBeFocused();
    await expect(dialog.getByRole('region', { name: 'What the figures give' })).toContainText('Write K, m and b');
    await idle();
    await expectAccessible(page);
    await screenshot(page, `curve-empty-${theme}`);

    await page.keyboard.type('64');
    await page.keyboard.press('Tab');
    await page.keyboard.type('many');
    await page.keyboard.press('Tab');
    await page.keyboard.type('20');
    await page.keyboard.press('Enter');
    await expect(dialog.getByRole('alert')).toHaveCount(2);
    await expect(field('m, miss adds')).toBeFocused();
    await expect(field('m, miss adds')).toHaveAccessibleDescription(/Write a number/);
    await expect(field('b, base')).toHaveAccessibleDescription(/less than link, root complex and adapter take/);
    await expectAccessible(page);
    await screenshot(page, `curve-refused-${theme}`);

    await field('m, miss adds').fill('330');
    await field('b, base').fill('550');
    const preview = dialog.getByRole('table', { name: 'What the figures give' });
    await expect(preview.getByRole('row', { name: /^IOTLB, 4 KiB pages/ })).toContainText(/128.*64.*derived/);
    await expect(preview.getByRole('row', { name: /^Walk overhead/ })).toContainText('derived');
    await expectAccessible(page);
    await screenshot(page, `curve-${theme}`);
    await field('Name').fill('Our server');
    await field('Name').press('Enter');
    await expect(dialog).toHaveCount(0);
    const chosen = hardware.getByRole('radio', { name: /^Our server/ });
    await expect(chosen).toBeChecked();
    await expect(chosen).toHaveAccessibleDescription(/K 64, m 330 ns, b 550 ns/);
    await expect(page.getByRole('contentinfo')).toContainText('Our server (K 64, m 330 ns, b 550 ns)');
    const rootComplex = page
      .getByRole('row')
      .filter({ has: page.getByRole('textbox', { name: 'Root complex', exact: true }) });
    await expect(rootComplex).toContainText('a measured latency curve');
    await idle();
    await expectAccessible(page);
    await screenshot(page, `presets-curve-${theme}`);

    await page.getByRole('button', { name: /^Undo/ }).click();
    await expect(chosen).toHaveCount(0);
    expect(await document(page)).toEqual(before);
    await page.getByRole('button', { name: /^Redo/ }).click();
    await expect(chosen).toBeChecked();
    // another preset takes the costs of the curve away as well
    await hardware.getByRole('radio', { name: /^Intel, Sandy Bridge/ }).check();
    await expect(chosen).toHaveCount(0);
    expect((await document(page)).costs.overrides).toEqual({});
  });
}

test('the inspector of an IOMMU says which preset it has, and leads to it and to a measured curve', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: firstRunLab, size: { width: 1280, height: 800 } });
  await page.getByRole('treeitem', { name: /^IOMMU/ }).click();
  const inspector = page.getByRole('region', { name: 'IOMMU (VT-d)', exact: true });
  await expect(inspector).toContainText('Intel, Sandy Bridge to Broadwell');
  await expect(inspector).toContainText('nothing');
  await page.evaluate(() => window.lab.document.edit({ path: 'topology.parts[iommu0].walkers', value: 2 }));
  await expect(inspector).toContainText(/1 of \d+ values/);
  await idle();
  await screenshot(page, 'inspector-preset');
  await inspector.getByRole('button', { name: 'From a measured curve…' }).press('Enter');
  await expect(page.getByRole('dialog', { name: 'Preset from a measured curve' })).toBeVisible();
  await page.keyboard.press('Escape');
  await inspector.getByRole('button', { name: 'Choose and edit its preset' }).press('Enter');
  await expect(page.getByRole('heading', { name: 'What IOMMU (VT-d) is like' })).toBeFocused();
});

for (const theme of ['dark', 'light'] as const) {
  test(`a socket gets a last-level cache, and sections are jumped to (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: firstRunLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.keyboard.press('Control+6');
    const sections = page.getByRole('navigation', { name: 'Sections of the presets' });
    await sections.getByRole('button', { name: 'Cache of Socket 0' }).press('Enter');
    const socket = page.getByRole('region', { name: 'Last-level cache of Socket 0' });
    await expect(socket.getByRole('heading')).toBeFocused();
    await expect(socket.getByRole('radio', { name: /^No cache/ })).toBeChecked();
    await socket.getByRole('radio', { name: /^Server with DDIO off/ }).check();
    const part = async () => (await document(page)).topology.parts.find(({ kind }) => kind === 'socket');
    await expect.poll(part).toMatchObject({ lastLevelCache: { sizeMiB: 24, ways: 11, deviceWays: 0 } });
    await socket.getByRole('textbox', { name: 'Ways', exact: true }).fill('16');
    await page.keyboard.press('Enter');
    await expect(socket.getByText('changed in this lab')).toHaveCount(1);
    await idle();
    await expectAccessible(page);
    await screenshot(page, `presets-socket-${theme}`);
    await page.getByRole('button', { name: /^Undo/ }).click();
    await page.getByRole('button', { name: /^Undo/ }).click();
    await expect(socket.getByRole('radio', { name: /^No cache/ })).toBeChecked();
    await sections.getByRole('button', { name: 'DMA API' }).click();
    await expect(page.getByRole('heading', { name: 'DMA API of the kernel' })).toBeInViewport();
    await expect(sections.getByRole('button', { name: 'DMA API' })).toHaveAttribute('aria-current', 'location');
    await screenshot(page, `presets-kernel-${theme}`);
    await page
      .getByRole('button', { name: /^recorded kernels/ })
      .first()
      .click();
    await expect(page.getByText('instructions that real kernels executed for each call')).toBeInViewport();
    await idle();
    await screenshot(page, `presets-references-${theme}`);
  });
}
