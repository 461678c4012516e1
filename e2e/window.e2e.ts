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
