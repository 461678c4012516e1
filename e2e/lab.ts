// What several end-to-end tests ask of a running app: states of its runs, and the summary as it stands in the window.
import type { Page } from '@playwright/test';
import { run } from '../scripts/process.mjs';
import { expect } from './app.ts';

export interface ShownRun {
  readonly id: string;
  readonly status: string;
  readonly completed: number;
  readonly partial: boolean;
}

export const runStates = (page: Page): Promise<ShownRun[]> =>
  page.evaluate(async () => {
    const { runs } = await window.lab.document.current();
    return runs.map(({ comparisonId, status, progress, partial }) => ({
      id: comparisonId,
      status,
      completed: progress?.completed ?? 0,
      partial,
    }));
  });

export async function expectEveryRun(page: Page, status: string, timeout = 40_000): Promise<void> {
  await expect
    .poll(async () => [...new Set((await runStates(page)).map((state) => state.status))], {
      timeout,
      intervals: [50, 100, 250],
    })
    .toEqual([status]);
}

async function setIoCount(page: Page, value: number): Promise<void> {
  const outcome = await page.evaluate(
    (count) => window.lab.document.edit({ path: 'workloads[0].ioCount', value: count }),
    value,
  );
  expect(outcome).toEqual({ status: 'done' });
}

/** Two runs much longer than a test, so that there is time to press buttons, on two cores too. */
export async function makeLong(page: Page): Promise<void> {
  await setIoCount(page, 5_000_000);
  const outcome = await page.evaluate(async () => {
    const { lab } = await window.lab.document.current();
    return window.lab.document.edit({ path: 'comparison', value: lab.comparison.slice(0, 2) });
  });
  expect(outcome).toEqual({ status: 'done' });
}

/** A run of a moment, where the test is about what comes after. */
export const makeShort = (page: Page): Promise<void> => setIoCount(page, 500);

export type SummaryTable = Record<string, string[]>;

/** Row label to values, one a run, without the marks and differences that the window adds. */
export async function shownSummary(page: Page): Promise<SummaryTable> {
  const tab = page.getByRole('tab', { name: 'Summary' });
  if ((await tab.count()) > 0) await tab.click();
  const table = page.getByRole('table', { name: /summary/i }).first();
  await expect(table).toBeVisible();
  const rows = await table.locator('tbody tr').evaluateAll((found) =>
    found.map((row) => ({
      label: row.querySelector('th')?.textContent ?? '',
      cells: [...row.querySelectorAll('td .value')].map((cell) => cell.textContent),
    })),
  );
  return Object.fromEntries(rows.map(({ label, cells }) => [plain(label).toLowerCase(), cells.map(plain)]));
}

/** The same table as the command line prints it: columns stand apart by two spaces or more. */
export function printedSummary(output: string, labels: readonly string[]): SummaryTable {
  const entries = output.split('\n').flatMap((line) => {
    const [label = '', ...cells] = line
      .trim()
      // Thin spaces stand inside numbers, so only plain ones part the columns.
      .split(/ {2,}/)
      .map(plain);
    return labels.includes(label.toLowerCase()) ? [[label.toLowerCase(), cells] as const] : [];
  });
  return Object.fromEntries(entries);
}

const plain = (text: string): string => text.replace(/[\s\u00a0\u2009\u202f]+/g, ' ').trim();

export async function runOnCommandLine(args: readonly string[]): Promise<string> {
  const { ok, output } = await run(process.execPath, ['scripts/lab.mjs', ...args]);
  expect(ok, output).toBe(true);
  return output;
}
