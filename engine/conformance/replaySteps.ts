/**
 * The order in which a recording is replayed. One CPU's lines are in order, but calls overlap: interrupts nest inside
 * submissions, CPUs run side by side. The emulator runs each submission, each completion and each timer in one piece, so every
 * one of them needs a single moment: that at which it touched what others see. For a submission this is its last
 * allocation (everything that was free by then may be reused), for an unmap the moment at which it queued its range or gave
 * it back, for a timer its flush.
 * Leaves out: anything finer than a request; two requests that race inside the allocator differ in IOVAs only, which are
 * compared by correspondence.
 */
import type { FtraceRecord } from '../formats/ftrace.ts';
import type { TracedCall, TracedTimer } from '../lab/recordingCalls.ts';
import type { RecordedCommand, RecordedLists } from './recordedLists.ts';
import type { IovaRange } from './traceText.ts';

/** A flush of the whole domain: from when it was asked for until the CPU that asked went on. */
interface FlushWindow {
  readonly begin: number;
  readonly end: number;
}

interface Moment {
  readonly at: number;
  /** The end of the domain flush inside it; others run meanwhile. */
  readonly flushEnd: number;
}

export type ReplayStep = Moment &
  (
    | { readonly kind: 'submit' | 'complete'; readonly recorded: RecordedCommand }
    /** Ranges that a request which cannot be replayed put into the flush queue. */
    | { readonly kind: 'queue'; readonly cpu: number; readonly owner: string; readonly ranges: readonly IovaRange[] }
    | { readonly kind: 'timer'; readonly timer: TracedTimer }
    /** The timer gives back what waits in one CPU's ring. */
    | { readonly kind: 'release'; readonly timer: TracedTimer; readonly ring: number }
  );

function recordsOf(calls: readonly TracedCall[]): FtraceRecord[] {
  return calls.flatMap((call) => call.records);
}

function isDomainFlush(record: FtraceRecord): boolean {
  const { event } = record;
  return event.name === 'qi_submit'
    ? event.granularity === 'domain'
    : event.name === 'cache_tag_flush_range' && event.wholeDomain;
}

function submissionMoment(recorded: RecordedCommand): number {
  const records = recordsOf(recorded.command.submission);
  const allocation = records.findLast((record) => record.event.name === 'alloc_fast_ret');
  return (allocation ?? records.at(-1) ?? recorded.command.issue ?? recorded.command.setup).line;
}

/** The calls that end a request, with its ranges. */
function* endings(lists: RecordedLists): Generator<{ records: FtraceRecord[]; ranges: readonly IovaRange[] }> {
  for (const { command, ranges } of lists.commands) yield { records: recordsOf(command.completion), ranges };
  for (const { orphan, ranges } of lists.orphans) yield { records: recordsOf(orphan.calls), ranges };
}

/** Where an unmap gave back ranges that another flush had covered: that flush had ended. */
function drainLines(lists: RecordedLists): number[] {
  const found: number[] = [];
  for (const { records, ranges } of endings(lists)) {
    const first = records.find((record) => {
      const range = lists.freedAt.get(record.line);
      return isDomainFlush(record) || (range !== undefined && !ranges.includes(range));
    });
    if (first !== undefined && !isDomainFlush(first)) found.push(first.line);
  }
  return found.sort((a, b) => a - b);
}

/**
 * Flushes of our whole domain, in order: the timer's, and those of full queues inside unmaps. The hardware takes its time,
 * and interrupts and other CPUs go on meanwhile; the flush has ended when its CPU gives back a range, or when anyone gives back
 * what it covered.
 */
function flushWindows(lists: RecordedLists): FlushWindow[] {
  const begun: { readonly begin: number; readonly ownRelease: number }[] = [];
  for (const timer of lists.timers) begun.push({ begin: timer.line, ownRelease: timer.frees[0]?.line ?? Infinity });
  for (const { records } of endings(lists)) {
    const flush = records.find(isDomainFlush);
    if (flush === undefined) continue;
    const release = records.find((record) => record.line > flush.line && record.event.name === 'free_fast');
    begun.push({ begin: flush.line, ownRelease: release?.line ?? Infinity });
  }
  begun.sort((a, b) => a.begin - b.begin);
  const drains = drainLines(lists);
  return begun.map(({ begin, ownRelease }, index) => {
    const drain = drains.find((line) => line > begin) ?? Infinity;
    const end = Math.min(ownRelease, drain);
    const next = begun[index + 1]?.begin ?? Infinity;
    // With nothing to tell the end, nobody saw the difference.
    return { begin, end: end === Infinity || (ownRelease === Infinity && end > next) ? begin : end };
  });
}

/** The timer gives back what waits in one CPU's ring. */
interface RingRelease {
  readonly timer: TracedTimer;
  readonly ring: number;
  /** The first range of that ring. */
  readonly line: number;
}

