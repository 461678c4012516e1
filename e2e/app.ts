// Launching the built app for a test: its own user data folder, a wait for the idle signal, answers to native dialogs, and a test
// that fails when the page or the main process complained. Everything else a test does by role and name, as a user would.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test as base, _electron, expect, type ElectronApplication, type Page } from '@playwright/test';
import type {} from '../electron/ipc/api.ts';
import { resolveRuntime } from '../scripts/electronRuntime.mjs';
import { isRoot, root } from '../scripts/process.mjs';

export const firstRunLab = path.join(root, 'fixtures/labs/first-run.iovalab');
export const bioLab = path.join(root, 'fixtures/labs/bio.iovalab');

const closeLimitMs = 15_000;

export interface LaunchOptions {
  readonly lab?: string;
  /** Kept over two launches by the tests of recovery; otherwise each launch has a new one. */
  readonly userDataFolder?: string;
  readonly size?: { readonly width: number; readonly height: number };
}

export interface LaunchedApp {
  readonly electron: ElectronApplication;
  readonly page: Page;
  /** Console lines of level warning and error, and uncaught errors of the page. */
  readonly complaints: string[];
  /** The next save dialog is answered with this file, without showing. */
  readonly answerSaveDialog: (file: string) => Promise<void>;
  readonly answerOpenDialog: (file: string) => Promise<void>;
  /** Answers the next message boxes with the button of this name. */
  readonly answerMessageBox: (button: string) => Promise<void>;
  readonly idle: () => Promise<void>;
  readonly close: () => Promise<void>;
  /** As a crash: nothing of the app gets to say goodbye. */
  readonly kill: () => Promise<void>;
}

interface Launcher {
  launch(options?: LaunchOptions): Promise<LaunchedApp>;
  /** A folder of this test alone. */
  folder: string;
}

async function executable(): Promise<string> {
  const given = process.env['LAB_ELECTRON'];
  return given !== undefined && given !== '' ? given : (await resolveRuntime()).executable;
}

/** The idle signal of the page: no request, layout or paint is under way (renderer/shell/busy.ts). */
async function waitForIdle(page: Page): Promise<void> {
  await page.waitForFunction(() => document.documentElement.dataset['idle'] === 'true');
}

async function launch(options: LaunchOptions, folder: string): Promise<LaunchedApp> {
  const electron = await _electron.launch({
    executablePath: await executable(),
    args: [
      root,
      `--user-data-dir=${options.userDataFolder ?? mkdtempSync(path.join(folder, 'user-data-'))}`,
      // Chromium cannot keep its sandbox as root; sandbox.e2e.ts tests it as another user.
      ...(isRoot ? ['--no-sandbox'] : []),
      ...(options.lab === undefined ? [] : [options.lab]),
    ],
    cwd: folder,
    chromiumSandbox: !isRoot,
  });
  const complaints: string[] = [];
  const page = await electron.firstWindow();
  page.on('console', (message) => {
    if (message.type() === 'warning' || message.type() === 'error')
      complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.stack ?? error.message}`));
  if (options.size !== undefined) {
    await electron.evaluate(({ BrowserWindow }, size) => {
      BrowserWindow.getAllWindows()[0]?.setContentSize(size.width, size.height);
    }, options.size);
  }
  await waitForIdle(page);

  let ended = false;
  const ending = electron.waitForEvent('close', { timeout: 0 }).then(() => {
    ended = true;
  });
  ending.catch(() => undefined);
  return {
    electron,
    page,
    complaints,
    answerSaveDialog: (file) =>
      electron.evaluate(({ dialog }, filePath) => {
        dialog.showSaveDialog = () => Promise.resolve({ canceled: false, filePath });
      }, file),
    answerOpenDialog: (file) =>
      electron.evaluate(({ dialog }, filePath) => {
        dialog.showOpenDialog = () => Promise.resolve({ canceled: false, filePaths: [filePath] });
      }, file),
    answerMessageBox: (button) =>
      electron.evaluate(({ dialog }, name) => {
        dialog.showMessageBox = (...given: unknown[]) => {
          const asked = given.at(-1) as { buttons?: string[] };
          const response = (asked.buttons ?? []).findIndex((label) => label.replace('&', '') === name);
          if (response < 0) throw new Error(`no button ${name} among ${(asked.buttons ?? []).join(', ')}`);
          return Promise.resolve({ response, checkboxChecked: false });
        };
      }, button),
    idle: () => waitForIdle(page),
    close: async () => {
      if (ended) return;
      const hung = setTimeout(() => electron.process().kill('SIGKILL'), closeLimitMs);
      const start = performance.now();
      await electron.close();
      clearTimeout(hung);
      // An app that does not quit when it is told to is a fault, and must not take the following tests with it.
      expect(performance.now() - start).toBeLessThan(closeLimitMs);
    },
    kill: async () => {
      electron.process().kill('SIGKILL');
      await ending;
    },
  };
}

/** `app.launch()` starts the app; whatever it launched is ended after the test, and must not have complained. */
export const test = base.extend<{ app: Launcher }>({
  // `playwright` is not used: a fixture has to name what it needs by destructuring, and needing nothing is no pattern.
  app: async ({ playwright: _ }, use) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'iova-lab-e2e-'));
    const launched: LaunchedApp[] = [];
    await use({
      folder,
      launch: async (options = {}) => {
        const app = await launch(options, folder);
        launched.push(app);
        return app;
      },
    });
    for (const app of launched) {
      // An unsaved lab would ask whether to leave.
      await app.answerMessageBox('Discard').catch(() => undefined);
      await app.close();
    }
    rmSync(folder, { recursive: true, force: true });
    expect(launched.flatMap((app) => app.complaints)).toEqual([]);
  },
});

export { expect };

/** Screenshots are for people to look at; the README takes its picture from here when asked. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const folder = path.join(root, 'test-results/screenshots');
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
  if (process.env['LAB_README_SCREENSHOT'] === name) {
    mkdirSync(path.join(root, 'docs/images'), { recursive: true });
    await page.screenshot({ path: path.join(root, `docs/images/${name}.png`) });
  }
}
