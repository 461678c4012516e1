// The window itself: it opens, and the page in it has none of the powers of the desktop.
import { expect, test } from './app.ts';

test('the window opens with the name of the app', async ({ app }) => {
  const { page } = await app.launch();
  await expect(page).toHaveTitle(/IOVA Lab/);
});

test('the page has no Node and no Electron', async ({ app }) => {
  const { page } = await app.launch();
  const found = await page.evaluate(() =>
    ['require', 'process', 'module', 'Buffer', 'electron', '__dirname'].filter((name) => name in globalThis),
  );
  expect(found).toEqual([]);
  expect(new URL(page.url()).protocol).toBe('lab:');
});

test('the app asks for nothing outside itself', async ({ app }) => {
  const { page, electron, idle } = await app.launch();
  const requested: string[] = [];
  page.on('request', (request) => requested.push(new URL(request.url()).protocol));
  await page.reload();
  await idle();
  expect([...new Set(requested)].filter((protocol) => !['lab:', 'data:', 'blob:'].includes(protocol))).toEqual([]);
  const windows = await electron.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows().length);
  expect(windows).toBe(1);
});

test('the page can neither navigate away nor open a window', async ({ app }) => {
  const { page, electron } = await app.launch();
  const before = page.url();
  await page.evaluate(() => {
    window.open('https://example.com');
    window.location.href = 'https://example.com';
  });
  await page.waitForTimeout(200);
  expect(page.url()).toBe(before);
  expect(await electron.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows().length)).toBe(1);
});