/** The timer takes the rings in order of CPU; one that it found empty leaves no line, and is left alone. */
function ringReleases(timer: TracedTimer, rings: ReadonlyMap<number, number>): RingRelease[] {
  const releases = new Map<number, RingRelease>();
  for (const { line } of timer.frees) {
    const ring = rings.get(line);
    if (ring !== undefined && !releases.has(ring)) releases.set(ring, { timer, ring, line });
  }
  return [...releases.values()];
}

export class FlushOrder {
  readonly ringReleases: readonly RingRelease[];
  readonly #windows: readonly FlushWindow[];
  readonly #lists: RecordedLists;

  constructor(lists: RecordedLists, rings: ReadonlyMap<number, number>) {
    this.#lists = lists;
    this.#windows = flushWindows(lists);
    this.ringReleases = lists.timers.flatMap((timer) => ringReleases(timer, rings));
  }

  /** The line of the first flush; Infinity without any. */
  get first(): number {
    return this.#windows[0]?.begin ?? Infinity;
  }

  endOf(begin: number): number {
    return this.#windows.find((window) => window.begin === begin)?.end ?? begin;
  }

  /** The moment of a completion whose lines are `records` and which ended by `end`. */
  moment(records: readonly FtraceRecord[], ranges: readonly IovaRange[], end: number): Moment {
    const at = this.#lineOf(records, ranges, end);
    return { at, flushEnd: this.endOf(at) };
  }

  #lineOf(records: readonly FtraceRecord[], ranges: readonly IovaRange[], end: number): number {
    const last = records.at(-1);
    if (last === undefined) return end;
    const unmap = records.findLast((record) => record.event.name === 'unmap');
    if (unmap === undefined) return last.line;
    const decisive = records.find(
      (record) => record.line > unmap.line && (isDomainFlush(record) || record.event.name === 'free_fast'),
    );
    if (decisive !== undefined) return decisive.line;
    // It queued its range at some moment after the unmap. Where the timer released this CPU's ring in that time, after its
    // flush had ended, the ring was locked: had the unmap come first, it would have released it by itself.
    const ring = this.ringReleases.find(
      (release) => release.ring === last.cpu && release.line > unmap.line && release.line < end,
    );
    if (ring !== undefined && this.endOf(ring.timer.line) <= unmap.line) return ring.line + 0.5;
    // Where a flush by another context falls into that time, what
    // became of the range tells which came first: a range queued before the flush goes back before the next flush.
    const index = this.#windows.findIndex((window) => window.begin > unmap.line);
    const flush = this.#windows[index];
    if (flush === undefined || flush.begin > end) return unmap.line;
    const range = ranges.at(-1);
    const released = range === undefined ? undefined : this.#lists.releases.get(range)?.line;
    const next = this.#windows[index + 1]?.begin ?? Infinity;
    return released !== undefined && released < next ? unmap.line : flush.begin + 0.5;
  }
}

/** Commands that can be replayed, by the caller's judgement; the others only keep their place in the flush queue. */
export function replaySteps(
  lists: RecordedLists,
  order: FlushOrder,
  replayable: ReadonlySet<RecordedCommand>,
): ReplayStep[] {
  const steps: ReplayStep[] = [];
  for (const timer of lists.timers) {
    steps.push({ kind: 'timer', at: timer.line, flushEnd: order.endOf(timer.line), timer });
  }
  for (const { timer, ring, line } of order.ringReleases) {
    steps.push({ kind: 'release', at: line, flushEnd: line, timer, ring });
  }
  const queueOnly = (
    owner: string,
    ranges: readonly IovaRange[],
    records: readonly FtraceRecord[],
    end: FtraceRecord,
  ): void => {
    // What an unmap gives back by itself never was in the queue.
    const queued = ranges.filter((range) => lists.releases.get(range)?.by !== owner);
    if (records.length === 0 || queued.length === 0) return;
    steps.push({ kind: 'queue', ...order.moment(records, queued, end.line), cpu: end.cpu, owner, ranges: queued });
  };
  for (const recorded of lists.commands) {
    const { command, owner, ranges } = recorded;
    const records = recordsOf(command.completion);
    if (command.completed === null) continue;
    if (!replayable.has(recorded)) {
      queueOnly(owner, ranges, records, command.completed);
      continue;
    }
    const at = submissionMoment(recorded);
    steps.push({ kind: 'submit', at, flushEnd: at, recorded });
    steps.push({ kind: 'complete', ...order.moment(records, ranges, command.completed.line), recorded });
  }
  for (const { orphan, owner, ranges } of lists.orphans) {
    queueOnly(owner, ranges, recordsOf(orphan.calls), orphan.completed);
  }
  return steps.sort((a, b) => a.at - b.at);
}
