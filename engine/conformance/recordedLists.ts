/**
 * The recorded side of a comparison: for every command the ordered list of what its calls did, as lines of text, and the
 * life of every IOVA range. Ranges are followed in the order of the file, across requests, so that a range that the flush
 * queue gives back in another request's unmap, or in the timer, is still known by its owner.
 * Leaves out: domains of other devices, which are told apart by the domain id of our own invalidations.
 */
import { offsetInPage, PAGE_SIZE } from '../memory/addresses.ts';
import type { FtraceRecord } from '../formats/ftrace.ts';
import type { TracedCall, TracedTimer } from '../lab/recordingCalls.ts';
import type { TiedTrace, TracedCommand, TracedOrphan, TracedStray } from '../lab/recordingTie.ts';
import { LiveRanges } from './liveRanges.ts';
import { type Allocation, allocationsOf, type RecordedAllocation } from './recordedAllocations.ts';
import { directionName, type IovaRange, lines, RangeNames } from './traceText.ts';

export interface RecordedLine {
  readonly text: string;
  readonly line: number;
}

export interface RecordedCommand {
  readonly command: TracedCommand;
  readonly owner: string;
  readonly ranges: readonly IovaRange[];
  readonly allocations: readonly RecordedAllocation[];
  readonly submission: readonly RecordedLine[];
  readonly completion: readonly RecordedLine[];
}

export interface RecordedOrphan {
  readonly orphan: TracedOrphan;
  readonly owner: string;
  readonly ranges: readonly IovaRange[];
  /** A range that it unmaps although this recording shows who allocated it. */
  readonly foreign: IovaRange | null;
}

/** Where a range went back to the allocator. */
export interface RecordedRelease {
  readonly line: number;
  /** The request whose unmap released it, or the timer. */
  readonly by: string;
  readonly pages: number;
}

export interface RecordedLists {
  readonly commands: readonly RecordedCommand[];
  readonly orphans: readonly RecordedOrphan[];
  /** What was issued without being set up, with the name under which it owns its ranges. */
  readonly strays: readonly { readonly stray: TracedStray; readonly owner: string }[];
  /** Timers of our domain. */
  readonly timers: readonly TracedTimer[];
  readonly releases: ReadonlyMap<IovaRange, RecordedRelease>;
  /** By line of `free_fast`. */
  readonly freedAt: ReadonlyMap<number, IovaRange>;
  /** Ranges that were in the flush queue when the recording began, in order of release, with the line that shows it. */
  readonly history: readonly { readonly range: IovaRange; readonly line: number }[];
}

export const BEFORE_THE_RECORDING = 'a request before the recording';

export function timerName(timer: TracedTimer): string {
  return `the timer at line ${timer.line}`;
}

/** The records of a list of calls between which nothing else of the same context stands. */
function recordsOf(calls: readonly TracedCall[]): FtraceRecord[] {
  return calls.flatMap((call) => call.records);
}

/** Writes one list. */
class ListWriter {
  readonly #names: RangeNames;
  readonly #freed: ReadonlyMap<number, IovaRange>;
  readonly #allocations: ReadonlyMap<FtraceRecord, Allocation>;
  readonly #ranges: ReadonlyMap<number, IovaRange>;
  readonly #misplaced: ReadonlyMap<number, string>;
  /** Lines of `alloc_fast_ret`. */
  readonly #answers: ReadonlySet<number>;

  constructor(own: readonly IovaRange[], allocations: readonly Allocation[], book: RangeBook) {
    this.#names = new RangeNames(own);
    this.#freed = book.freedAt;
    this.#ranges = book.allocatedAt;
    this.#misplaced = book.misplaced;
    this.#answers = new Set(allocations.map((allocation) => allocation.line));
    this.#allocations = new Map(allocations.map((allocation) => [allocation.first, allocation]));
  }

  write(calls: readonly TracedCall[]): RecordedLine[] {
    return calls.flatMap((call) =>
      call.records.flatMap((record) => {
        const text = this.#text(record, call);
        return text === null ? [] : [{ text, line: record.line }];
      }),
    );
  }

