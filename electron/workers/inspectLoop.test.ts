import { expect, it } from 'vitest';
import type { MomentSnapshot, WalkRequest } from '../../engine/lab/momentNames.ts';
import { InspectLoop, type SteppedInspection } from './inspectLoop.ts';
import type { InspectCommand, InspectReport } from './inspectProtocol.ts';

/** A machine that needs a thousand events and a millisecond for each picosecond. */
class Machine implements SteppedInspection {
  reached = 0;
  at: number;
  private readonly clock: { time: number };

  constructor(at: number, clock: { time: number }) {
    this.at = at;
    this.clock = clock;
  }

  advance(): 'running' | 'done' {
    if (this.reached < this.at) {
      this.reached += 1;
      this.clock.time += 1;
    }
    return this.reached === this.at ? 'done' : 'running';
  }

  moveTo(at: number): boolean {
    if (at < this.reached) return false;
    this.at = at;
    return true;
  }

  snapshot(walk: WalkRequest | null, device: string | null): MomentSnapshot {
    return { at: this.at, walk, device } as unknown as MomentSnapshot;
  }
}

let wishes = 0;
function moment(at: number, walk: WalkRequest | null = null, device: string | null = null): InspectCommand {
  wishes += 1;
  return { wish: wishes, at, walk, device };
}

function rig() {
  const clock = { time: 0 };
  const reports: InspectReport[] = [];
  let prepared = 0;
  let between: () => void = () => undefined;
  const loop = new InspectLoop({
    prepare: (at) => {
      prepared += 1;
      return new Machine(at, clock);
    },
    now: () => clock.time,
    yieldToMessages: () => {
      between();
      return Promise.resolve();
    },
    report: (report) => reports.push(report),
  });
  const answers = (): number[] => reports.flatMap((report) => (report.kind === 'snapshot' ? [report.snapshot.at] : []));
  return {
    loop,
    reports,
    answers,
    prepared: () => prepared,
    betweenSlices: (action: () => void) => (between = action),
  };
}

it('goes on from where it is for a later moment, and begins anew for an earlier one', async () => {
  const { loop, answers, prepared } = rig();
  await loop.inspect(moment(50));
  await loop.inspect(moment(80));
  expect([answers(), prepared()]).toEqual([[50, 80], 1]);
  await loop.inspect(moment(20));
  expect([answers(), prepared()]).toEqual([[50, 80, 20], 2]);
});

it('answers the last wish only', async () => {
  const { loop, answers, betweenSlices } = rig();
  let slices = 0;
  betweenSlices(() => {
    slices += 1;
    if (slices === 2) void loop.inspect(moment(10));
  });
  await loop.inspect(moment(500));
  expect(answers()).toEqual([10]);
});

it('looks at another address or drive without computing anything again', async () => {
  const { loop, reports, prepared } = rig();
  const walk = { iova: '0x1000', write: false };
  await loop.inspect(moment(50));
  const asked = moment(50, walk, 'nvme1');
  await loop.inspect(asked);
  expect(reports.at(-1)).toEqual({ kind: 'snapshot', wish: asked.wish, snapshot: { at: 50, walk, device: 'nvme1' } });
  expect(prepared()).toBe(1);
});

it('tells how far it has come, at most ten times a second', async () => {
  const { loop, reports } = rig();
  await loop.inspect(moment(1_000));
  const told = reports.filter(({ kind }) => kind === 'progress');
  expect(told.length).toBeGreaterThan(5);
  expect(told.length).toBeLessThanOrEqual(10);
});

it('can be asked again after a machine that could not be built', async () => {
  let fails = true;
  const reports: InspectReport[] = [];
  const loop = new InspectLoop({
    prepare: (at) => {
      if (fails) throw new Error('no such lab');
      return new Machine(at, { time: 0 });
    },
    now: () => 0,
    yieldToMessages: () => Promise.resolve(),
    report: (report) => reports.push(report),
  });
  await expect(loop.inspect(moment(1))).rejects.toThrow('no such lab');
  fails = false;
  await loop.inspect(moment(1));
  expect(reports).toHaveLength(1);
});
