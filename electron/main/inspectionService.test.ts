import { expect, it } from 'vitest';
import type { MomentSnapshot } from '../../engine/lab/momentNames.ts';
import type { InspectionProgress, InspectionRequest } from '../ipc/api.ts';
import type { InspectCommand, InspectInput, InspectReport } from '../workers/inspectProtocol.ts';
import { DesktopError } from './failures.ts';
import { InspectionService, type InspectThread } from './inspectionService.ts';

class Thread implements InspectThread {
  readonly asked: InspectCommand[] = [];
  terminated = false;
  report: (report: InspectReport) => void = () => undefined;
  crash: (error: unknown) => void = () => undefined;
  exit: (code: number) => void = () => undefined;

  postMessage(command: InspectCommand): void {
    this.asked.push(command);
  }

  terminate(): Promise<void> {
    this.terminated = true;
    return Promise.resolve();
  }

  on(event: 'message' | 'error' | 'exit', listener: (given: never) => void): void {
    if (event === 'message') this.report = listener as Thread['report'];
    else if (event === 'error') this.crash = listener as Thread['crash'];
    else this.exit = listener as Thread['exit'];
  }
}

const snapshotAt = (at: number): MomentSnapshot => ({ at, caches: [], walk: null }) as unknown as MomentSnapshot;

const moment = (comparisonId: string, at: number): InspectionRequest => ({ comparisonId, at, walk: null });

/** What the thread was told to call its answer for a moment. */
const wishAt = (thread: Thread, moment: number): number => thread.asked.find(({ at }) => at === moment)?.wish ?? -1;

function rig() {
  const threads: Thread[] = [];
  const progress: InspectionProgress[] = [];
  const logged: string[] = [];
  const service = new InspectionService({
    startThread: () => {
      const thread = new Thread();
      threads.push(thread);
      return thread;
    },
    inspectable: (comparisonId) => {
      if (comparisonId === 'never-run') throw new DesktopError('not-found', 'There is no finished run.');
      return { of: { id: `run of ${comparisonId}`, engineVersion: '1' } } as unknown as InspectInput;
    },
    progressed: (one) => progress.push(one),
    log: (message) => logged.push(message),
  });
  return { service, threads, progress, logged };
}

it('answers with the space at the moment that was asked for, and keeps the thread for the next moment', async () => {
  const { service, threads, progress } = rig();
  const first = service.inspect(moment('a', 10));
  threads[0]!.report({ kind: 'progress', wish: wishAt(threads[0]!, 10), reached: 4 });
  threads[0]!.report({ kind: 'snapshot', wish: wishAt(threads[0]!, 10), snapshot: snapshotAt(10) });
  expect(await first).toEqual({ status: 'done', snapshot: snapshotAt(10) });
  expect(progress).toEqual([{ comparisonId: 'a', at: 10, reached: 4 }]);
  const second = service.inspect(moment('a', 20));
  threads[0]!.report({ kind: 'snapshot', wish: wishAt(threads[0]!, 20), snapshot: snapshotAt(20) });
  expect(await second).toMatchObject({ status: 'done' });
  expect(threads).toHaveLength(1);
});

it('calls a moment off when another is asked for, and does not take its answer for the other', async () => {
  const { service, threads } = rig();
  const first = service.inspect(moment('a', 10));
  const second = service.inspect(moment('a', 20));
  expect(await first).toEqual({ status: 'cancelled' });
  threads[0]!.report({ kind: 'snapshot', wish: wishAt(threads[0]!, 10), snapshot: snapshotAt(10) });
  threads[0]!.report({ kind: 'snapshot', wish: wishAt(threads[0]!, 20), snapshot: snapshotAt(20) });
  expect(await second).toEqual({ status: 'done', snapshot: snapshotAt(20) });
});

it('tells two wishes of one moment apart', async () => {
  const { service, threads } = rig();
  const first = service.inspect(moment('a', 10));
  const second = service.inspect({ ...moment('a', 10), walk: { iova: '0x1000', write: true } });
  expect(await first).toEqual({ status: 'cancelled' });
  const [one, other] = threads[0]!.asked;
  expect(other).toMatchObject({ at: 10, walk: { iova: '0x1000', write: true } });
  threads[0]!.report({ kind: 'snapshot', wish: one!.wish, snapshot: snapshotAt(9) });
  threads[0]!.report({ kind: 'snapshot', wish: other!.wish, snapshot: snapshotAt(10) });
  expect(await second).toEqual({ status: 'done', snapshot: snapshotAt(10) });
});

it('ends the thread when it is told to, or when another run is looked into', async () => {
  const { service, threads } = rig();
  const first = service.inspect(moment('a', 10));
  const second = service.inspect(moment('b', 10));
  expect(await first).toEqual({ status: 'cancelled' });
  expect([threads[0]!.terminated, threads[1]!.terminated]).toEqual([true, false]);
  service.end();
  expect(await second).toEqual({ status: 'cancelled' });
  expect(threads[1]!.terminated).toBe(true);
});

it('says why a run cannot be looked into', async () => {
  const { service, threads } = rig();
  expect(await service.inspect(moment('never-run', 1))).toMatchObject({
    status: 'failed',
    error: { message: 'There is no finished run.' },
  });
  const refused = service.inspect(moment('a', 1));
  threads[0]!.report({ kind: 'failed', message: 'the lab has changed', forPeople: true });
  expect(await refused).toMatchObject({ status: 'failed', error: { message: 'the lab has changed' } });
});

it('answers when its thread dies, with the reason in the log only', async () => {
  const { service, threads, logged } = rig();
  const dies = service.inspect(moment('a', 1));
  threads[0]!.crash(new Error('secret details'));
  const outcome = await dies;
  expect(outcome).toMatchObject({ status: 'failed' });
  expect(JSON.stringify(outcome)).not.toContain('secret');
  expect(logged.join()).toContain('secret details');
  const again = service.inspect(moment('a', 1));
  threads[1]!.exit(1);
  expect(await again).toMatchObject({ status: 'failed' });
});
