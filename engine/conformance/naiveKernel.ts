/**
 * For tests: a naive model of CPUs that submit and complete 4 KiB reads in a lazy domain of 7.3, written straight after
 * Linux drivers/iommu/dma-iommu.c (`queue_iova`, `fq_flush_timeout`), which interleaves at every line as real CPUs do and prints
 * the trace that they would leave. Knows nothing of the emulator, so that the two can be held against each other.
 */
import { type TestContext, TestTrace } from '../lab/testTrace.ts';

/** What a process lets happen before it goes on: everything, or only other CPUs (interrupts are off). */
type Pause = 'any' | 'irqsOff';
type Process = Generator<Pause, void, undefined>;

const RING_SIZE = 255;

interface Entry {
  readonly pfn: number;
  readonly stamp: number;
}

interface Ring {
  readonly entries: Entry[];
  locked: boolean;
}

interface InFlight {
  readonly commandId: number;
  readonly pfn: number;
}

export interface NaiveKernelOptions {
  readonly cpus: number;
  readonly requests: number;
  /** A number in [0, n). */
  readonly below: (n: number) => number;
  /** Out of 1000 moments at which a timer may fire, on how many it does. */
  readonly timerRate: number;
  readonly queueDepth: number;
  /** Requests that were in flight, and ranges that waited in each ring, before the trace begins. */
  readonly before: { readonly inFlight: number; readonly queued: number; readonly flushed: number };
  /** Requests that are still in flight when the trace ends. */
  readonly unfinished: number;
}

export class NaiveKernel {
  readonly trace = new TestTrace();
  overflows = 0;
  timers = 0;
  drained = 0;
  readonly #options: NaiveKernelOptions;
  readonly #rings: readonly Ring[];
  readonly #stacks: Process[][];
  readonly #inFlight: InFlight[][];
  #started = 0;
  #finished = 0;
  #flush = 1;
  #flushed = 1;
  #nextCommand = 0;
  #nextPfn = 0x40000;
  readonly #freePfns: number[] = [];
  #pauses: Pause[];
  #submitted = 0;
  #timerRuns = false;

