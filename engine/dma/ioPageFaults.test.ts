/**
 * The handler of devices' page faults against what Linux's does (Documentation/arch/x86/sva.rst; drivers/iommu/io-pgfault.c,
 * `iommu_report_device_fault`, `iopf_queue_discard_partial`): groups are gathered to their last request, faulted in page by page,
 * and answered once.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EBUSY, EFAULT, ENOMEM } from '../memory/memoryErrors.ts';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { IoPageFaultHandler, type IoPageFault, type IoPageFaultSource } from './ioPageFaults.ts';
import type { ProcessMirror } from './processMirror.ts';

const COSTS = {
  interrupt: nanoseconds(1000),
  worker: nanoseconds(300),
  handler: nanoseconds(50),
  respond: nanoseconds(7),
};

interface Answered {
  readonly sourceId: number;
  readonly group: number;
  readonly served: boolean;
  readonly at: Picoseconds;
}

/** A queue that tests fill: like the hardware's, it interrupts once until it was found empty. */
class TestSource implements IoPageFaultSource {
  onPending: (() => void) | null = null;
  lost = false;
  readonly answers: Answered[] = [];
  private readonly queue: IoPageFault[] = [];
  private signalled = false;

  put(...faults: IoPageFault[]): void {
    this.queue.push(...faults);
    if (this.signalled) return;
    this.signalled = true;
    this.onPending?.();
  }

  take(): IoPageFault | null {
    const fault = this.queue.shift() ?? null;
    if (fault === null) this.signalled = false;
    return fault;
  }

  recover(): boolean {
    const { lost } = this;
    this.lost = false;
    return lost;
  }

  answer({ sourceId, group }: IoPageFault, served: boolean, at: Picoseconds): void {
    this.answers.push({ sourceId, group, served, at });
  }
}

class Handled {
  readonly source = new TestSource();
  readonly events = new EventQueue();
  readonly cpu = new Cpu(0);
  /** What was faulted in: PASID, page, whether to write. */
  readonly faulted: [number, number, boolean][] = [];
  readonly handler: IoPageFaultHandler;

  /** `outcome` is what faulting a page in returns; null: no process has the PASID. */
  constructor(outcome: (pasid: number, page: number) => number | null = () => 0) {
    const { source, events, cpu, faulted } = this;
    const mirrorOf = (_: number, pasid: number): Pick<ProcessMirror, 'fault'> | null =>
      outcome(pasid, -1) === null
        ? null
        : {
            fault: (page, write) => {
              faulted.push([pasid, page, write]);
              return outcome(pasid, page)!;
            },
          };
    this.handler = new IoPageFaultHandler({
      source,
      events,
      cpu,
      costs: COSTS,
      mirrorOf: mirrorOf as (sourceId: number, pasid: number) => ProcessMirror | null,
    });
  }

  readonly run = (): void => {
    while (this.events.step());
  };
}

function fault(overrides: Partial<IoPageFault> = {}): IoPageFault {
  return { sourceId: 0x18, pasid: 5, page: 0x100, write: false, group: 1, last: true, ...overrides };
}

