/**
 * The device log beside the trace: the pieces of the log are taken in their order, each is done by the emulated drive and
 * IOMMU, and what they did is written beside what the log says, request by request. The trace's steps keep their order too;
 * before a completion is replayed the log is taken up to the descriptor that it sent, and a piece that needs a request
 * which is not there yet has it submitted first. Order and moment are the log's, so are the pages of the machine's past (queues,
 * descriptor pools, what the IOTLB held); all else is the emulator's.
 */
import type { InvalidationObserver } from '../iommu/vtd/invalidationQueue.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { firstDifference, type ListDifference } from './compareLists.ts';
import type { InvalidateUnit, InvalidationKey } from './deviceInvalidations.ts';
import { type DevicePlan, listAddress } from './devicePlan.ts';
import { deviceLines, invalidationText, LoggedLines, lookupText } from './deviceText.ts';
import { type DeviceUnit, endLine, type LoggedCommand } from './deviceUnits.ts';
import { EmulatedDrive } from './emulatedDrive.ts';
import type { EmulatedRequest, EmulatedSystem } from './emulatedSystem.ts';
import type { RecordedCommand, RecordedLine } from './recordedLists.ts';
import { StandInPages } from './standInPages.ts';
import { type IovaRange, RangeNames } from './traceText.ts';

/** A judged request, as the replay of the trace has it. */
export interface DeviceRequest {
  readonly request: EmulatedRequest | null;
  /** Live: the emulated ranges of the request. */
  readonly ranges: readonly IovaRange[];
  readonly write: boolean;
  readonly bytes: number;
}

export interface DeviceHost {
  readonly requestOf: (recorded: RecordedCommand) => DeviceRequest | null;
  /** Replays a submission or a completion now, unless it has been. */
  readonly pull: (kind: 'submit' | 'complete', recorded: RecordedCommand) => void;
}

interface Side {
  readonly logged: LoggedCommand;
  readonly lines: LoggedLines;
  readonly recordedNames: RangeNames;
  readonly recorded: RecordedLine[];
  readonly emulated: string[];
}

export class DeviceReplay {
  readonly #plan: DevicePlan;
  readonly #system: EmulatedSystem;
  readonly #host: DeviceHost;
  readonly #drive: EmulatedDrive;
  readonly #standIns: StandInPages;
  readonly #sides = new Map<RecordedCommand, Side>();
  readonly #done = new Set<DeviceUnit>();
  /** Where descriptors of the emulated IOMMU are written down; null for what is not judged. */
  readonly #listening: ({ readonly names: RangeNames; readonly lines: string[] } | null)[] = [];
  /** What differs between commands, by the one that was fetched before. */
  readonly #beside = new Map<RecordedCommand, ListDifference>();
  #fetched: RecordedCommand | null = null;
  #next = 0;
  #begun = false;