  constructor(options: NaiveKernelOptions) {
    this.#options = options;
    const each = <T>(make: () => T): T[] => Array.from({ length: options.cpus }, make);
    this.#rings = each(() => ({ entries: [], locked: false }));
    this.#stacks = each(() => []);
    this.#inFlight = each(() => []);
    this.#pauses = each(() => 'any');
    for (let cpu = 0; cpu < options.cpus; cpu += 1) {
      const ring = this.#ring(cpu);
      // Entries with an old stamp are those which a flush has covered and nobody has released yet.
      for (let index = 0; index < options.before.flushed; index += 1)
        ring.entries.push({ pfn: this.#newPfn(), stamp: 0 });
      for (let index = 0; index < options.before.queued; index += 1)
        ring.entries.push({ pfn: this.#newPfn(), stamp: 1 });
      for (let index = 0; index < options.before.inFlight; index += 1) {
        this.#inFlight[cpu]?.push({ commandId: this.#newCommand(), pfn: this.#newPfn() });
      }
    }
  }

  run(): string {
    for (;;) {
      const cpu = this.#options.below(this.#options.cpus);
      this.#maybeInterrupt(cpu);
      const stack = this.#stack(cpu);
      const running = stack.at(-1);
      if (running === undefined) {
        if (this.#started < this.#options.requests) {
          this.#started += 1;
          stack.push(this.#submit(cpu));
        } else if (this.#allDone()) return this.trace.text();
        continue;
      }
      const step = running.next();
      if (step.done === true) {
        stack.pop();
        this.#pauses[cpu] = 'any';
      } else this.#pauses[cpu] = step.value;
    }
  }

  #allDone(): boolean {
    const left = this.#inFlight.reduce((sum, requests) => sum + requests.length, 0);
    return left <= this.#options.unfinished && this.#stacks.every((stack) => stack.length === 0);
  }

  #maybeInterrupt(cpu: number): void {
    const stack = this.#stack(cpu);
    if (this.#pauses[cpu] !== 'any' || stack.length > 2) return;
    const { below, queueDepth, timerRate } = this.#options;
    const waiting = this.#inFlight[cpu] ?? [];
    const full = waiting.length >= queueDepth || this.#started >= this.#options.requests;
    if (waiting.length > 0 && below(full ? 3 : 40) === 0) {
      const batch = waiting.splice(0, 1 + below(Math.min(4, waiting.length)));
      stack.push(this.#interrupt(cpu, batch, stack.length > 0));
      this.#pauses[cpu] = 'irqsOff';
    } else if (!this.#timerRuns && stack.length < 2 && below(1000) < timerRate) {
      this.#timerRuns = true;
      stack.push(this.#timer(cpu));
    }
  }

  *#submit(cpu: number): Process {
    const context: TestContext = { cpu, pid: 100 + cpu };
    const commandId = this.#newCommand();
    this.trace.setup(commandId, context);
    yield 'any';
    this.trace.event('alloc_fast: (f) size=1 limit_pfn=0xfffff flush_rcache=0', context);
    yield 'any';
    const reused = this.#options.below(2) === 0 ? this.#freePfns.pop() : undefined;
    const pfn = reused ?? this.#newPfn();
    if (reused === undefined) this.trace.event('alloc_slow: (f) size=1 limit_pfn=0xfffff size_aligned=1', context);
    this.trace.event(`alloc_fast_ret: (f) pfn=0x${pfn.toString(16)}`, context);
    yield 'any';
    const phys = 0x1_0000_0000 + commandId * 4096;
    this.trace.map(pfn, phys, 4096, context);
    yield 'any';
    this.trace.mapped(pfn, phys, 4096, context);
    yield 'any';
    this.trace.issue(4096, context);
    this.#submitted += 1;
    this.#inFlight[cpu]?.push({ commandId, pfn });
  }

  *#interrupt(cpu: number, batch: readonly InFlight[], nested: boolean): Process {
    const context: TestContext = { cpu, pid: nested ? 100 + cpu : 0, flag: 'h' };
    for (const { commandId, pfn } of batch) {
      this.trace.unmap(pfn, 4096, context);
      yield 'irqsOff';
      yield* this.#queue(cpu, pfn, context);
      this.trace.unmapped(pfn, 4096, context);
      yield 'irqsOff';
      this.trace.complete(commandId, context);
      this.#finished += 1;
      yield 'irqsOff';
    }
  }

  /** `queue_iova`. */
  *#queue(cpu: number, pfn: number, context: TestContext): Process {
    const ring = this.#ring(cpu);
    while (ring.locked) yield 'irqsOff';
    ring.locked = true;
    const before = ring.entries.length;
    yield* this.#release(ring, context, 'irqsOff');
    if (ring.entries.length < before) this.drained += 1;
    if (ring.entries.length === RING_SIZE) {
      this.overflows += 1;
      yield* this.#flushDomain(context, 'irqsOff');
      yield* this.#release(ring, context, 'irqsOff');
    }
    ring.entries.push({ pfn, stamp: this.#flush });
    ring.locked = false;
    yield 'irqsOff';
  }

  /** `fq_flush_timeout`. */
  *#timer(cpu: number): Process {
    const context: TestContext = { cpu, pid: 100 + cpu, flag: 's' };
    this.timers += 1;
    yield* this.#flushDomain(context, 'any');
    for (const ring of this.#rings) {
      while (ring.locked) yield 'any';
      ring.locked = true;
      yield* this.#release(ring, context, 'irqsOff');
      ring.locked = false;
      yield 'any';
    }
    this.#timerRuns = false;
  }

  /** `fq_flush_iotlb`: the hardware takes its time between the two counters. */
  *#flushDomain(context: TestContext, pause: Pause): Process {
    this.#flush += 1;
    this.trace.flushDomain(context);
    for (let wait = this.#options.below(20); wait >= 0; wait -= 1) yield pause;
    this.#flushed += 1;
    for (let wait = this.#options.below(3); wait > 0; wait -= 1) yield pause;
  }

  /** `fq_ring_free_locked`. */
  *#release(ring: Ring, context: TestContext, pause: Pause): Process {
    for (let first = ring.entries[0]; first !== undefined && first.stamp < this.#flushed; first = ring.entries[0]) {
      ring.entries.shift();
      this.trace.free(first.pfn, 1, context);
      this.#freePfns.push(first.pfn);
      yield pause;
    }
  }

  #ring(cpu: number): Ring {
    const ring = this.#rings[cpu];
    if (ring === undefined) throw new Error(`no CPU ${cpu}`);
    return ring;
  }

  #stack(cpu: number): Process[] {
    const stack = this.#stacks[cpu];
    if (stack === undefined) throw new Error(`no CPU ${cpu}`);
    return stack;
  }

  #newPfn(): number {
    this.#nextPfn += 1;
    return this.#nextPfn;
  }

  #newCommand(): number {
    this.#nextCommand += 1;
    return this.#nextCommand;
  }
}
