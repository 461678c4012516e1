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

export type ReplayStep =
  | { readonly kind: 'submit' | 'complete'; readonly at: number; readonly recorded: RecordedCommand }
  /** Ranges that a request which cannot be replayed put into the flush queue. */
  | {
      readonly kind: 'queue';
      readonly at: number;
      readonly cpu: number;
      readonly owner: string;
      readonly ranges: readonly IovaRange[];
    }
  | { readonly kind: 'timer'; readonly at: number; readonly timer: TracedTimer }
  /** The timer gives back what waits in one CPU's ring. */
  | { readonly kind: 'release'; readonly at: number; readonly timer: TracedTimer; readonly ring: number };

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

/** Lines of the flushes of our whole domain, ascending: the timer's, and those of full queues inside unmaps. */
function flushLines(lists: RecordedLists): number[] {
  const unmaps = [
    ...lists.commands.flatMap(({ command }) => command.completion),
    ...lists.orphans.flatMap(({ orphan }) => orphan.calls),
  ];
  const full = recordsOf(unmaps)
    .filter((record) => record.event.name === 'qi_submit' && isDomainFlush(record))
    .map((record) => record.line);
  return [...lists.timers.map((timer) => timer.line), ...full].sort((a, b) => a - b);
}

export function firstFlushLine(lists: RecordedLists): number {
  return flushLines(lists)[0] ?? Infinity;
}

/** Lines of whole-domain flushes, ascending, and where each queued range was released. */
class FlushOrder {
  readonly #flushes: readonly number[];
  readonly #lists: RecordedLists;

  constructor(lists: RecordedLists) {
    this.#lists = lists;
    this.#flushes = flushLines(lists);
  }

  /** The moment of a completion whose lines are `records` and which ended by `end`. */
  moment(records: readonly FtraceRecord[], ranges: RecordedCommand['ranges'], end: number): number {
    const last = records.at(-1);
    if (last === undefined) return end;
    const unmap = records.findLast((record) => record.event.name === 'unmap');
    if (unmap === undefined) return last.line;
    const decisive = records.find(
      (record) => record.line > unmap.line && (isDomainFlush(record) || record.event.name === 'free_fast'),
    );
    if (decisive !== undefined) return decisive.line;
    // It queued its range at some moment after the unmap. Where a flush by another context falls into that time, what
    // became of the range tells which came first: a range queued before the flush goes back before the next flush.
    const index = this.#flushes.findIndex((line) => line > unmap.line);
    const flush = this.#flushes[index];
    if (flush === undefined || flush > end) return unmap.line;
    const range = ranges.at(-1);
    const released = range === undefined ? undefined : this.#lists.releases.get(range)?.line;
    const next = this.#flushes[index + 1] ?? Infinity;
    return released !== undefined && released < next ? unmap.line : end;
  }
}

/**
 * The timer flushes, then takes the rings in order of CPU. A ring that it found empty, because its CPU released it in the
 * meantime, is left alone.
 */
function timerSteps(timer: TracedTimer, rings: ReadonlyMap<number, number>): ReplayStep[] {
  const steps: ReplayStep[] = [{ kind: 'timer', at: timer.line, timer }];
  const seen = new Set<number>();
  for (const { line } of timer.frees) {
    const ring = rings.get(line);
    if (ring === undefined || seen.has(ring)) continue;
    seen.add(ring);
    steps.push({ kind: 'release', at: line, timer, ring });
  }
  return steps;
}

/** Commands that can be replayed, by the caller's judgement; the others only keep their place in the flush queue. */
export function replaySteps(
  lists: RecordedLists,
  replayable: ReadonlySet<RecordedCommand>,
  rings: ReadonlyMap<number, number>,
): ReplayStep[] {
  const order = new FlushOrder(lists);
  const steps: ReplayStep[] = lists.timers.flatMap((timer) => timerSteps(timer, rings));
  const queueOnly = (
    owner: string,
    ranges: readonly IovaRange[],
    records: readonly FtraceRecord[],
    end: FtraceRecord,
  ): void => {
    // What an unmap gives back by itself never was in the queue.
    const queued = ranges.filter((range) => lists.releases.get(range)?.by !== owner);
    if (records.length === 0 || queued.length === 0) return;
    steps.push({ kind: 'queue', at: order.moment(records, queued, end.line), cpu: end.cpu, owner, ranges: queued });
  };
  for (const recorded of lists.commands) {
    const { command, owner, ranges } = recorded;
    const records = recordsOf(command.completion);
    if (command.completed === null) continue;
    if (!replayable.has(recorded)) {
      queueOnly(owner, ranges, records, command.completed);
      continue;
    }
    steps.push({ kind: 'submit', at: submissionMoment(recorded), recorded });
    steps.push({ kind: 'complete', at: order.moment(records, ranges, command.completed.line), recorded });
  }
  for (const { orphan, owner, ranges } of lists.orphans) {
    queueOnly(owner, ranges, recordsOf(orphan.calls), orphan.completed);
  }
  return steps.sort((a, b) => a.at - b.at);
}
