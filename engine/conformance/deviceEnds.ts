/**
 * Where a device log begins and ends beside its trace. It should cover the whole boot, but a log that was copied while the
 * machine ran, or of a machine that was killed, ends early: the requests that were under way then cannot be compared. And
 * what the IOTLB held before the log began shows in hits that no fill explains.
 */
import type { DeviceLogRecord } from '../formats/deviceLog.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { MatchedCommands } from './deviceCommands.ts';
import { endLine } from './deviceUnits.ts';
import type { MatchedInvalidations } from './deviceInvalidations.ts';
import type { DeviceRoles } from './deviceRoles.ts';
import type { RecordedCommand, RecordedLists } from './recordedLists.ts';

/** QEMU hw/i386/intel_iommu_internal.h `VTD_IOTLB_MAX_SIZE`: so many entries, then all of them go. */
export const RECORDED_IOTLB_ENTRIES = 1024;

/** The pages that the IOTLB held before line `end`, oldest first. */
export function cachedPages(records: readonly DeviceLogRecord[], roles: DeviceRoles, end: number): number[] {
  const held = new Set<number>();
  const seen = new Set<number>();
  for (const record of records) {
    if (record.event !== 'lookup' || record.sourceId !== roles.sourceId) continue;
    const page = Math.floor(record.iova / PAGE_SIZE);
    if (record.hit && !seen.has(page)) held.add(page);
    seen.add(page);
  }
  for (const record of records) {
    if (record.line >= end) break;
    if (record.event === 'lookup' && !record.hit && record.sourceId === roles.sourceId) {
      if (held.size >= RECORDED_IOTLB_ENTRIES) held.clear();
      held.add(Math.floor(record.iova / PAGE_SIZE));
    } else if (record.event === 'invalidation') {
      if (record.granularity !== 'global' && record.domainId !== roles.domainId) continue;
      if (record.granularity !== 'page') held.clear();
      else {
        const first = Math.floor(record.address / PAGE_SIZE);
        const last = first + 2 ** record.mask - 1;
        for (const page of held) if (page >= first && page <= last) held.delete(page);
      }
    }
  }
  return [...held];
}

/** Of the requests of `compared`, those that the log is too short for. */
export function cutOffRequests(
  compared: readonly RecordedCommand[],
  lists: RecordedLists,
  commands: MatchedCommands,
  invalidations: MatchedInvalidations,
  records: readonly DeviceLogRecord[],
): ReadonlySet<RecordedCommand> {
  const cutOff = new Set<RecordedCommand>();
  let last = 0;
  for (const { line, completeLine, postLine } of commands.recorded.keys()) {
    last = Math.max(last, ...[line, completeLine, postLine].filter(Number.isFinite));
  }
  // Behind each descriptor stands its wait.
  for (const unit of invalidations.keyOf.keys()) last = Math.max(last, unit.line + 1);
  const goesOn = records.some(({ event, line }) => line > last && (event === 'wait' || event === 'command'));
  if (goesOn) return cutOff;
  const latestIssue = new Map<number, number>();
  for (const { command } of lists.commands.filter((recorded) => commands.logged.has(recorded))) {
    if (command.issue === null) continue;
    const { cpu, line } = command.issue;
    latestIssue.set(cpu, Math.max(latestIssue.get(cpu) ?? 0, line));
  }
  const missing = new Set(invalidations.missing.map(({ key }) => key));
  for (const recorded of compared) {
    const { completed } = recorded.command;
    const logged = commands.logged.get(recorded);
    const whole = logged !== undefined && endLine(logged) >= 0 && !missing.has(recorded.owner);
    if (whole || completed === null) continue;
    // What the same CPU issued after this one had ended is in the log, so this one's end should be.
    if ((latestIssue.get(completed.cpu) ?? 0) > completed.line) continue;
    if (logged !== undefined || commands.beyond.has(recorded)) cutOff.add(recorded);
  }
  return cutOff;
}
