// Translation at a moment of a finished run: the walk of an address and what the caches hold, as the command line says it.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, firstRunLab, screenshot, test } from './app.ts';
import { expectEveryRun, runOnCommandLine } from './lab.ts';

const MOMENT = '1 ms';

interface PrintedWalk {
  readonly walk: {
    readonly caches: readonly { readonly cache: string; readonly answer: string; readonly note: string }[];
    readonly entries: readonly {
      readonly number: number;
      readonly address: string;
      readonly bits: string;
      readonly fields: readonly { readonly name: string; readonly meaning: string }[];
    }[];
    readonly steps: readonly { readonly title: string }[];
    readonly outcome: { readonly kind: string };
  };
}

interface PrintedCaches {
  readonly caches: readonly {
    readonly title: string;
    readonly sets: number;
    readonly ways: number;
    readonly hits: number;
    readonly evictions: number;
    readonly held: readonly { readonly set: number; readonly firstPage: number; readonly uses: number }[];
  }[];
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)).toEqual([]);
}

async function printed<Printed>(column: string, ...asked: string[]): Promise<Printed> {
  const args = ['inspect', firstRunLab, '--run', column, '--at', MOMENT, '--json', ...asked];
  return JSON.parse(await runOnCommandLine(args)) as Printed;
}

async function columnId(page: Page): Promise<string> {
  return page.evaluate(async () => (await window.lab.document.current()).lab.comparison[0]?.id ?? '');
}

async function showMoment(page: Page): Promise<void> {
  const stage = page.getByRole('region', { name: 'Translation' });
  for (const label of ['Moment', 'Exact moment']) await expect(stage.getByText(label, { exact: true })).toBeVisible();
  await stage.getByRole('textbox', { name: 'Exact moment' }).fill(MOMENT);
  await stage.getByRole('button', { name: 'Show', exact: true }).click();
}

async function walkTo(page: Page, iova: string): Promise<void> {
  const view = page.getByRole('region', { name: 'Page walk' });
  await view.getByRole('textbox', { name: 'IOVA' }).fill(iova);
  await view.getByRole('button', { name: 'Walk' }).click();
}

