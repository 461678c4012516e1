// The life of a document: edited, saved, reopened, brought back after a crash, and left alone by bad input.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { bioLab, expect, screenshot, test } from './app.ts';
import { expectEveryRun, makeShort, runStates, shownSummary } from './lab.ts';

test('a saved lab is reopened with its results', async ({ app }) => {
  const file = path.join(app.folder, 'mine.iovalab');
  copyFileSync(bioLab, file);
  const first = await app.launch({ lab: file });
  await makeShort(first.page);
  await first.page.keyboard.press('F5');
  await expectEveryRun(first.page, 'done');
  await first.idle();
  const shown = await shownSummary(first.page);
  await first.page.keyboard.press('Control+S');
  await expect.poll(() => first.page.evaluate(async () => (await window.lab.document.current()).dirty)).toBe(false);
  await first.close();

  const second = await app.launch({ lab: file });
  expect((await runStates(second.page)).every((state) => state.status === 'done')).toBe(true);
  expect(await shownSummary(second.page)).toEqual(shown);
});

test('work that was not saved is offered after a crash, and restored', async ({ app }) => {
  const userDataFolder = path.join(app.folder, 'user-data-of-a-crash');
  const file = path.join(app.folder, 'crash.iovalab');
  copyFileSync(bioLab, file);
  const before = readFileSync(file);

  const first = await app.launch({ lab: file, userDataFolder });
  await first.page.evaluate(() => window.lab.document.edit({ path: 'name', value: 'Edited before the crash' }));
  await makeShort(first.page);
  await first.page.keyboard.press('F5');
  await expectEveryRun(first.page, 'done');
  const shown = await shownSummary(first.page);
  await first.idle();
  // The journal is written behind the page's back; a crash may come at any later moment.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await first.kill();
  expect(readFileSync(file).equals(before)).toBe(true);

  const second = await app.launch({ userDataFolder });
  const dialog = second.page.getByRole('dialog').or(second.page.getByRole('alertdialog')).first();
  await expect(dialog).toBeVisible();
  await screenshot(second.page, 'recovery');
  await dialog
    .getByRole('button', { name: /restore/i })
    .first()
    .click();
  await expect
    .poll(() => second.page.evaluate(async () => (await window.lab.document.current()).lab.name))
    .toBe('Edited before the crash');
  expect((await runStates(second.page)).every((state) => state.status === 'done')).toBe(true);
  await second.idle();
  expect(await shownSummary(second.page)).toEqual(shown);
});

test('a corrupt file is refused with a sentence, and the open lab stays as it was', async ({ app }) => {
  const file = path.join(app.folder, 'corrupt.iovalab');
  writeFileSync(file, readFileSync(bioLab).subarray(0, 700));
  const { page, answerOpenDialog, idle } = await app.launch({ lab: bioLab });
  const before = await page.evaluate(() => window.lab.document.current());
  await answerOpenDialog(file);
  await page.keyboard.press('Control+O');
  await expect(page.getByText(/corrupt\.iovalab/).first()).toBeVisible();
  await idle();
  await screenshot(page, 'error');
  expect(await page.evaluate(() => window.lab.document.current())).toEqual(before);
});

test('a value out of range is refused, and says where', async ({ app }) => {
  const { page } = await app.launch({ lab: bioLab });
  const outcome = await page.evaluate(() => window.lab.document.edit({ path: 'workloads[0].blockSize', value: -1 }));
  expect(outcome.status === 'failed' ? outcome.error.message : outcome.status).toContain('blockSize');
});
