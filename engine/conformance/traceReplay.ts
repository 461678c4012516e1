/**
 * Replays the steps of one recording on an emulated machine and compares what each request did. Where the recording has a
 * device log, the device's side goes along (deviceReplay.ts).
 */
import type { TiedRecording } from '../lab/recording.ts';
import type { RecordedMemory } from '../lab/recordingVectors.ts';
import { firstDifference, type ListDifference } from './compareLists.ts';
import { submissionKey } from './deviceInvalidations.ts';
import type { DevicePlan } from './devicePlan.ts';
import { type DeviceRequest, DeviceReplay } from './deviceReplay.ts';
import { type EmulatedListener, EmulatedTrace } from './emulatedLists.ts';
import { type EmulatedRequest, EmulatedSystem } from './emulatedSystem.ts';
import { queuedBefore, releaseRings } from './flushHistory.ts';
import { BEFORE_THE_RECORDING, type RecordedCommand, type RecordedLists, timerName } from './recordedLists.ts';
import { FlushOrder, type ReplayStep, replaySteps } from './replaySteps.ts';
import type { IovaRange } from './traceText.ts';

/** One request while it is replayed. */
export interface Replayed {
  readonly recorded: RecordedCommand;
  readonly memory: RecordedMemory;
  readonly ranges: IovaRange[];
  request: EmulatedRequest | null;
  difference: ListDifference | null;
  /** The first one in the device log. */
  deviceDifference: ListDifference | null;
}