describe('faults of devices', () => {
  test('a group is served when its last request has come, each page once, and answered once', () => {
    const { source, handler, faulted, run } = new Handled();
    source.put(fault({ page: 1, last: false }), fault({ page: 2, write: true, last: false }));
    run();
    expect([faulted, source.answers, handler.gathered]).toEqual([[], [], 2]);
    source.put(fault({ page: 3 }));
    run();
    expect(faulted).toEqual([
      [5, 1, false],
      [5, 2, true],
      [5, 3, false],
    ]);
    expect(source.answers.map(({ group, served }) => [group, served])).toEqual([[1, true]]);
    expect([handler.gathered, handler.faults, handler.groups]).toEqual([0, 3, 1]);
  });

  test('groups of the same number from two devices are two groups', () => {
    const { source, handler, run } = new Handled();
    source.put(fault({ sourceId: 0x18, last: false }), fault({ sourceId: 0x20 }));
    run();
    expect(source.answers.map(({ sourceId }) => sourceId)).toEqual([0x20]);
    expect(handler.gathered).toBe(1);
  });

  test('the answer leaves after interrupt, worker, each page and the response, in that order on one CPU', () => {
    const { source, run } = new Handled();
    source.put(fault({ page: 1, last: false }), fault({ page: 2 }), fault({ group: 2 }));
    run();
    const first = 1000 + 300 + 2 * 50 + 7;
    expect(source.answers.map(({ at }) => at)).toEqual([nanoseconds(first), nanoseconds(first + 300 + 50 + 7)]);
  });

  test('a busy CPU begins later', () => {
    const { source, cpu, run } = new Handled();
    cpu.spend(nanoseconds(5000));
    source.put(fault());
    run();
    expect(source.answers[0]!.at).toBe(nanoseconds(5000 + 300 + 50 + 7));
  });

  test.each([
    ['served', 0, true],
    ['under change: the device asks again', EBUSY, true],
    ['no area there', EFAULT, false],
    ['no memory', ENOMEM, false],
    ['nobody has the PASID', null, false],
  ])('one page of three: %s', (_, outcome, served) => {
    const { source, run } = new Handled((_pasid, page) => (outcome === null ? null : page === 2 ? outcome : 0));
    source.put(fault({ page: 1, last: false }), fault({ page: 2, last: false }), fault({ page: 3 }));
    run();
    expect(source.answers.map((answer) => answer.served)).toEqual([served]);
  });

  test('where requests were lost, groups that were begun are forgotten, and their numbers are free again', () => {
    const { source, handler, faulted, run } = new Handled();
    source.put(fault({ page: 1, last: false }), fault({ group: 2 }));
    source.lost = true;
    run();
    expect(source.answers.map(({ group }) => group)).toEqual([2]);
    expect(handler.gathered).toBe(0);
    faulted.length = 0;
    source.put(fault({ page: 9 }));
    run();
    expect(faulted).toEqual([[5, 9, false]]);
  });

  test('property: every group is answered exactly once, refused exactly where a page of it was, in the order of last requests', () => {
    const request = fc.record({
      sourceId: fc.constantFrom(0x18, 0x20),
      group: fc.integer({ min: 0, max: 3 }),
      page: fc.integer({ min: 0, max: 9 }),
      write: fc.boolean(),
      last: fc.boolean(),
      wait: fc.integer({ min: 0, max: 3000 }),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), fc.integer({ min: 0, max: 9 }), (requests, forbidden) => {
        const { source, handler, faulted, events, run } = new Handled((_, page) => (page === forbidden ? EFAULT : 0));
        const open = new Map<string, number[]>();
        const expected: [number, number, boolean][] = [];
        const pages: number[] = [];
        let at = 0;
        for (const { wait, ...asked } of requests) {
          at += wait;
          events.schedule(picoseconds(at * 1000), { handleEvent: () => source.put(fault(asked)) }, 0);
          const key = `${String(asked.sourceId)} ${String(asked.group)}`;
          const group = [...(open.get(key) ?? []), asked.page];
          open.set(key, asked.last ? [] : group);
          if (!asked.last) continue;
          expected.push([asked.sourceId, asked.group, !group.includes(forbidden)]);
          pages.push(...group);
        }
        run();
        expect(source.answers.map(({ sourceId, group, served }) => [sourceId, group, served])).toEqual(expected);
        expect(faulted.map(([, page]) => page)).toEqual(pages);
        expect(handler.gathered).toBe([...open.values()].flat().length);
        const times = source.answers.map((answer) => answer.at);
        expect(times).toEqual([...times].sort((left, right) => left - right));
      }),
      { numRuns: 300, seed: 11 },
    );
  });
});
