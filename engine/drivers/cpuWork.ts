/**
 * What waits to run on each CPU: interrupts first, then tasks, each in order of arrival. One item runs per event, so that
 * CPUs that share hardware (the invalidation queue above all) meet it in the order of virtual time. A CPU whose clock is
 * ahead of the event queue is busy, and its work waits; so it does while an item of the CPU stands still for a device and steps through
 * the events itself.
 * Leaves out: preemption in the midst of an item, and the scheduler's choice of a CPU.
 */
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

const RUN = 0;
const ARRIVE = 1;

/** A growing ring of work items: no allocation per item. */
class WorkRing {
  private handlers: EventHandler[] = [];
  private kinds: number[] = [];
  private arguments: number[] = [];
  private head = 0;
  count = 0;

  push(handler: EventHandler, kind: number, argument: number): void {
    if (this.count === this.handlers.length) this.grow(handler);
    const index = (this.head + this.count) % this.handlers.length;
    this.handlers[index] = handler;
    this.kinds[index] = kind;
    this.arguments[index] = argument;
    this.count += 1;
  }

  runFirst(): void {
    const index = this.head;
    this.head = (this.head + 1) % this.handlers.length;
    this.count -= 1;
    this.handlers[index]!.handleEvent(this.kinds[index]!, this.arguments[index]!);
  }

  private grow(filler: EventHandler): void {
    const size = this.handlers.length;
    const order = Array.from({ length: size }, (_, index) => (this.head + index) % size);
    this.handlers = order.map((index) => this.handlers[index]!);
    this.kinds = order.map((index) => this.kinds[index]!);
    this.arguments = order.map((index) => this.arguments[index]!);
    this.head = 0;
    for (let extra = 0; extra < Math.max(16, size); extra += 1) {
      this.handlers.push(filler);
      this.kinds.push(0);
      this.arguments.push(0);
    }
  }
}

interface LaterItem {
  cpu: number;
  handler: EventHandler;
  kind: number;
  argument: number;
}

export class CpuWork implements EventHandler {
  readonly cpus: readonly Cpu[];
  /** The CPU that is executing; null between its items, and in what is no CPU's work. */
  current: Cpu | null = null;
  private readonly events: EventQueue;
  private readonly interrupts: WorkRing[];
  private readonly tasks: WorkRing[];
  private readonly armed: boolean[];
  /** Within an item of the CPU. */
  private readonly running: boolean[];
  private readonly later: LaterItem[] = [];
  private readonly freeLater: number[] = [];

  constructor(events: EventQueue, cpus: readonly Cpu[]) {
    this.events = events;
    this.cpus = cpus;
    this.interrupts = cpus.map(() => new WorkRing());
    this.tasks = cpus.map(() => new WorkRing());
    this.armed = cpus.map(() => false);
    this.running = cpus.map(() => false);
  }

  get now(): Picoseconds {
    return this.events.now;
  }

  /** An interrupt reaches the CPU now. */
  interrupt(cpu: number, handler: EventHandler, kind: number, argument: number): void {
    this.interrupts[cpu]!.push(handler, kind, argument);
    this.arm(cpu);
  }

  /** Work of a task becomes runnable now. */
  task(cpu: number, handler: EventHandler, kind: number, argument: number): void {
    this.tasks[cpu]!.push(handler, kind, argument);
    this.arm(cpu);
  }

  /** Work of a task becomes runnable at `at`, for instance when another CPU wakes it. */
  taskAt(at: Picoseconds, cpu: number, handler: EventHandler, kind: number, argument: number): void {
    if (at <= this.events.now) {
      this.task(cpu, handler, kind, argument);
      return;
    }
    const index = this.freeLater.pop() ?? this.later.length;
    const slot = this.later[index];
    if (slot === undefined) {
      this.later.push({ cpu, handler, kind, argument });
    } else {
      slot.cpu = cpu;
      slot.handler = handler;
      slot.kind = kind;
      slot.argument = argument;
    }
    this.events.schedule(at, this, ARRIVE, index);
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === ARRIVE) this.arrive(argument);
    else this.run(argument);
  }

  private arrive(index: number): void {
    const { cpu, handler, kind, argument } = this.later[index]!;
    this.freeLater.push(index);
    this.task(cpu, handler, kind, argument);
  }

  private arm(cpu: number): void {
    if (this.armed[cpu] === true) return;
    this.armed[cpu] = true;
    this.events.schedule(picoseconds(Math.max(this.events.now, this.cpus[cpu]!.now)), this, RUN, cpu);
  }

  private run(cpuId: number): void {
    this.armed[cpuId] = false;
    // whoever waits within an item of this CPU arms it again when the item has ended
    if (this.running[cpuId] === true) return;
    const cpu = this.cpus[cpuId]!;
    // The clock may have moved since: then the remaining work is armed for later.
    if (cpu.now <= this.events.now) {
      cpu.begin(this.events.now);
      const ring = this.interrupts[cpuId]!.count > 0 ? this.interrupts[cpuId]! : this.tasks[cpuId]!;
      const interrupted = this.current;
      this.current = cpu;
      this.running[cpuId] = true;
      ring.runFirst();
      this.running[cpuId] = false;
      this.current = interrupted;
    }
    if (this.interrupts[cpuId]!.count > 0 || this.tasks[cpuId]!.count > 0) this.arm(cpuId);
  }
}