export class Replay {
  readonly #lists: RecordedLists;
  readonly #trace: EmulatedTrace;
  readonly #system: EmulatedSystem;
  readonly #requests: ReadonlyMap<RecordedCommand, Replayed>;
  readonly #rings: ReadonlyMap<number, number>;
  readonly #device: DeviceReplay | null;
  readonly #taken = new Set<ReplayStep>();
  readonly #stepsOf = {
    submit: new Map<RecordedCommand, ReplayStep>(),
    complete: new Map<RecordedCommand, ReplayStep>(),
  };
  #held: ReadonlyMap<ReplayStep, readonly number[]> = new Map();
  #steps: readonly ReplayStep[] = [];
  #next = 0;
  /** The descriptor that the hardware served last was for the whole domain. */
  #flushesDomain = false;

  constructor(
    recording: TiedRecording,
    lists: RecordedLists,
    requests: ReadonlyMap<RecordedCommand, Replayed>,
    plan: DevicePlan | null,
  ) {
    this.#lists = lists;
    this.#requests = requests;
    const { system } = recording;
    this.#trace = new EmulatedTrace({ printsPages: printsPages(recording) });
    const cpus = highestCpu(lists, system.cpus) + 1;
    this.#rings = releaseRings(lists, cpus);
    this.#system = new EmulatedSystem(system, cpus, this.#trace, {
      invalidated: (granularity, domainId, address, mask) => {
        this.#device?.observer(granularity, domainId, address, mask);
        this.#flushesDomain = granularity === 'domain';
      },
      waiting: () => {
        if (!this.#flushesDomain) return;
        this.#flushesDomain = false;
        this.#trace.domainFlushed();
      },
    });
    this.#device = plan === null ? null : this.#withDevice(plan);
  }

  #withDevice(plan: DevicePlan): DeviceReplay {
    return new DeviceReplay(plan, this.#system, {
      requestOf: (recorded) => this.#deviceRequest(recorded),
      pull: (kind, recorded) => {
        const step = this.#stepsOf[kind].get(recorded);
        if (step !== undefined) this.#take(step);
      },
    });
  }

  #deviceRequest(recorded: RecordedCommand): DeviceRequest | null {
    const replayed = this.#requests.get(recorded);
    if (replayed === undefined) return null;
    const { request, ranges, memory } = replayed;
    return { request, ranges, write: memory.write, bytes: memory.bytes };
  }

  run(): void {
    const order = new FlushOrder(this.#lists, this.#rings);
    this.#steps = replaySteps(this.#lists, order, new Set(this.#requests.keys()));
    for (const step of this.#steps) {
      if (step.kind === 'submit' || step.kind === 'complete') this.#stepsOf[step.kind].set(step.recorded, step);
    }
    this.#fillQueue(order.first);
    this.#held = this.#mapForQueue();
    this.#runUntil(Infinity);
    this.#device?.finish();
    for (const replayed of this.#requests.values()) replayed.difference ??= this.#releaseDifference(replayed);
    this.#compareReleaseOrder();
    if (this.#device === null) return;
    for (const replayed of this.#requests.values()) {
      replayed.deviceDifference = this.#device.differenceOf(replayed.recorded);
    }
  }

  #runUntil(line: number): void {
    for (let step = this.#steps[this.#next]; step !== undefined && step.at < line; step = this.#steps[this.#next]) {
      this.#next += 1;
      this.#take(step);
    }
  }

  /** What was in the flush queue before: the same number of ranges of the same sizes, in the same rings. */
  #fillQueue(firstFlush: number): void {
    const before = queuedBefore(this.#lists, this.#rings, firstFlush);
    const ranges: IovaRange[] = [];
    const listener: EmulatedListener = {
      duringDomainFlush: () => {
        queue(false);
      },
    };
    this.#trace.begin(BEFORE_THE_RECORDING, ranges, listener);
    const addresses = before.map(({ range, cpu }) => this.#system.mapPages(cpu, range.pages));
    const queue = (flushed: boolean): void => {
      for (const [index, { range, cpu, flushed: covered }] of before.entries()) {
        if (covered === flushed) this.#system.unmapPages(cpu, addresses[index] ?? 0, range.pages);
      }
    };
    queue(true);
    // What is queued while a flush is under way is not covered by it.
    if (before.some((entry) => entry.flushed)) this.#system.flushDomain(0);
    else queue(false);
    this.#trace.end();
  }

  /** Ranges of requests that were in flight when the recording began are mapped beforehand. */
  #mapForQueue(): Map<ReplayStep, readonly number[]> {
    const held = new Map<ReplayStep, readonly number[]>();
    for (const step of this.#steps) {
      if (step.kind !== 'queue') continue;
      this.#trace.begin(step.owner, []);
      held.set(
        step,
        step.ranges.map((range) => this.#system.mapPages(step.cpu, range.pages)),
      );
      this.#trace.end();
    }
    return held;
  }

  #take(step: ReplayStep): void {
    if (this.#taken.has(step)) return;
    this.#taken.add(step);
    // While a CPU waits for the flush of the domain, interrupts and other CPUs go on.
    const listener: EmulatedListener = {
      duringDomainFlush: () => {
        this.#runUntil(step.flushEnd);
      },
    };
    switch (step.kind) {
      case 'submit':
        this.#besideDevice(submissionKey(step.recorded.owner), null, step.recorded, () => {
          this.#submit(step.recorded);
        });
        return;
      case 'complete':
        this.#besideDevice(step.recorded.owner, step.recorded, step.recorded, () => {
          this.#complete(step.recorded, listener);
        });
        return;
      case 'queue':
        this.#besideDevice(step.owner, null, null, () => {
          this.#trace.begin(step.owner, [], listener);
          for (const [index, range] of step.ranges.entries()) {
            this.#system.unmapPages(step.cpu, this.#held.get(step)?.[index] ?? 0, range.pages);
          }
          this.#trace.end();
        });
        return;
      case 'timer':
        this.#besideDevice(timerName(step.timer), null, null, () => {
          this.#trace.begin(timerName(step.timer), [], listener);
          this.#system.flushDomain(step.timer.cpu);
          this.#trace.end();
        });
        return;
      case 'release':
        this.#trace.begin(timerName(step.timer), []);
        this.#system.releaseRing(step.timer.cpu, step.ring);
        this.#trace.end();
    }
  }

  /** A step with the device's log taken up to it; `completing` has been posted by then. */
  #besideDevice(
    key: string,
    completing: RecordedCommand | null,
    recorded: RecordedCommand | null,
    step: () => void,
  ): void {
    this.#device?.before(key, completing);
    this.#device?.begin(key, recorded);
    step();
    this.#device?.end();
  }

  #submit(recorded: RecordedCommand): void {
    const replayed = this.#requests.get(recorded);
    if (replayed === undefined) return;
    const { command, owner, allocations } = recorded;
    const past = this.#system.past(command.setup.cpu, allocations);
    this.#system.giveListBlock(this.#device?.listBlock(recorded) ?? null);
    this.#trace.begin(owner, replayed.ranges, { afterAllocation: past });
    replayed.request = this.#system.map(command.setup.cpu, replayed.memory);
    const end = (command.issue ?? command.setup).line;
    replayed.difference = firstDifference(recorded.submission, this.#trace.end(), end);
    this.#device?.tiePool(recorded, replayed.ranges);
  }

  #complete(recorded: RecordedCommand, listener: EmulatedListener): void {
    const replayed = this.#requests.get(recorded);
    if (replayed === undefined || recorded.command.completed === null) return;
    this.#trace.begin(recorded.owner, replayed.ranges, listener);
    const completed = recorded.command.completed;
    if (replayed.request !== null) this.#system.unmap(completed.cpu, replayed.request);
    replayed.request = null;
    const emulated = this.#trace.end();
    replayed.difference ??= firstDifference(recorded.completion, emulated, completed.line);
  }

  /** A ring is released in the order in which it was filled (Linux drivers/iommu/dma-iommu.c `fq_ring_free_locked`). */
  #compareReleaseOrder(): void {
    const owners = new Map<IovaRange, { readonly replayed: Replayed; readonly own: IovaRange }>();
    for (const replayed of this.#requests.values()) {
      for (const [index, range] of replayed.recorded.ranges.entries()) {
        const own = replayed.ranges[index];
        if (own !== undefined) owners.set(range, { replayed, own });
      }
    }
    for (const timer of this.#lists.timers) {
      const latest = new Map<number, number>();
      for (const { line } of timer.frees) {
        const range = this.#lists.freedAt.get(line);
        const owner = range === undefined ? undefined : owners.get(range);
        const order = owner === undefined ? undefined : this.#trace.releases.get(owner.own)?.order;
        if (range === undefined || owner === undefined || order === undefined) continue;
        const ring = this.#rings.get(line) ?? 0;
        const before = latest.get(ring) ?? -1;
        latest.set(ring, Math.max(before, order));
        if (order > before) continue;
        const what = `range ${range.index} is given back by ${timerName(timer)}`;
        owner.replayed.difference ??= {
          line,
          recorded: `${what} after one that was queued later`,
          emulated: `${what} in the order of the queue`,
        };
      }
    }
  }

  /** A queued range must go back where it did in the recording: in the same request's unmap, the same timer, or not at all. */
  #releaseDifference(replayed: Replayed): ListDifference | null {
    const { recorded } = replayed;
    for (const [index, range] of recorded.ranges.entries()) {
      const own = replayed.ranges[index];
      const expected = this.#lists.releases.get(range);
      const produced = own === undefined ? undefined : this.#trace.releases.get(own);
      if (expected?.by === produced?.by && expected?.pages === produced?.pages) continue;
      const text = (release: { readonly by: string; readonly pages: number } | undefined): string | null =>
        release === undefined ? null : `range ${index} is given back by ${release.by}, size=${release.pages}`;
      const line = expected?.line ?? recorded.command.completed?.line ?? recorded.command.setup.line;
      return { line, recorded: text(expected), emulated: text(produced) };
    }
    return null;
  }
}

/** Whether this kernel prints the number of pages of a flush is a matter of the tracepoint's wording, not of behaviour. */
function printsPages(recording: TiedRecording): boolean {
  for (const command of recording.trace.commands) {
    for (const { event } of command.completion.flatMap((call) => call.records)) {
      if (event.name === 'cache_tag_flush_range') return event.pages !== null;
    }
  }
  return false;
}

function highestCpu(lists: RecordedLists, cpus: number): number {
  let highest = cpus - 1;
  for (const { command } of lists.commands) {
    highest = Math.max(highest, command.setup.cpu, command.completed?.cpu ?? 0);
  }
  for (const { orphan } of lists.orphans) highest = Math.max(highest, orphan.completed.cpu);
  for (const timer of lists.timers) highest = Math.max(highest, timer.cpu);
  return highest;
}