  /** Null: the line only completes an earlier one. */
  #text(record: FtraceRecord, call: TracedCall): string | null {
    const event = record.event;
    const names = this.#names;
    switch (event.name) {
      case 'alloc_fast': {
        const allocation = this.#allocations.get(record);
        if (allocation === undefined) return `alloc_fast size=${event.pages} that does not return`;
        const range = this.#ranges.get(allocation.line);
        const name = names.range(range, allocation.pfn);
        const misplaced = this.#misplaced.get(allocation.line);
        const limit = allocation.treeLimits.find((treeLimit) => treeLimit !== event.limitPfn);
        const oddity = misplaced ?? (limit === undefined ? undefined : `searched below pfn 0x${limit.toString(16)}`);
        const where = oddity === undefined ? name : `${name}, ${oddity}`;
        return lines.allocFast(event.pages, event.limitPfn, event.flushRcache, allocation.treePages, where);
      }
      case 'free_fast':
        return lines.freeFast(names.range(this.#freed.get(record.line), event.pfn), event.pages);
      case 'map':
        return lines.map(names.address(event.iova), call.name === 'dma_alloc' ? null : event.phys, event.size);
      case 'unmap':
        return lines.unmap(names.address(event.iova), event.size, event.unmapped);
      case 'cache_tag_flush_range':
        return lines.flush(event, names);
      case 'qi_submit':
        return lines.invalidate(event.granularity, names.address(event.address), event.mask, event.hint);
      case 'dma_map_page':
      case 'dma_map_phys':
        return lines.mapOne(
          event.name,
          event.direction,
          names.address(event.dmaAddress),
          event.size,
          event.phys,
          event.attributes,
        );
      case 'dma_unmap_page':
      case 'dma_unmap_phys':
        return lines.unmapOne(
          event.name,
          event.direction,
          names.address(event.dmaAddress),
          event.size,
          event.attributes,
        );
      case 'dma_map_sg': {
        const places = event.dmaAddresses.map((address) => names.address(address));
        return lines.mapSg(event.direction, event.entries, places, event.sizes, event.physAddresses, event.attributes);
      }
      case 'dma_unmap_sg':
        return lines.unmapSg(event.direction, event.physAddresses, event.attributes);
      case 'dma_alloc':
      case 'dma_free':
        return lines.coherent(event.name, names.coherent(event.dmaAddress), event.size);
      case 'try_alloc': {
        const returned = call.records.find((inner) => inner.event.name === 'try_alloc_ret')?.event;
        if (returned?.name !== 'try_alloc_ret') return lines.tryAlloc(event.phys, event.size, false, '', 0);
        return lines.tryAlloc(
          event.phys,
          event.size,
          returned.allocated,
          names.address(returned.address),
          returned.stateSize,
        );
      }
      case 'link':
        return lines.link(
          names.address(event.address),
          event.stateSize,
          event.phys,
          event.offset,
          event.size,
          directionName(event.direction),
          resultOf(call),
        );
      case 'sync':
        return lines.sync(names.address(event.address), event.offset, event.size, resultOf(call));
      case 'unlink':
        return lines.unlink(names.address(event.address), event.offset, event.size);
      case 'destroy':
        return lines.destroy(names.address(event.address), event.stateSize, event.mapped);
      case 'free':
        return lines.free(names.address(event.address), event.stateSize);
      case 'alloc_fast_ret':
        return this.#answers.has(record.line) ? null : 'alloc_fast_ret of no alloc_fast';
      case 'try_alloc_ret':
      case 'link_ret':
      case 'sync_ret':
        return isAnswer(record, call) ? null : `${event.name} of no call`;
      default:
        return null;
    }
  }
}

/** The first of its name in a call that the call's entry opens. */
function isAnswer(record: FtraceRecord, call: TracedCall): boolean {
  const entry = record.event.name.replace(/_ret$/, '');
  const opened = call.records.some((earlier) => earlier.event.name === entry && earlier.line < record.line);
  return opened && call.records.find((other) => other.event.name === record.event.name) === record;
}

function resultOf(call: TracedCall): number {
  const event = call.records.at(-1)?.event;
  return event?.name === 'link_ret' || event?.name === 'sync_ret' ? event.result : Number.NaN;
}

/** The life of every range, in the order of the file. */
class RangeBook {
  readonly allocatedAt = new Map<number, IovaRange>();
  readonly freedAt = new Map<number, IovaRange>();
  readonly releases = new Map<IovaRange, RecordedRelease>();
  readonly history: { range: IovaRange; line: number }[] = [];
  /** By line of the allocation: why its range cannot have been free, or cannot have been given for that. */
  readonly misplaced = new Map<number, string>();
  readonly #live = new LiveRanges();
  /** The latest range that this recording allocated at a page. */
  readonly #allocated = new Map<number, IovaRange>();

  allocate(owned: IovaRange[], owner: string, allocation: Allocation): void {
    if (allocation.pfn === 0) return;
    const range = { owner, index: owned.length, pfn: allocation.pfn, pages: allocation.pages };
    owned.push(range);
    this.allocatedAt.set(allocation.line, range);
    this.#allocated.set(range.pfn, range);
    const misplaced = this.#live.misplaced(range, allocation.limitPfn);
    if (misplaced !== null) this.misplaced.set(allocation.line, misplaced);
    this.#live.add(range);
  }

