/**
 * What is settled before a device log is replayed beside its trace: where the trace begins and ends in it, which command is
 * which request, which descriptor which unmap, and what the recorded machine had before: the IOTLB's content, where its drive
 * was in the queues. What the log lacks, or has too much of, is charged to the request beside which it shows.
 */
import { type DeviceLogRecord, readDeviceLog } from '../formats/deviceLog.ts';
import { traceText } from '../lab/recordingFiles.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { LabError } from '../time/labError.ts';
import type { ListDifference } from './compareLists.ts';
import { type MatchedCommands, matchCommands, NVME_OPCODES } from './deviceCommands.ts';
import {
  type InvalidationKey,
  type MatchedInvalidations,
  matchInvalidations,
  submissionKey,
} from './deviceInvalidations.ts';
import { cachedPages, cutOffRequests } from './deviceEnds.ts';
import { deviceOddities } from './deviceOddities.ts';
import { DeviceRoles } from './deviceRoles.ts';
import { type DeviceUnit, type DeviceUnits, deviceUnits, type LoggedCommand } from './deviceUnits.ts';
import type { RecordedCommand, RecordedLists } from './recordedLists.ts';

interface QueuePosition {
  readonly queue: number;
  readonly kind: 'sqEntry' | 'cqEntry';
  readonly index: number;
}

export interface DevicePlan {
  readonly roles: DeviceRoles;
  readonly units: readonly DeviceUnit[];
  readonly commands: MatchedCommands;
  readonly invalidations: MatchedInvalidations;
  /** Requests that are compared at the device too: reads and writes. */
  readonly judged: ReadonlySet<RecordedCommand>;
  /** Requests that the log is too short for. */
  readonly beyond: ReadonlySet<RecordedCommand>;
  readonly owners: ReadonlyMap<InvalidationKey, RecordedCommand>;
  readonly firstLine: number;
  readonly lastLine: number;
  /** Bus pages that may need a stand-in. */
  readonly pages: number;
  /** What the IOTLB held when the replay begins. */
  readonly cachedPages: readonly number[];
  readonly positions: readonly QueuePosition[];
  readonly blockBytes: number;
  readonly oddities: ReadonlyMap<DeviceLogRecord, string>;
  readonly charges: ReadonlyMap<RecordedCommand, ListDifference>;
}

/** Submission and completion rings, of one queue. */
const RING_PAGES = 32;
/** Each page stands in the replay's own memory. */
const MOST_PAGES = 32_768;
const DEFAULT_BLOCK_BYTES = 512;

/** The bus address of a command's PRP list or SGL segment; null: it has none, or nothing tells. */
export function listAddress(logged: LoggedCommand, roles: DeviceRoles): number | null {
  let segment = false;
  for (const record of logged.records) {
    if (record.event === 'prp') return record.length - record.first > PAGE_SIZE ? record.prp2 : null;
    if (record.event === 'sgl') segment = record.type !== 0;
    else if (record.event === 'address') return null;
    else if (segment && record.event === 'lookup' && roles.placeOf(record.iova) === null) return record.iova;
  }
  return null;
}

function positionsAt({ units }: DeviceUnits, roles: DeviceRoles, line: number): QueuePosition[] {
  const found = new Map<string, QueuePosition>();
  for (const unit of units) {
    if (unit.line < line || (unit.kind !== 'fetch' && unit.kind !== 'post')) continue;
    const kind = unit.kind === 'fetch' ? 'sqEntry' : 'cqEntry';
    const { queue, records } = unit.command;
    if (found.has(`${kind} ${queue}`)) continue;
    const places = records.map((record) => (record.event === 'lookup' ? roles.placeOf(record.iova) : null));
    const place = places.find((candidate) => candidate?.kind === kind);
    if (place !== undefined && place !== null) found.set(`${kind} ${queue}`, { queue, kind, index: place.index });
  }
  return [...found.values()];
}

function distinctPages(records: readonly DeviceLogRecord[]): number {
  const pages = new Set<number>();
  for (const record of records) {
    if (record.event === 'lookup') pages.add(Math.floor(record.iova / PAGE_SIZE));
    else if (record.event === 'prp') pages.add(Math.floor(record.prp2 / PAGE_SIZE));
  }
  return pages.size;
}

/** Which request stands beside a line of the trace, or of the log. */
function latest(
  judged: Iterable<RecordedCommand>,
  lineOf: (recorded: RecordedCommand) => number,
  line: number,
): RecordedCommand | null {
  let first: RecordedCommand | null = null;
  let best: RecordedCommand | null = null;
  for (const recorded of judged) {
    if (first === null || lineOf(recorded) < lineOf(first)) first = recorded;
    if (lineOf(recorded) <= line && (best === null || lineOf(recorded) > lineOf(best))) best = recorded;
  }
  return best ?? first;
}

function isTransfer({ command }: RecordedCommand): boolean {
  const opcode = NVME_OPCODES.get(command.opcode);
  return opcode === 1 || opcode === 2;
}

