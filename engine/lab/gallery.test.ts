/**
 * The conclusions of the example labs, held against small forms of their runs; `lab run` holds them against the whole runs. What a lab
 * concludes must not hang on how long it runs.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseLabText } from './check.ts';
import { holdConclusions } from './conclusions.ts';
import { LabRun } from './run.ts';
import type { LabDocument } from './schema.ts';

const FOLDER = join(import.meta.dirname, '../../fixtures/labs');
/** The share of the work that a small form makes. */
const SHARE = 1 / 10;

const labs = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => [name, parseLabText(readFileSync(join(FOLDER, name), 'utf8'), name)] as const)
  .filter(([, lab]) => lab.experiment !== undefined);

function smallForm(lab: LabDocument): LabDocument {
  const workloads = lab.workloads.map((workload) => {
    if (workload.kind === 'bio') return { ...workload, ioCount: Math.ceil(workload.ioCount * SHARE) };
    return 'messages' in workload ? { ...workload, messages: Math.ceil(workload.messages * SHARE) } : workload;
  });
  return { ...lab, workloads };
}

test('there are at least ten, each with a question, what to look for, and more than one conclusion', () => {
  expect(labs.length).toBeGreaterThanOrEqual(10);
  for (const [, { question, experiment, notes }] of labs) {
    expect(question).toMatch(/\?$/);
    expect(notes).toBeTruthy();
    expect(experiment!.lookFor!.length).toBeGreaterThan(0);
    expect(experiment!.conclusions!.length).toBeGreaterThan(1);
  }
});

describe.each(labs)('%s', (_name, whole) => {
  test('concludes what its runs show', () => {
    const lab = smallForm(whole);
    const results = lab.comparison.map(({ id }) => {
      const run = LabRun.prepare(lab, id, new Map());
      while (run.advance(100_000) === 'running');
      return run.result();
    });
    const wrong = holdConclusions(lab, results).filter(({ holds }) => !holds);
    expect(wrong).toEqual([]);
  }, 30_000);
});