for (const theme of ['dark', 'light'] as const) {
  test(`a page walk shows each level, the caches on the way and what each step takes (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: firstRunLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.keyboard.press('F5');
    await expectEveryRun(page, 'done');
    await page.getByRole('tab', { name: 'Translation' }).click();
    await showMoment(page);
    await idle();
    const column = await columnId(page);
    const { caches } = await printed<PrintedCaches>(column, '--iotlb');
    const known = `0x${((caches[0]?.held[0]?.firstPage ?? 0) * 4096 + 0x123).toString(16)}`;
    const view = page.getByRole('region', { name: 'Page walk' });
    for (const [iova, name] of [
      [known, 'cached'],
      ['0x1000', 'refused'],
    ] as const) {
      await walkTo(page, iova);
      const { walk } = await printed<PrintedWalk>(column, '--walk', iova);
      await expect(view.getByRole('status')).toContainText(iova);
      const answers = view.getByRole('list', { name: 'Caches on the way' }).getByRole('listitem');
      await expect(answers).toHaveCount(walk.caches.length);
      for (const [index, { cache, answer, note }] of walk.caches.entries()) {
        for (const words of [cache, answer, note]) await expect(answers.nth(index)).toContainText(words);
      }
      const levels = view.getByRole('list', { name: 'Tables on the way' }).getByRole('listitem');
      await expect(levels).toHaveCount(walk.entries.length);
      for (const [index, { number, address, bits, fields }] of walk.entries.entries()) {
        for (const words of [`Level ${number}`, address, bits]) {
          await expect(levels.nth(index)).toContainText(words);
        }
        for (const { meaning } of fields) await expect(levels.nth(index)).toContainText(meaning);
        for (const cell of await levels.nth(index).locator('tbody td:last-child').allTextContents()) {
          expect(cell.trim()).not.toBe('');
        }
      }
      const steps = view.getByRole('table', { name: 'What it takes' }).getByRole('rowheader');
      await expect(steps).toHaveText([...walk.steps.map(({ title }) => title), 'In all']);
      await expectAccessible(page);
      await screenshot(page, `walk-${name}-${theme}`);
    }
    await walkTo(page, 'somewhere');
    await expect(view.getByRole('alert')).toContainText('hexadecimal digits');
  });

  test(`the IOTLB shows its sets and ways, and every entry in words (${theme})`, async ({ app }) => {
    const size = theme === 'dark' ? { width: 1280, height: 800 } : { width: 1600, height: 1000 };
    const { page, idle } = await app.launch({ lab: firstRunLab, size });
    await page.evaluate((choice) => window.lab.app.setTheme(choice), theme);
    await page.keyboard.press('F5');
    await expectEveryRun(page, 'done');
    await page.keyboard.press('Control+5');
    await showMoment(page);
    await idle();
    const { caches } = await printed<PrintedCaches>(await columnId(page), '--iotlb');
    const view = page.getByRole('region', { name: 'Translation caches' });
    for (const { title, sets, ways, held, hits, evictions } of caches) {
      const choice = view.getByRole('button', { name: `${title}: ${held.length} of ${sets * ways} held` });
      await choice.click();
      await expect(choice).toHaveAttribute('aria-pressed', 'true');
      const sum = title.startsWith('IOTLB') ? `${hits} lookups found, ${evictions} evicted` : `${evictions} evicted`;
      await expect(view.getByText(sum)).toBeVisible();
      await expect(view.getByRole('table', { name: `Entries of ${title}` })).toHaveAttribute(
        'aria-rowcount',
        String(held.length + 1),
      );
    }
    const [first] = caches;
    await view.getByRole('button', { name: new RegExp(`^${first?.title ?? ''}:`) }).click();
    const grid = view.getByRole('grid', { name: `Sets and ways of ${first?.title ?? ''}` });
    await grid.getByRole('button').first().focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    const table = view.getByRole('table', { name: `Entries of ${first?.title ?? ''}` });
    const inCell = first?.held.find(({ set }) => set === 2);
    await expect(table).toHaveAttribute('aria-rowcount', '2');
    const address = `0x${((inCell?.firstPage ?? 0) * 4096).toString(16)}`;
    await expect(table.getByRole('row').nth(1)).toContainText(address);
    await view.getByRole('combobox', { name: 'Colour by' }).selectOption('Age');
    // Colour is never alone: each step has a height and says its ages.
    const legend = view.getByRole('list', { name: 'Legend: Age' }).getByRole('listitem');
    await expect(legend.first()).toHaveText('Age');
    await expect(legend.last()).toHaveText('empty');
    await expect(legend.nth(1)).toContainText(/\d.*s$/);
    for (const axis of ['Set', 'Way']) await expect(view.getByText(new RegExp(`^${axis} [→↓]$`))).toBeVisible();
    await expectAccessible(page);
    await screenshot(page, `iotlb-${theme}`);
    await table.getByRole('button', { name: address }).click();
    await expect(page.getByRole('region', { name: 'Page walk' }).getByRole('status')).toContainText(address);
  });
}

test('a range of the IOVA space leads to its walk', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: firstRunLab });
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  await page.getByRole('navigation', { name: 'Outline' }).getByRole('treeitem', { name: /done$/ }).first().click();
  const space = page.getByRole('region', { name: 'IOVA space' });
  await space.getByRole('textbox', { name: 'Exact moment' }).fill(MOMENT);
  await space.getByRole('button', { name: 'Show', exact: true }).click();
  await idle();
  const walk = space.getByRole('button', { name: /^Page walk of 0x/ }).nth(2);
  const address = ((await walk.getAttribute('aria-label')) ?? '').replace('Page walk of ', '');
  await walk.click();
  const view = page.getByRole('region', { name: 'Page walk' });
  await expect(view.getByRole('textbox', { name: 'IOVA' })).toHaveValue(address);
  await expect(view.getByRole('status')).toContainText(`read of ${address}`);
  await screenshot(page, 'walk-from-range');
});