/** Requests that the driver completes later on the same CPU, of the same queue, than one that the drive finished after them. */
function outOfOrder(
  judged: Iterable<RecordedCommand>,
  { logged }: MatchedCommands,
): { readonly recorded: RecordedCommand; readonly line: number }[] {
  const sorted = [...judged].sort((a, b) => a.command.completeOrder - b.command.completeOrder);
  const latestLine = new Map<string, number>();
  const found: { readonly recorded: RecordedCommand; readonly line: number }[] = [];
  for (const recorded of sorted) {
    const line = logged.get(recorded)?.completeLine ?? Infinity;
    if (line === Infinity) continue;
    const key = `${recorded.command.queue} ${recorded.command.completed?.cpu ?? 0}`;
    const before = latestLine.get(key) ?? -1;
    if (line < before) found.push({ recorded, line });
    else latestLine.set(key, line);
  }
  return found;
}

export function planDevice(
  name: string,
  log: Uint8Array,
  lists: RecordedLists,
  compared: Iterable<RecordedCommand>,
): DevicePlan {
  const records = readDeviceLog(name, traceText(name, log));
  const roles = new DeviceRoles();
  roles.learn(records);
  const logged = deviceUnits(records, roles);
  const commands = matchCommands(lists.commands, logged.commands);
  if (commands.logged.size === 0) {
    throw new LabError(
      name,
      'no request of the trace is in this device log.',
      'Put the log of the same boot beside it.',
    );
  }
  const pages = distinctPages(records) + RING_PAGES * (new Set(logged.commands.map(({ queue }) => queue)).size + 1);
  if (pages > MOST_PAGES) {
    throw new LabError(name, `it names ${pages} pages; ${MOST_PAGES} are replayed.`, 'Record a shorter boot.');
  }
  const invalidations = matchInvalidations(lists, commands, logged.units);
  const transfers = [...compared].filter(isTransfer);
  const lastOf = (recorded: RecordedCommand, command: LoggedCommand): number => {
    const descriptors = invalidations.of.get(recorded.owner)?.map((unit) => unit.line) ?? [];
    return Math.max(command.line, ...[command.completeLine, command.postLine, ...descriptors].filter(Number.isFinite));
  };
  const beyond = cutOffRequests(transfers, lists, commands, invalidations, records);
  const judged = new Set(transfers.filter((recorded) => !beyond.has(recorded)));
  let firstLine = Infinity;
  let lastLine = 0;
  for (const recorded of judged) {
    const command = commands.logged.get(recorded);
    if (command === undefined) continue;
    firstLine = Math.min(firstLine, command.firstLine);
    lastLine = Math.max(lastLine, lastOf(recorded, command));
  }
  const owners = new Map<InvalidationKey, RecordedCommand>();
  for (const recorded of lists.commands) {
    owners.set(recorded.owner, recorded);
    owners.set(submissionKey(recorded.owner), recorded);
  }
  const oddities = deviceOddities(records, roles);
  const charges = new Map<RecordedCommand, ListDifference>();
  const charge = (recorded: RecordedCommand | null, difference: ListDifference): void => {
    if (recorded !== null && !charges.has(recorded)) charges.set(recorded, difference);
  };
  for (const recorded of judged) {
    if (commands.logged.has(recorded)) continue;
    charge(recorded, { line: logged.lastLine, recorded: null, emulated: 'the drive fetches the command' });
  }
  for (const { key, line } of invalidations.missing) {
    if (owners.has(key) || beyond.size > 0) continue;
    const beside = latest(judged, ({ command }) => command.setup.line, line);
    charge(beside, {
      line,
      recorded: `no invalidation descriptor of ${key}`,
      emulated: 'one descriptor for each flush',
    });
  }
  const adminLine = logged.adminLines.find((line) => line > firstLine) ?? Infinity;
  const fetchLine = (recorded: RecordedCommand): number => commands.logged.get(recorded)?.line ?? Infinity;
  for (const unit of logged.units) {
    if (unit.kind !== 'invalidate' || unit.line < firstLine || unit.line > Math.min(lastLine, adminLine)) continue;
    if (unit.record.domainId !== roles.domainId || invalidations.keyOf.has(unit)) continue;
    const { granularity, address, mask } = unit.record;
    const what = `iotlb invalidate ${granularity} addr 0x${address.toString(16)} mask ${mask}`;
    charge(latest(judged, fetchLine, unit.line), {
      line: unit.line,
      recorded: `${what}, which the trace lacks`,
      emulated: null,
    });
  }
  for (const [record, oddity] of oddities) {
    if (record.event !== 'wait' || record.line < firstLine || record.line > lastLine) continue;
    const recorded = `a wait descriptor ${oddity}`;
    charge(latest(judged, fetchLine, record.line), { line: record.line, recorded, emulated: null });
  }
  for (const { recorded, line } of outOfOrder(judged, commands)) {
    charge(recorded, {
      line,
      recorded: 'its transfer completes before one that the driver was told of earlier',
      emulated: 'the completion queue keeps the order',
    });
  }
  const transfer = records.find((record) => record.event === 'transfer' && record.blocks > 0);
  return {
    roles,
    units: logged.units,
    commands,
    invalidations,
    judged,
    beyond,
    owners,
    firstLine,
    lastLine,
    pages,
    cachedPages: cachedPages(records, roles, firstLine),
    positions: positionsAt(logged, roles, firstLine),
    blockBytes: transfer?.event === 'transfer' ? transfer.bytes / transfer.blocks : DEFAULT_BLOCK_BYTES,
    oddities,
    charges,
  };
}
