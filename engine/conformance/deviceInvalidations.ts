/**
 * Which invalidation descriptor of the device log is which `qi_submit` of the trace. A descriptor of an unmap comes after the
 * completion queue entry of its command and before the drive fetches what the same CPU issues next, because the CPU waits for
 * it; between these it is found by its content, and descriptors of one CPU stand in the CPU's order.
 */
import type { InvalidationGranularity } from '../formats/ftraceEvents.ts';
import type { TracedCall } from '../lab/recordingCalls.ts';
import type { MatchedCommands } from './deviceCommands.ts';
import { type DeviceUnit, endLine } from './deviceUnits.ts';
import { type RecordedLists, timerName } from './recordedLists.ts';

export type InvalidateUnit = Extract<DeviceUnit, { kind: 'invalidate' }>;

/** What the invalidations belong to: the owner's name, and whether it was submitting. */
export type InvalidationKey = string;

export function submissionKey(owner: string): InvalidationKey {
  return `submission of ${owner}`;
}

export interface MatchedInvalidations {
  readonly of: ReadonlyMap<InvalidationKey, readonly InvalidateUnit[]>;
  readonly keyOf: ReadonlyMap<InvalidateUnit, InvalidationKey>;
  /** Traced, and not in the log. */
  readonly missing: readonly { readonly key: InvalidationKey; readonly line: number }[];
}

/** So many descriptors back is looked for one that was sent before the first request. */
const NEAR = 8;

interface Traced {
  readonly key: InvalidationKey;
  readonly cpu: number;
  readonly line: number;
  readonly granularity: InvalidationGranularity;
  readonly domainId: number;
  readonly address: number;
  readonly mask: number;
  /** The log's line after which it must stand. */
  readonly after: number;
}

function tracedInvalidations(lists: RecordedLists, matched: MatchedCommands): Traced[] {
  const found: Traced[] = [];
  const add = (key: InvalidationKey, calls: readonly TracedCall[], after: number): void => {
    for (const { cpu, line, event } of calls.flatMap((call) => call.records)) {
      if (event.name !== 'qi_submit') continue;
      const { granularity, domainId, address, mask } = event;
      found.push({ key, cpu, line, granularity, domainId, address, mask, after });
    }
  };
  for (const recorded of lists.commands) {
    const { command, owner } = recorded;
    const logged = matched.logged.get(recorded);
    add(submissionKey(owner), command.submission, -1);
    add(owner, command.completion, logged === undefined ? -1 : endLine(logged));
  }
  for (const { orphan, owner } of lists.orphans) add(owner, orphan.calls, -1);
  for (const timer of lists.timers) {
    const { cpu, line, domainId } = timer;
    found.push({
      key: timerName(timer),
      cpu,
      line,
      granularity: 'domain',
      domainId,
      address: 0,
      mask: 0,
      after: -1,
    });
  }
  return found.sort((a, b) => a.line - b.line);
}

/** For each CPU, what it issued and completed, in the trace's order, with the log's lines. */
interface Anchor {
  readonly line: number;
  readonly after: number;
  readonly before: number;
}

function anchorsOf(lists: RecordedLists, matched: MatchedCommands): Map<number, Anchor[]> {
  const anchors = new Map<number, Anchor[]>();
  const add = (cpu: number, anchor: Anchor): void => {
    const known = anchors.get(cpu);
    if (known === undefined) anchors.set(cpu, [anchor]);
    else known.push(anchor);
  };
  for (const recorded of lists.commands) {
    const logged = matched.logged.get(recorded);
    const { issue, completed } = recorded.command;
    if (logged === undefined || issue === null) continue;
    add(issue.cpu, { line: issue.line, after: -1, before: logged.firstLine });
    if (completed !== null && endLine(logged) >= 0) {
      add(completed.cpu, { line: completed.line, after: endLine(logged), before: Infinity });
    }
  }
  for (const list of anchors.values()) list.sort((a, b) => a.line - b.line);
  return anchors;
}

