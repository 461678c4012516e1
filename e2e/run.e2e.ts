// The main job in the real window: the first-run lab is opened and run, and shows what the command line prints.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import yauzl from 'yauzl';
import { bioLab, expect, firstRunLab, screenshot, test } from './app.ts';
import {
  expectEveryRun,
  makeLong,
  makeShort,
  printedSummary,
  runOnCommandLine,
  runStates,
  shownSummary,
} from './lab.ts';

/** Entries of a lab file, inflated. */
function entriesOf(file: string): Promise<ReadonlyMap<string, Buffer>> {
  return new Promise((resolve, reject) => {
    yauzl.fromBuffer(readFileSync(file), { lazyEntries: true }, (error, zip) => {
      if (error !== null) {
        reject(error);
        return;
      }
      const entries = new Map<string, Buffer>();
      zip.on('entry', (entry: yauzl.Entry) => {
        zip.openReadStream(entry, (failed, stream) => {
          if (failed !== null) {
            reject(failed);
            return;
          }
          const chunks: Buffer[] = [];
          stream.on('data', (chunk: Buffer) => chunks.push(chunk));
          stream.on('end', () => {
            entries.set(entry.fileName, Buffer.concat(chunks));
            zip.readEntry();
          });
        });
      });
      zip.on('end', () => {
        resolve(entries);
      });
      zip.readEntry();
    });
  });
}

test('the first-run lab opens from the command line of the app, and shows four runs to come', async ({ app }) => {
  const { page } = await app.launch({ lab: firstRunLab });
  const states = await runStates(page);
  expect(states.map((state) => state.status)).toEqual(['idle', 'idle', 'idle', 'idle']);
  await screenshot(page, 'empty');
});

test('the window shows the numbers that the command line prints, and the file that it saves is the same', async ({
  app,
}) => {
  const { page, answerSaveDialog, idle } = await app.launch({ lab: firstRunLab });
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  await idle();
  const shown = await shownSummary(page);

  const folder = path.join(app.folder, 'by-command-line');
  const printed = printedSummary(await runOnCommandLine(['run', firstRunLab, '--out', folder]), Object.keys(shown));
  expect(Object.keys(shown).length).toBeGreaterThan(12);
  expect(printed).toEqual(shown);

  const saved = path.join(app.folder, 'saved.iovalab');
  await answerSaveDialog(saved);
  await page.keyboard.press('Control+Shift+S');
  await expect
    .poll(() => page.evaluate(async () => (await window.lab.document.current()).fileName))
    .toBe('saved.iovalab');
  await idle();
  const [inApp, onCommandLine] = await Promise.all([
    entriesOf(saved),
    entriesOf(path.join(folder, 'first-run.iovalab')),
  ]);
  const runs = (entries: ReadonlyMap<string, Buffer>): string[] =>
    [...entries.keys()].filter((name) => name.startsWith('runs/'));
  expect(runs(inApp).length).toBeGreaterThan(0);
  expect(runs(inApp).sort()).toEqual(runs(onCommandLine).sort());
  for (const name of runs(inApp))
    expect(inApp.get(name)?.equals(onCommandLine.get(name) ?? Buffer.of()), name).toBe(true);
});

test('two runs in the app give the same numbers', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: bioLab });
  await makeShort(page);
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  await idle();
  const first = await shownSummary(page);
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'done');
  await idle();
  expect(await shownSummary(page)).toEqual(first);
});

test('a run pauses, stands still, resumes, and is cancelled at once with its part kept', async ({ app }) => {
  const { page, idle } = await app.launch({ lab: bioLab });
  await makeLong(page);
  await page.keyboard.press('F5');
  await expectEveryRun(page, 'running');
  await expect.poll(async () => (await runStates(page)).every((state) => state.completed > 0)).toBe(true);
  await screenshot(page, 'running');

  await page.keyboard.press('F6');
  await expectEveryRun(page, 'paused');
  const paused = await runStates(page);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(await runStates(page)).toEqual(paused);

  await page.keyboard.press('F7');
  await expectEveryRun(page, 'running');
  const sum = (states: readonly { completed: number }[]): number =>
    states.reduce((total, { completed }) => total + completed, 0);
  await expect.poll(async () => sum(await runStates(page))).toBeGreaterThan(sum(paused));

  // Measured by what the page is told, since asking again and again would slow down what is measured.
  const milliseconds = await page.evaluate(async () => {
    const { runs } = await window.lab.document.current();
    const left = new Set(runs.map((run) => run.comparisonId));
    return new Promise<number>((resolve) => {
      const start = performance.now();
      const stop = window.lab.events.onRunState((_session, run) => {
        if (run.status === 'cancelled') left.delete(run.comparisonId);
        if (left.size > 0) return;
        stop();
        resolve(performance.now() - start);
      });
      for (const id of [...left]) void window.lab.runs.cancel(id);
    });
  });
  // The aim is 200 ms. A figure, not a verdict: how long it takes on a busy machine says little about the app.
  test.info().annotations.push({ type: 'cancelled after', description: `${Math.round(milliseconds)} ms` });
  const states = await runStates(page);
  expect(states.every((state) => state.partial && state.completed > 0)).toBe(true);
  await idle();
  await expect(page.getByText(/partial/i).first()).toBeVisible();
  await screenshot(page, 'cancelled');
});