  constructor(plan: DevicePlan, system: EmulatedSystem, host: DeviceHost) {
    this.#plan = plan;
    this.#system = system;
    this.#host = host;
    this.#standIns = new StandInPages(system.mapStandIns(plan.pages), plan.pages);
    this.#drive = new EmulatedDrive(system.driveParts(), plan.roles, this.#standIns, new RangeNames([]));
    for (const [recorded, logged] of plan.commands.logged) {
      if (!plan.judged.has(recorded)) continue;
      const recordedNames = new RangeNames(recorded.ranges);
      const lines = new LoggedLines(logged, plan.roles, recordedNames, plan.oddities);
      this.#sides.set(recorded, { logged, lines, recordedNames, recorded: [], emulated: [] });
    }
    while (this.#next < plan.units.length && plan.units[this.#next]!.line < plan.firstLine) this.#next += 1;
    for (const { queue, kind, index } of plan.positions) this.#drive.startAt(queue, kind, index);
  }

  readonly observer: InvalidationObserver['invalidated'] = (granularity, _domainId, address, mask) => {
    const listening = this.#listening.at(-1);
    if (listening === undefined || listening === null) return;
    const { names, lines } = listening;
    lines.push(deviceLines.invalidate(granularity, names.address(address), mask), deviceLines.wait());
  };

  /** Before a step of the trace: the log up to what the step sent to the IOMMU. */
  before(key: InvalidationKey, recorded: RecordedCommand | null): void {
    const completed = recorded === null ? undefined : this.#plan.commands.logged.get(recorded);
    if (completed !== undefined) this.#advance(endLine(completed) + 1);
    const descriptors = this.#plan.invalidations.of.get(key) ?? [];
    const first = descriptors[0];
    if (first !== undefined) this.#advance(first.line);
    for (const unit of descriptors) this.#done.add(unit);
  }

  /** The step begins: descriptors are `recorded`'s from here to `end`. */
  begin(key: InvalidationKey, recorded: RecordedCommand | null): void {
    const side = recorded === null ? undefined : this.#sides.get(recorded);
    if (recorded === null || side === undefined) {
      this.#listening.push(null);
      return;
    }
    const names = new RangeNames(this.#host.requestOf(recorded)?.ranges ?? []);
    this.#listening.push({ names, lines: side.emulated });
    for (const unit of this.#plan.invalidations.of.get(key) ?? []) {
      side.recorded.push(...side.lines.until(unit.line));
      side.recorded.push({ text: invalidationText(unit.record, side.recordedNames), line: unit.line });
      if (unit.waited) side.recorded.push({ text: deviceLines.wait(), line: unit.line + 1 });
    }
  }

  end(): void {
    this.#listening.pop();
  }

  /** Before a request is mapped: where the recorded driver's pool put its list. */
  listBlock(recorded: RecordedCommand): number | null {
    const logged = this.#plan.commands.logged.get(recorded);
    const address = logged === undefined ? null : listAddress(logged, this.#plan.roles);
    if (address === null || inRanges(recorded.ranges, address)) return null;
    return this.#standIns.of(Math.floor(address / PAGE_SIZE)) * PAGE_SIZE + (address % PAGE_SIZE);
  }

  /** After a request was mapped: pages that its driver's pools took serve later requests too. */
  tiePool(recorded: RecordedCommand, ranges: readonly IovaRange[]): void {
    const logged = this.#plan.commands.logged.get(recorded);
    const address = logged === undefined ? null : listAddress(logged, this.#plan.roles);
    if (address === null) return;
    const page = Math.floor(address / PAGE_SIZE);
    const at = recorded.ranges.findIndex((range) => page >= range.pfn && page < range.pfn + range.pages);
    const own = ranges[at];
    if (own !== undefined) this.#standIns.tie(page, own.pfn + page - recorded.ranges[at]!.pfn);
  }

  /** The rest of the log, as far as the trace goes. */
  finish(): void {
    this.#advance(this.#plan.lastLine + 1);
  }

  differenceOf(recorded: RecordedCommand): ListDifference | null {
    const charge = this.#plan.charges.get(recorded);
    const side = this.#sides.get(recorded);
    if (side === undefined) return charge ?? null;
    side.recorded.push(...side.lines.until(Infinity));
    const { logged, recorded: expected, emulated } = side;
    const found = firstDifference(expected, emulated, expected.at(-1)?.line ?? logged.line);
    return found ?? orderDifference(logged) ?? this.#beside.get(recorded) ?? charge ?? null;
  }

  #advance(line: number): void {
    const { units } = this.#plan;
    for (let unit = units[this.#next]; unit !== undefined && unit.line < line; unit = units[this.#next]) {
      this.#next += 1;
      if (!this.#begun) this.#begin();
      if (!this.#done.has(unit)) this.#take(unit);
    }
  }

  /** The IOTLB is put into the state that the log's past left, at the first access. */
  #begin(): void {
    this.#begun = true;
    this.#system.emptyIotlb();
    for (const page of this.#plan.cachedPages) this.#drive.touch(page * PAGE_SIZE);
  }

  #take(unit: DeviceUnit): void {
    switch (unit.kind) {
      case 'fetch':
      case 'complete':
      case 'post':
        this.#takeCommand(unit.kind, unit.command);
        return;
      case 'invalidate':
        this.#takeInvalidation(unit);
        return;
      case 'other':
        this.#takeOther(unit);
    }
  }

  #takeCommand(kind: 'fetch' | 'complete' | 'post', logged: LoggedCommand): void {
    const recorded = this.#plan.commands.recorded.get(logged);
    const side = recorded === undefined ? undefined : this.#sides.get(recorded);
    if (recorded === undefined || side === undefined) {
      this.#takeForeign(kind, logged);
      return;
    }
    if (kind === 'fetch') {
      this.#fetched = recorded;
      this.#host.pull('submit', recorded);
    }
    const replayed = this.#host.requestOf(recorded);
    const names = new RangeNames(replayed?.ranges ?? []);
    if (kind === 'complete') side.emulated.push(deviceLines.complete());
    else if (kind === 'post') {
      // An entry reports a transfer that has ended, whether the log shows that end or not.
      if (logged.completeLine === Infinity) side.emulated.push(deviceLines.complete());
      side.emulated.push(...this.#drive.post(logged.queue, names));
    } else if (replayed !== null && replayed.request !== null) {
      side.emulated.push(
        ...this.#drive.fetch({
          queue: logged.queue,
          opcode: replayed.write ? 1 : 2,
          write: replayed.write,
          lba: recorded.command.lba,
          bytes: replayed.bytes,
          blockBytes: this.#plan.blockBytes,
          iod: replayed.request.iod,
          names,
          beginsRun: logged.beginsRun,
        }),
      );
    }
  }

  /** A command that is not judged: its lookups are done as they were. */
  #takeForeign(kind: 'fetch' | 'complete' | 'post', logged: LoggedCommand): void {
    if (kind === 'fetch') this.#drive.skip(logged.queue, 'sqEntry');
    if (kind === 'post') this.#drive.skip(logged.queue, 'cqEntry');
    if (kind === 'complete') return;
    for (const record of logged.records) {
      if (record.event === 'lookup' && (kind === 'post') === record.line > logged.completeLine) {
        this.#drive.touch(record.iova);
      }
    }
  }

  /** Lookups of no command: the drive found none, or they are the admin queue's. */
  #takeOther(unit: Extract<DeviceUnit, { kind: 'other' }>): void {
    const { roles, oddities } = this.#plan;
    const place = roles.placeOf(unit.lookup.iova);
    if (place?.kind !== 'sqTail' && !roles.besideDoorbells(unit.lookup.iova)) {
      this.#drive.touch(unit.lookup.iova);
      return;
    }
    const emulated = this.#drive.poll(place?.queue ?? 1)[0] ?? null;
    const odd = oddities.get(unit.lookup);
    const text = lookupText(unit.lookup, unit.records[0], roles, new RangeNames([]), false);
    const recorded = odd === undefined ? text : `${text}, ${odd}`;
    const beside = this.#fetched;
    if (recorded === emulated || beside === null || this.#beside.has(beside)) return;
    this.#beside.set(beside, { line: unit.line, recorded, emulated });
  }

  #takeInvalidation(unit: InvalidateUnit): void {
    const key = this.#plan.invalidations.keyOf.get(unit);
    const owner = key === undefined ? undefined : this.#plan.owners.get(key);
    if (owner !== undefined && unit.record.granularity === 'page') {
      this.#host.pull('complete', owner);
      if (this.#done.has(unit)) return;
    }
    const { granularity, domainId, address, mask } = unit.record;
    if (granularity !== 'global' && domainId !== this.#plan.roles.domainId) return;
    const first = Math.floor(address / PAGE_SIZE);
    const last = granularity === 'page' ? first + 2 ** Math.min(mask, 52) - 1 : Infinity;
    if (last === Infinity) this.#system.emptyIotlb();
    else for (const page of this.#standIns.within(first, last)) this.#system.dropTranslation(page);
  }
}

function inRanges(ranges: readonly IovaRange[], address: number): boolean {
  const page = Math.floor(address / PAGE_SIZE);
  return ranges.some((range) => page >= range.pfn && page < range.pfn + range.pages);
}

/**
 * What stands between the lines of a command. The driver rings with its tail after it wrote a command, at most once; whether it
 * rings is up to shadow doorbells.
 */
function orderDifference(logged: LoggedCommand): ListDifference | null {
  if (logged.beginsRun && !logged.rung) {
    return { line: logged.firstLine, recorded: deviceLines.notRung(), emulated: null };
  }
  if (logged.tornLine >= 0) {
    return { line: logged.tornLine, recorded: 'another transfer completes while the entry is written', emulated: null };
  }
  const odd = logged.doorbells.find(({ tail }, index) => index > 0 || tail !== logged.tail);
  if (odd === undefined) return null;
  const emulated = logged.doorbells.length > 1 ? null : deviceLines.doorbell(logged.tail);
  return { line: odd.line, recorded: deviceLines.doorbell(odd.tail), emulated };
}
