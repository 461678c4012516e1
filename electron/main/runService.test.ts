import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RunFrame, RunResult } from '../../engine/lab/runTypes.ts';
import type { RunState } from '../ipc/api.ts';
import { RunService } from './runService.ts';
import { labFile, resultOf, ScriptedThread, smallLab } from './testing.ts';

const a = 'map-sg-strict';
const b = 'two-step-strict';
const lab = smallLab();
const frame = { comparisonId: a, summary: { rows: [] } } as unknown as RunFrame;

function rig() {
  const threads: ScriptedThread[] = [];
  const states: RunState[] = [];
  const finished: RunResult[] = [];
  const logged: string[] = [];
  const runs = new RunService({
    startThread: () => {
      const thread = new ScriptedThread();
      threads.push(thread);
      return thread;
    },
    stateChanged: (state) => states.push(state),
    framed: () => undefined,
    finished: (result) => finished.push(result),
    log: (message) => logged.push(message),
  });
  runs.open(labFile(lab), new Map());
  return { runs, threads, states, finished, logged, state: (index = 0) => runs.states()[index]! };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it('starts every column side by side, each once', () => {
  const { runs, threads, state } = rig();
  runs.start([]);
  runs.start([a]);
  expect(threads).toHaveLength(2);
  expect([state(0).status, state(1).status]).toEqual(['running', 'running']);
});

it('shows progress, rate and the time left', () => {
  const { runs, threads, state } = rig();
  runs.start([a]);
  const progress = { runId: 'x', virtualTimePs: 1, completed: 25, total: 100, events: 1000 };
  threads[0]!.report({ kind: 'progress', progress, eventsPerSecond: 500 });
  expect(state()).toMatchObject({ progress, eventsPerSecond: 500, secondsLeft: 6 });
});

it('keeps a whole result', () => {
  const { runs, threads, finished, state } = rig();
  runs.start([a]);
  const result = resultOf(lab, a);
  threads[0]!.report({ kind: 'ended', result, frame });
  expect(state()).toMatchObject({ status: 'done', partial: false, runId: result.id, summary: result.summary });
  expect(finished).toEqual([result]);
  expect(runs.results()).toEqual([result]);
  expect(threads[0]!.terminated).toBe(true);
});

it('pauses and resumes when the thread says so', () => {
  const { runs, threads, state } = rig();
  runs.start([a]);
  runs.pause(a);
  expect(threads[0]!.commands).toEqual(['pause']);
  threads[0]!.report({ kind: 'paused' });
  expect(state().status).toBe('paused');
  runs.resume(a);
  threads[0]!.report({ kind: 'resumed' });
  expect(state().status).toBe('running');
});

describe('cancel', () => {
  it('keeps what the run had, labelled as partial', () => {
    const { runs, threads, state } = rig();
    runs.start([a]);
    runs.cancel(a);
    runs.cancel(a);
    expect(threads[0]!.commands).toEqual(['cancel']);
    threads[0]!.report({ kind: 'ended', result: resultOf(lab, a, true), frame });
    expect(state()).toMatchObject({ status: 'cancelled', partial: true });
    expect(runs.results()).toHaveLength(1);
  });

  it('is shown within 200 ms by a thread that is in a long step, and still takes its result', () => {
    const { runs, threads, state } = rig();
    runs.start([a]);
    threads[0]!.report({ kind: 'frame', frame });
    runs.cancel(a);
    vi.advanceTimersByTime(199);
    expect(state()).toMatchObject({ status: 'cancelled', partial: true, summary: frame.summary });
    threads[0]!.report({ kind: 'ended', result: resultOf(lab, a, true), frame });
    expect(runs.results()).toHaveLength(1);
  });

  it('does not stand in the way of the next run while its thread is still to answer', () => {
    const { runs, threads, state } = rig();
    runs.start([a]);
    runs.cancel(a);
    vi.advanceTimersByTime(199);
    runs.start([a]);
    expect([threads.length, threads[0]!.terminated, state().status]).toEqual([2, true, 'running']);
    threads[0]!.report({ kind: 'ended', result: resultOf(lab, a, true), frame });
    vi.advanceTimersByTime(5000);
    expect(state().status).toBe('running');
  });

  it('ends a thread that does not answer at all', () => {
    const { runs, threads, state } = rig();
    runs.start([a]);
    runs.cancel(a);
    vi.advanceTimersByTime(2500);
    expect(threads[0]!.terminated).toBe(true);
    expect(state().status).toBe('cancelled');
    runs.start([a]);
    expect(threads).toHaveLength(2);
  });
});

describe('a run that fails', () => {
  it('shows the sentence of a lab that cannot run, and logs a bug instead of showing it', () => {
    const { runs, threads, state, logged } = rig();
    runs.start([]);
    threads[0]!.report({ kind: 'failed', message: 'nvme0: it has no IOMMU. Add one.', forPeople: true });
    expect(state()).toMatchObject({ status: 'failed', error: 'nvme0: it has no IOMMU. Add one.' });
    threads[1]!.report({ kind: 'failed', message: 'TypeError at /home/x.ts:1', forPeople: false });
    expect(state(1).error).not.toContain('/home');
    expect(logged.join()).toContain('TypeError');
  });

  it('survives a thread that throws, runs out of memory or just ends', () => {
    const { runs, threads, state } = rig();
    runs.start([]);
    threads[0]!.fail('error', Object.assign(new Error('x'), { code: 'ERR_WORKER_OUT_OF_MEMORY' }));
    threads[0]!.fail('exit', 1);
    threads[1]!.fail('exit', 7);
    expect(state().error).toContain('memory');
    expect(state(1).error).toContain('code 7');
  });
});

describe('what is outdated', () => {
  it('is told by the inputs: back to the old value is current again, and notes do not count', () => {
    const { runs, threads, state } = rig();
    runs.start([a]);
    threads[0]!.report({ kind: 'ended', result: resultOf(lab, a), frame });
    runs.labChanged({ ...lab, seed: 99 });
    expect(state().outdated).toBe(true);
    runs.labChanged({ ...lab, notes: 'n', name: 'Other' });
    expect(state().outdated).toBe(false);
  });

  it('is told for results of a file by their id', () => {
    const { runs, state } = rig();
    const result = resultOf(lab, a);
    runs.open(
      labFile(lab, [result, resultOf(lab, b)]),
      new Map([
        [a, result.id],
        [b, 'another'],
      ]),
    );
    expect([state().outdated, state(1).outdated]).toEqual([false, true]);
    expect(runs.frame(a)).toMatchObject({ comparisonId: a, count: 2, runId: result.id });
  });
});

it('ends the runs of a document that is closed, and hears nothing more of them', () => {
  const { runs, threads, finished } = rig();
  runs.start([a]);
  runs.open(labFile(smallLab('Other')), new Map());
  expect(threads[0]!.terminated).toBe(true);
  threads[0]!.report({ kind: 'ended', result: resultOf(lab, a), frame });
  expect(finished).toEqual([]);
});

it('knows only the columns of the lab', () => {
  const { runs } = rig();
  expect(() => runs.start(['__proto__'])).toThrow('no column');
  expect(() => runs.cancel('x')).toThrow('no column');
});

describe('looking into a kept run', () => {
  it('takes what the run was made from, while the lab is still that', () => {
    const { runs, threads } = rig();
    expect(() => runs.inspectable(a)).toThrow('There is no finished run');
    runs.start([a]);
    const result = resultOf(lab, a);
    threads[0]!.report({ kind: 'ended', result, frame });
    const { id, engineVersion } = result;
    expect(runs.inspectable(a)).toMatchObject({ lab, comparisonId: a, of: { id, engineVersion } });
    runs.labChanged({ ...lab, seed: lab.seed + 1 });
    expect(() => runs.inspectable(a)).toThrow('The lab has changed since this run');
  });

  it('says of a run that the API checker ended what the misuse was', () => {
    const { runs, threads, state } = rig();
    runs.start([a]);
    const misuse = {
      kind: 'linkTwice',
      message: 'device driver links an offset twice',
      driver: 'nvme',
      device: '0000:01:00.0',
      at: 1,
      cpu: 0,
      call: 'dma_iova_link()',
      history: [],
      omitted: 0,
    } as const;
    const found = { errorCount: 1, byKind: { linkTwice: 1 }, totalEntries: 65_536, minFreeEntries: 65_535 };
    const checker = { mode: 'stop', stopped: true, misuses: [misuse], ...found } as const;
    threads[0]!.report({ kind: 'ended', result: { ...resultOf(lab, a), partial: true, checker }, frame });
    expect(state()).toMatchObject({
      status: 'cancelled',
      partial: true,
      error: 'The API checker stopped the run: device driver links an offset twice.',
    });
  });
});
