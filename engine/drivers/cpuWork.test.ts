import { describe, expect, it } from 'vitest';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { CpuWork } from './cpuWork.ts';

function setUp(cpus: number) {
  const events = new EventQueue();
  const work = new CpuWork(
    events,
    Array.from({ length: cpus }, (_, id) => new Cpu(id)),
  );
  const ran: string[] = [];
  /** Work that takes 100 ps and writes down where and when it ran. */
  const worker = (cpu: number, name: string) => ({
    handleEvent: (_kind: number, argument: number) => {
      const clock = work.cpus[cpu]!;
      ran.push(`${name}${String(argument)} at ${String(clock.now)}`);
      clock.spend(picoseconds(100));
    },
  });
  const run = () => {
    while (events.step());
    return ran;
  };
  return { events, work, worker, run, ran };
}

describe('work for a CPU', () => {
  it('runs one item after the other, each when the one before has spent its time', () => {
    const { work, worker, run } = setUp(1);
    for (let item = 0; item < 3; item += 1) work.task(0, worker(0, 'task'), 0, item);
    expect(run()).toEqual(['task0 at 0', 'task1 at 100', 'task2 at 200']);
  });

  it('lets interrupts go before tasks that wait', () => {
    const { work, worker, run } = setUp(1);
    work.task(0, worker(0, 'task'), 0, 0);
    work.task(0, worker(0, 'task'), 0, 1);
    work.interrupt(0, worker(0, 'irq'), 0, 0);
    expect(run()).toEqual(['irq0 at 0', 'task0 at 100', 'task1 at 200']);
  });

  it('runs CPUs side by side in the order of virtual time', () => {
    const { work, worker, run } = setUp(2);
    for (let item = 0; item < 2; item += 1) {
      work.task(0, worker(0, 'a'), 0, item);
      work.task(1, worker(1, 'b'), 0, item);
    }
    expect(run()).toEqual(['a0 at 0', 'b0 at 0', 'a1 at 100', 'b1 at 100']);
  });

  it('waits for a CPU that other code keeps busy, and for a moment to come', () => {
    const { work, worker, run } = setUp(1);
    work.cpus[0]!.spend(picoseconds(1000));
    work.taskAt(picoseconds(1500), 0, worker(0, 'later'), 0, 0);
    work.task(0, worker(0, 'now'), 0, 0);
    expect(run()).toEqual(['now0 at 1000', 'later0 at 1500']);
  });

  it('keeps its order when the ring grows while it is in use', () => {
    const { work, worker, run } = setUp(1);
    for (let item = 0; item < 10; item += 1) work.task(0, worker(0, 't'), 0, item);
    const more = {
      handleEvent: () => {
        for (let item = 10; item < 60; item += 1) work.task(0, worker(0, 't'), 0, item);
      },
    };
    work.interrupt(0, more, 0, 0);
    expect(run().map((line) => Number(line.slice(1).split(' ')[0]))).toEqual(Array.from({ length: 60 }, (_, i) => i));
  });

  it('keeps the work of a CPU that waits for a device within an item, and lets the others run meanwhile', () => {
    const { events, work, worker, run, ran } = setUp(2);
    const device = { done: false, handleEvent: () => void (device.done = true) };
    const waits = {
      handleEvent: () => {
        const [cpu] = work.cpus;
        work.interrupt(0, worker(0, 'irq'), 0, 0);
        events.schedule(picoseconds(500), device, 0);
        while (!device.done) events.step();
        expect(work.current).toBe(cpu);
        cpu!.waitUntil(events.now);
        ran.push(`waited until ${String(cpu!.now)}`);
      },
    };
    work.task(0, waits, 0, 0);
    work.taskAt(picoseconds(200), 1, worker(1, 'other'), 0, 0);
    work.taskAt(picoseconds(300), 0, worker(0, 'mine'), 0, 0);
    expect(run()).toEqual(['other0 at 200', 'waited until 500', 'irq0 at 500', 'mine0 at 600']);
  });
});