  /**
   * A range of a request that was submitted before the recording: seen for the first time when it is unmapped. The result is
   * the range that this recording allocated there: then the request was not submitted before it.
   */
  discover(owned: IovaRange[], owner: string, iova: number, size: number): IovaRange | null {
    const pfn = Math.floor(iova / PAGE_SIZE);
    const allocated = this.#allocated.get(pfn) ?? null;
    if (allocated !== null || this.#live.at(pfn) !== undefined) return allocated;
    const range = { owner, index: owned.length, pfn, pages: Math.ceil((offsetInPage(iova) + size) / PAGE_SIZE) };
    owned.push(range);
    this.#live.add(range);
    return null;
  }

  release(by: string, record: FtraceRecord): void {
    const event = record.event;
    if (event.name !== 'free_fast') return;
    let range = this.#live.at(event.pfn);
    if (range === undefined) {
      range = { owner: BEFORE_THE_RECORDING, index: this.history.length, pfn: event.pfn, pages: event.pages };
      this.history.push({ range, line: record.line });
    }
    this.#live.remove(range);
    this.freedAt.set(record.line, range);
    this.releases.set(range, { line: record.line, by, pages: event.pages });
  }
}

/** The domain of our drive: that of its own invalidations, else that of the timers which release its ranges. */
function ownTimers(trace: TiedTrace): TracedTimer[] {
  const ids = new Set<number>();
  const pfns = new Set<number>();
  for (const command of trace.commands) {
    for (const { event } of recordsOf([...command.submission, ...command.completion])) {
      if (event.name === 'qi_submit' || event.name === 'cache_tag_flush_range') ids.add(event.domainId);
      if (event.name === 'alloc_fast_ret') pfns.add(event.pfn);
    }
  }
  if (ids.size === 0) {
    for (const timer of trace.timers) {
      const releasesOurs = timer.frees.some(({ event }) => event.name === 'free_fast' && pfns.has(event.pfn));
      if (releasesOurs) ids.add(timer.domainId);
    }
  }
  return trace.timers.filter((timer) => ids.has(timer.domainId));
}

interface Moment {
  readonly line: number;
  readonly happen: (book: RangeBook) => void;
}

export function recordedLists(trace: TiedTrace): RecordedLists {
  const timers = ownTimers(trace);
  const book = new RangeBook();
  const moments: Moment[] = [];
  const releaseMoments = (calls: readonly TracedCall[], by: string): void => {
    for (const record of recordsOf(calls)) {
      if (record.event.name === 'free_fast')
        moments.push({
          line: record.line,
          happen: (b) => {
            b.release(by, record);
          },
        });
    }
  };
  const allocationMoments = (ranges: IovaRange[], owner: string, allocations: readonly Allocation[]): void => {
    for (const allocation of allocations) {
      moments.push({
        line: allocation.line,
        happen: (b) => {
          b.allocate(ranges, owner, allocation);
        },
      });
    }
  };
  const strays = trace.strays.map((stray) => {
    const owner = `the block_rq_issue at line ${stray.issue.line}`;
    allocationMoments([], owner, allocationsOf(recordsOf(stray.calls)));
    releaseMoments(stray.calls, owner);
    return { stray, owner };
  });
  const commands = trace.commands.map((command) => {
    const owner = `the request at line ${command.setup.line}`;
    const ranges: IovaRange[] = [];
    const allocations = allocationsOf(recordsOf(command.submission));
    allocationMoments(ranges, owner, allocations);
    releaseMoments(command.submission, owner);
    releaseMoments(command.completion, owner);
    return { command, owner, ranges, allocations };
  });
  const orphans = trace.orphans.map((orphan) => {
    const owner = `the request that completed at line ${orphan.completed.line}`;
    const ranges: IovaRange[] = [];
    const result: { orphan: TracedOrphan; owner: string; ranges: IovaRange[]; foreign: IovaRange | null } = {
      orphan,
      owner,
      ranges,
      foreign: null,
    };
    for (const { line, event } of recordsOf(orphan.calls)) {
      if (event.name !== 'unmap') continue;
      moments.push({
        line,
        happen: (b) => {
          result.foreign ??= b.discover(ranges, owner, event.iova, event.size);
        },
      });
    }
    releaseMoments(orphan.calls, owner);
    return result;
  });
  for (const timer of timers) {
    for (const record of timer.frees) {
      moments.push({
        line: record.line,
        happen: (b) => {
          b.release(timerName(timer), record);
        },
      });
    }
  }
  moments.sort((a, b) => a.line - b.line);
  for (const moment of moments) moment.happen(book);
  return {
    commands: commands.map(({ command, owner, ranges, allocations }) => {
      const writer = new ListWriter(ranges, allocations, book);
      return {
        command,
        owner,
        ranges,
        allocations,
        submission: writer.write(command.submission),
        completion: writer.write(command.completion),
      };
    }),
    orphans,
    strays,
    timers,
    releases: book.releases,
    freedAt: book.freedAt,
    history: book.history,
  };
}
