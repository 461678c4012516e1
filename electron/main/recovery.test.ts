import { appendFile, mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import { Journal, discardRecovery, findRecoveries, loadRecovery } from './recovery.ts';

let root: string;
const about = {
  version: 1,
  name: 'Two schemes',
  path: '/home/me/two.iovalab',
  stamp: { size: 3, modified: 4 },
} as const;
const base = new Uint8Array([1, 2, 3]);
const edit = (value: number) => ({ kind: 'edit', path: 'seed', value }) as const;
const result = {
  id: 'abc',
  comparisonId: 'a',
  series: { columns: { bytes: Float64Array.of(1, 2) } },
} as unknown as RunResult;
const warn = (message: string) => {
  throw new Error(message);
};

beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'recovery-')), 'recovery');
});

it('offers what was done since the last save, with name, time and size', async () => {
  const journal = Journal.begin(root, about, base, warn);
  journal.append(edit(1));
  journal.append({ kind: 'undo' });
  journal.addResult(result, false);
  await journal.flush();
  const [offer, ...rest] = await findRecoveries(root, null);
  expect(rest).toEqual([]);
  expect(offer).toMatchObject({ name: 'Two schemes', fileName: 'two.iovalab', edits: 2, finishedRuns: 1 });
  expect(Math.abs(offer!.changedAt - Date.now())).toBeLessThan(10_000);
  expect(offer!.bytes).toBeGreaterThan(100);

  const work = await loadRecovery(root, offer!.id);
  expect(work.entries).toEqual([edit(1), { kind: 'undo' }, { kind: 'run', file: 'run-0.bin', outdated: false }]);
  expect(work.results.get('run-0.bin')).toEqual(result);
  expect([...work.base]).toEqual([1, 2, 3]);
});

it('leaves out the line that a crash cut short, and goes on after it', async () => {
  const journal = Journal.begin(root, about, base, warn);
  journal.append(edit(1));
  await journal.flush();
  await appendFile(join(journal.folder, 'journal.ndjson'), '{"kind":"edit","pa');
  const [offer] = await findRecoveries(root, null);
  const again = Journal.continue(root, offer!.id, await loadRecovery(root, offer!.id), warn);
  again.append(edit(2));
  again.addResult(result, false);
  await again.flush();
  const work = await loadRecovery(root, offer!.id);
  expect(work.entries.slice(0, 2)).toEqual([edit(1), edit(2)]);
  expect(work.results.size).toBe(1);
});

it('leaves nothing after a clean save or close', async () => {
  const journal = Journal.begin(root, about, base, warn);
  journal.append(edit(1));
  await journal.discard();
  journal.append(edit(2));
  await journal.flush();
  expect(await readdir(root)).toEqual([]);
});

it('sweeps away a journal in which nothing happened, and leaves the one in use alone', async () => {
  await Journal.begin(root, about, base, warn).flush();
  const own = Journal.begin(root, about, base, warn);
  own.append(edit(1));
  await own.flush();
  expect(await findRecoveries(root, own.folder)).toEqual([]);
  expect(await readdir(root)).toHaveLength(1);
});

it('leaves alone what another host holds', async () => {
  const journal = Journal.begin(root, about, base, warn);
  journal.append(edit(1));
  await journal.flush();
  await writeFile(join(journal.folder, 'lock.json'), '{"pid":1,"host":"elsewhere.invalid"}');
  expect(await findRecoveries(root, null)).toEqual([]);
  expect(await readdir(root)).toHaveLength(1);
});

it.each(['..', '../..', '/etc', 'a/b', ''])('takes no path in place of an id: %j', async (id) => {
  await expect(discardRecovery(root, id)).rejects.toThrow(RangeError);
  await expect(loadRecovery(root, id)).rejects.toThrow(RangeError);
});
