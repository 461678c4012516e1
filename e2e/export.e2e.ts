// Exports: three formats of a chart and all at once. They do not depend on the window's size or theme.
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test, bioLab, type LaunchedApp } from './app.ts';
import { expectEveryRun, makeShort } from './lab.ts';

const chart = 'map-latency';

async function exportChart(app: LaunchedApp, format: 'png' | 'svg' | 'csv', file: string): Promise<Buffer> {
  await app.answerSaveDialog(file);
  const outcome = await app.page.evaluate((request) => window.lab.exports.chart(request), { chart, format });
  expect(outcome).toEqual({ status: 'done' });
  return readFileSync(file);
}

test('a chart goes out as PNG, SVG and CSV', async ({ app }) => {
  const launched = await app.launch({ lab: bioLab });
  await makeShort(launched.page);
  await launched.page.keyboard.press('F5');
  await expectEveryRun(launched.page, 'done');
  const png = await exportChart(launched, 'png', path.join(app.folder, 'chart.png'));
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  const svg = await exportChart(launched, 'svg', path.join(app.folder, 'chart.svg'));
  expect(svg.toString()).toContain('<svg');
  const { seed, runIds } = await launched.page.evaluate(async () => {
    const { lab, runs } = await window.lab.document.current();
    return { seed: lab.seed, runIds: runs.map((run) => run.runId ?? '') };
  });
  for (const id of runIds) expect(svg.toString()).toContain(id.slice(0, 8));
  expect(svg.toString()).toContain(String(seed));
  const csv = await exportChart(launched, 'csv', path.join(app.folder, 'chart.csv'));
  expect(csv.toString().split('\n').length).toBeGreaterThan(2);
});

test('an export depends neither on the window nor on the theme', async ({ app }) => {
  const launched = await app.launch({ lab: bioLab, size: { width: 1280, height: 800 } });
  await makeShort(launched.page);
  await launched.page.keyboard.press('F5');
  await expectEveryRun(launched.page, 'done');
  const first = await exportChart(launched, 'svg', path.join(app.folder, 'a.svg'));
  await launched.page.evaluate(() => window.lab.app.setTheme('light'));
  await launched.electron.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows()[0]?.setContentSize(1600, 1000));
  await launched.idle();
  const second = await exportChart(launched, 'svg', path.join(app.folder, 'b.svg'));
  expect(second.equals(first)).toBe(true);
});

test('everything goes out at once', async ({ app }) => {
  const { page, answerOpenDialog } = await app.launch({ lab: bioLab });
  await makeShort(page);
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  const folder = path.join(app.folder, 'everything');
  mkdirSync(folder);
  await answerOpenDialog(folder);
  expect(await page.evaluate(() => window.lab.exports.all())).toEqual({ status: 'done' });
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  expect(files.some((name) => name.endsWith('summary.csv'))).toBe(true);
  for (const format of ['svg', 'png'])
    expect(files.some((name) => name.includes('charts/') && name.endsWith(`.${format}`))).toBe(true);
  expect(existsSync(folder)).toBe(true);
});
