/**
 * What waited in the flush queue when the recording began. The queue's fill decides when it overflows, so it must be had:
 * ranges that are released although nobody in the recording queued them were in it, oldest first, and the first release of
 * each CPU's ring shows all of them (Linux drivers/iommu/dma-iommu.c `fq_ring_free_locked`: a ring is released in order, the
 * timer takes the rings in order of CPU).
 * Leaves out: rings that are not released during the recording, which cannot overflow in it either.
 */
import type { FtraceRecord } from '../formats/ftrace.ts';
import type { RecordedLists } from './recordedLists.ts';
import type { IovaRange } from './traceText.ts';

export interface QueuedBefore {
  readonly range: IovaRange;
  /** The CPU whose ring held it. */
  readonly cpu: number;
  /** It was only waiting to be released: a flush had already covered it. */
  readonly flushed: boolean;
}

/** Which CPU's ring each released range came out of, by line of its release. */
export function releaseRings(lists: RecordedLists, cpus: number): ReadonlyMap<number, number> {
  const rings = queueingCpus(lists);
  const unknown = new Set(lists.history.map((entry) => entry.line));
  for (const record of releasesInUnmaps(lists)) if (unknown.has(record.line)) rings.set(record.line, record.cpu);
  for (const timer of lists.timers) assignTimer(timer.frees, unknown, rings, cpus);
  return rings;
}

/** In the order in which they must have been queued. */
export function queuedBefore(
  lists: RecordedLists,
  rings: ReadonlyMap<number, number>,
  firstFlush: number,
): QueuedBefore[] {
  return lists.history.map(({ range, line }) => ({ range, cpu: rings.get(line) ?? 0, flushed: line < firstFlush }));
}

/** By line of release: the CPU on which the range was queued in the recording. */
function queueingCpus(lists: RecordedLists): Map<number, number> {
  const cpus = new Map<number, number>();
  const note = (ranges: readonly IovaRange[], cpu: number): void => {
    for (const range of ranges) {
      const release = lists.releases.get(range);
      if (release !== undefined) cpus.set(release.line, cpu);
    }
  };
  for (const { command, ranges } of lists.commands) if (command.completed !== null) note(ranges, command.completed.cpu);
  for (const { orphan, ranges } of lists.orphans) note(ranges, orphan.completed.cpu);
  return cpus;
}

/** The timer's releases are sections by ring: unknown ranges open the section of the known ones that follow. */
function assignTimer(
  frees: readonly FtraceRecord[],
  unknown: ReadonlySet<number>,
  rings: Map<number, number>,
  cpus: number,
): void {
  let waiting: number[] = [];
  let lastRing = -1;
  for (const { line } of frees) {
    const ring = rings.get(line);
    if (unknown.has(line)) waiting.push(line);
    else if (ring !== undefined) {
      for (const earlier of waiting) rings.set(earlier, ring);
      waiting = [];
      lastRing = ring;
    }
  }
  // After the known ranges of a ring, unknown ones can only be of a later ring.
  for (const line of waiting) rings.set(line, Math.min(lastRing + 1, cpus - 1));
}

/** `free_fast` lines inside unmaps: an unmap releases its own CPU's ring. */
function releasesInUnmaps(lists: RecordedLists): FtraceRecord[] {
  return [
    ...lists.commands.flatMap(({ command }) => command.completion),
    ...lists.orphans.flatMap(({ orphan }) => orphan.calls),
  ].flatMap((call) => call.records.filter((record) => record.event.name === 'free_fast'));
}