function sameContent(unit: InvalidateUnit, traced: Traced): boolean {
  const { granularity, domainId, address, mask } = unit.record;
  if (granularity !== traced.granularity || domainId !== traced.domainId) return false;
  return granularity !== 'page' || (address === traced.address && mask === traced.mask);
}

export function matchInvalidations(
  lists: RecordedLists,
  matched: MatchedCommands,
  units: readonly DeviceUnit[],
): MatchedInvalidations {
  const invalidations = units.filter((unit): unit is InvalidateUnit => unit.kind === 'invalidate');
  const anchors = anchorsOf(lists, matched);
  const cursors = new Map<number, { index: number; after: number; before: readonly number[] }>();
  const last = new Map<number, number>();
  const first = new Map<number, number>();
  const prefix: { traced: Traced; before: number }[] = [];
  const of = new Map<InvalidationKey, InvalidateUnit[]>();
  const keyOf = new Map<InvalidateUnit, InvalidationKey>();
  const missing: { key: InvalidationKey; line: number }[] = [];
  for (const traced of tracedInvalidations(lists, matched)) {
    const { cpu, line } = traced;
    const list = anchors.get(cpu) ?? [];
    const cursor = cursors.get(cpu) ?? { index: 0, after: -1, before: latestFetches(list) };
    cursors.set(cpu, cursor);
    for (let anchor = list[cursor.index]; anchor !== undefined && anchor.line < line; anchor = list[cursor.index]) {
      cursor.index += 1;
      cursor.after = Math.max(cursor.after, anchor.after);
    }
    const before = cursor.before[cursor.index] ?? Infinity;
    const after = Math.max(cursor.after, traced.after, last.get(cpu) ?? -1);
    if (after < 0) {
      prefix.push({ traced, before });
      continue;
    }
    const unit = search(invalidations, traced, after, before, keyOf);
    if (unit === null) {
      missing.push(traced);
      continue;
    }
    last.set(cpu, unit.line);
    first.set(cpu, Math.min(first.get(cpu) ?? Infinity, unit.line));
    keyOf.set(unit, traced.key);
    const units = of.get(traced.key);
    if (units === undefined) of.set(traced.key, [unit]);
    else units.push(unit);
  }
  // Before a CPU's first completion only what follows ties the two files together: from there backwards.
  for (const { traced, before } of prefix.reverse()) {
    const bound = Math.min(before, first.get(traced.cpu) ?? Infinity);
    const near = invalidations.filter((unit) => unit.line < bound && !keyOf.has(unit)).slice(-NEAR);
    const unit = near.findLast((candidate) => sameContent(candidate, traced));
    if (unit === undefined) continue;
    first.set(traced.cpu, unit.line);
    keyOf.set(unit, traced.key);
    of.set(traced.key, [unit, ...(of.get(traced.key) ?? [])]);
  }
  return { of, keyOf, missing };
}

/** By position in the anchors: the fetch that the CPU's next issue leads to. */
function latestFetches(anchors: readonly Anchor[]): number[] {
  const fetches = new Array<number>(anchors.length);
  let next = Infinity;
  for (let index = anchors.length - 1; index >= 0; index -= 1) {
    next = Math.min(next, anchors[index]!.before);
    fetches[index] = next;
  }
  return fetches;
}

function search(
  invalidations: readonly InvalidateUnit[],
  traced: Traced,
  after: number,
  before: number,
  taken: ReadonlyMap<InvalidateUnit, InvalidationKey>,
): InvalidateUnit | null {
  let low = 0;
  let high = invalidations.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (invalidations[middle]!.line > after) high = middle;
    else low = middle + 1;
  }
  for (let index = low; index < invalidations.length; index += 1) {
    const unit = invalidations[index]!;
    if (unit.line >= before) return null;
    if (!taken.has(unit) && sameContent(unit, traced)) return unit;
  }
  return null;
}
