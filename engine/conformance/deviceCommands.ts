/**
 * Which command of the device log is which request of the trace. The log covers the whole boot and carries no time, so the
 * trace's place in it is sought: per queue, the shift at which most requests meet the command with their cid, opcode, address
 * and length. From there on the two go side by side, and one that is missing on either side is stepped over.
 */
import type { RecordedCommand } from './recordedLists.ts';
import type { LoggedCommand } from './deviceUnits.ts';

export interface MatchedCommands {
  readonly logged: ReadonlyMap<RecordedCommand, LoggedCommand>;
  readonly recorded: ReadonlyMap<LoggedCommand, RecordedCommand>;
  /** The log ends before the drive could have seen these. */
  readonly beyond: ReadonlySet<RecordedCommand>;
}

export const NVME_OPCODES: ReadonlyMap<string, number> = new Map([
  ['nvme_cmd_flush', 0x00],
  ['nvme_cmd_write', 0x01],
  ['nvme_cmd_read', 0x02],
  ['nvme_cmd_write_zeroes', 0x08],
  ['nvme_cmd_dsm', 0x09],
]);

/** How far a missing or an additional command may throw the two out of step. */
const SEARCH = 16;

function grouped<T>(items: Iterable<T>, queueOf: (item: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const group = groups.get(queueOf(item));
    if (group === undefined) groups.set(queueOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

function keyOfRecorded({ command }: RecordedCommand): string {
  const { opcode, commandId, lba, issue } = command;
  const bytes = issue?.event.name === 'block_rq_issue' ? issue.event.bytes : 0;
  const number = NVME_OPCODES.get(opcode) ?? -1;
  return number === 1 || number === 2 ? `${commandId} ${number} ${lba} ${bytes}` : `${commandId} ${number}`;
}

function keyOfLogged({ commandId, opcode, lba, bytes }: LoggedCommand): string {
  return opcode === 1 || opcode === 2 ? `${commandId} ${opcode} ${lba} ${bytes}` : `${commandId} ${opcode}`;
}

/** The shift from the trace's position to the log's that most requests agree on; the earliest of several. */
function shiftOf(recorded: readonly RecordedCommand[], logged: readonly LoggedCommand[]): number | null {
  const places = new Map<string, number[]>();
  for (const [index, command] of logged.entries()) {
    const key = keyOfLogged(command);
    const known = places.get(key);
    if (known === undefined) places.set(key, [index]);
    else known.push(index);
  }
  const votes = new Map<number, number>();
  for (const [index, command] of recorded.entries()) {
    for (const place of places.get(keyOfRecorded(command)) ?? []) {
      votes.set(place - index, (votes.get(place - index) ?? 0) + 1);
    }
  }
  let best: number | null = null;
  for (const [shift, count] of votes) {
    const most = best === null ? 0 : (votes.get(best) ?? 0);
    if (count > most || (count === most && best !== null && shift < best)) best = shift;
  }
  return best;
}

export function matchCommands(
  commands: readonly RecordedCommand[],
  loggedCommands: readonly LoggedCommand[],
): MatchedCommands {
  const logged = new Map<RecordedCommand, LoggedCommand>();
  const recorded = new Map<LoggedCommand, RecordedCommand>();
  const beyond = new Set<RecordedCommand>();
  const issued = commands.filter(({ command }) => command.issue !== null);
  issued.sort((a, b) => (a.command.issue?.line ?? 0) - (b.command.issue?.line ?? 0));
  const byQueue = grouped(loggedCommands, (command) => command.queue);
  for (const [queue, group] of grouped(issued, ({ command }) => command.queue)) {
    const drive = byQueue.get(queue) ?? [];
    const shift = shiftOf(group, drive);
    if (shift === null) continue;
    let at = Math.max(0, shift);
    for (const [index, request] of group.entries()) {
      if (index + shift < 0) continue;
      const found = nextMatch(group, index, drive, at);
      if (found >= 0) {
        const command = drive[found]!;
        logged.set(request, command);
        recorded.set(command, request);
        at = found + 1;
      } else if (at >= drive.length) beyond.add(request);
    }
  }
  return { logged, recorded, beyond };
}

/** -1: the log does not show it. */
function nextMatch(
  group: readonly RecordedCommand[],
  index: number,
  drive: readonly LoggedCommand[],
  at: number,
): number {
  const request = group[index]!;
  const key = keyOfRecorded(request);
  for (let place = at; place < Math.min(drive.length, at + SEARCH); place += 1) {
    if (keyOfLogged(drive[place]!) === key) return place;
  }
  const candidate = drive[at];
  const next = group[index + 1];
  // The same cid with other words is this command, and disagrees; unless it is the next request's.
  const isNext = next !== undefined && candidate !== undefined && keyOfRecorded(next) === keyOfLogged(candidate);
  return candidate !== undefined && !isNext && candidate.commandId === request.command.commandId ? at : -1;
}
