import { expect, it } from 'vitest';
import type { RunFrame, RunProgress, RunResult } from '../../engine/lab/runTypes.ts';
import { RunLoop, type SteppedRun } from './runLoop.ts';
import type { RunReport } from './runProtocol.ts';

/** A run of `total` events that cost `cost` milliseconds each, over a clock that only it moves. */
function rig(total: number, cost: number) {
  let time = 0;
  let events = 0;
  const slices: number[] = [];
  const progress = (): RunProgress => ({ runId: 'r', virtualTimePs: events, completed: events, total, events });
  const run: SteppedRun = {
    advance(maximum) {
      const count = Math.min(maximum, total - events);
      events += count;
      time += count * cost;
      slices.push(count * cost);
      return events === total ? 'done' : 'running';
    },
    progress,
    snapshot: () => ({ progress: progress() }) as RunFrame,
    result: (partial = false) => ({ partial, progress: progress() }) as RunResult,
  };
  const reports: RunReport[] = [];
  let between: (turn: number) => void = () => undefined;
  let turn = 0;
  const loop = new RunLoop(run, {
    now: () => time,
    yieldToMessages: () => {
      between(turn++);
      return Promise.resolve();
    },
    report: (report) => reports.push(report),
  });
  return {
    loop,
    reports,
    slices,
    kinds: () => reports.map(({ kind }) => kind),
    now: () => time,
    eachTurn: (action: (turn: number) => void) => (between = action),
  };
}

it('runs to the end and gives a whole result with a last frame', async () => {
  const { loop, reports } = rig(100_000, 0.01);
  await loop.drive();
  const last = reports.at(-1);
  expect(last).toMatchObject({ kind: 'ended', result: { partial: false, progress: { completed: 100_000 } } });
  expect(last).toHaveProperty('frame.progress.completed', 100_000);
});

it('keeps slices short enough to answer within 200 ms, whether events are cheap or dear', async () => {
  for (const cost of [0.0001, 0.01, 0.1]) {
    const { loop, slices } = rig(50_000, cost);
    await loop.drive();
    expect(Math.max(...slices)).toBeLessThan(110);
    expect(Math.max(...slices.slice(5))).toBeLessThan(20);
  }
});

it('sends at most ten frames a second', async () => {
  const { loop, kinds, now } = rig(1_000_000, 0.01);
  await loop.drive();
  const frames = kinds().filter((kind) => kind === 'frame').length;
  expect(frames).toBeGreaterThan(50);
  expect(frames).toBeLessThanOrEqual(now() / 100);
});

it('reports the rate of events', async () => {
  const { loop, reports } = rig(1_000_000, 0.01);
  await loop.drive();
  const rates = reports.flatMap((report) => (report.kind === 'progress' ? [report.eventsPerSecond] : []));
  expect(rates.at(-1)).toBeCloseTo(100_000, -2);
});

it('cancels between slices and labels what it has as partial', async () => {
  const { loop, reports, eachTurn } = rig(1_000_000, 0.01);
  eachTurn((turn) => turn === 10 && loop.command('cancel'));
  await loop.drive();
  expect(reports.at(-1)).toMatchObject({ kind: 'ended', result: { partial: true } });
});

it('stands still while paused, and goes on', async () => {
  const { loop, kinds, reports, eachTurn } = rig(100_000, 0.01);
  eachTurn((turn) => turn === 3 && loop.command('pause'));
  const driven = loop.drive();
  while (!kinds().includes('paused')) await Promise.resolve();
  const before = reports.length;
  await new Promise((resolve) => setImmediate(resolve));
  expect(reports).toHaveLength(before);
  loop.command('resume');
  await driven;
  expect(kinds()).toContain('resumed');
  expect(reports.at(-1)).toMatchObject({ kind: 'ended', result: { partial: false } });
});

it('cancels while paused', async () => {
  const { loop, kinds, reports, eachTurn } = rig(100_000, 0.01);
  eachTurn((turn) => turn === 3 && loop.command('pause'));
  const driven = loop.drive();
  while (!kinds().includes('paused')) await Promise.resolve();
  loop.command('cancel');
  await driven;
  expect(reports.at(-1)).toMatchObject({ kind: 'ended', result: { partial: true } });
});
