/** Which columns a lab has that is made of a recording. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkRuns } from './checkRuns.ts';
import { labOfRecording } from './importRecording.ts';

const recordings = join(import.meta.dirname, '../../fixtures/recordings');

it.each<[string, string, string[]]>([
  ['6.12-pt', 'r4k-rand-qd16.txt.gz', ['map-sg-strict', 'map-sg-lazy', 'map-sg-passthrough']],
  [
    '7.3-pt',
    'r4k-rand-qd16.txt.gz',
    ['map-sg-strict', 'map-sg-lazy', 'map-sg-passthrough', 'two-step-strict', 'two-step-lazy', 'two-step-passthrough'],
  ],
  ['6.12-strict', 'pio-gap.txt.gz', ['map-sg-strict', 'map-sg-lazy']],
])('a recording of %s is replayed in the domain that was recorded, too', async (folder, file, columns) => {
  const name = join(recordings, folder, file);
  const runJson = await readFile(join(recordings, folder, 'run.json'), 'utf8');
  const { lab, recordings: carried } = labOfRecording({ name, trace: await readFile(name), runJson });
  expect(lab.comparison.map(({ id }) => id)).toEqual(columns);
  expect(() => {
    checkRuns(lab, carried, new Map(), 'x');
  }).not.toThrow();
});
