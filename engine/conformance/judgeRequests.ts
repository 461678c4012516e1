/**
 * Which requests of a recording are compared. A request that the recording cuts off, at its beginning or at its end, is skipped
 * with a reason, and so is one of another drive. A request whose lines cannot all be true (it completes but was never issued,
 * its range is unmapped under another cmdid) is not cut off: it counts, and disagrees where the contradiction shows. So does
 * one whose driver mapped another size than it was asked for.
 */
import type { Contradiction, TiedTrace } from '../lab/recordingTie.ts';
import { readMemory, type RecordedMemory } from '../lab/recordingVectors.ts';
import type { RecordedCommand, RecordedLists } from './recordedLists.ts';
import type { Difference, Skipped } from './report.ts';

interface Judgement {
  readonly compared: ReadonlyMap<RecordedCommand, RecordedMemory>;
  readonly contradictions: readonly Difference[];
  readonly skipped: readonly Skipped[];
}

const BEGAN = 'in flight when the recording began';

export function requestName(recorded: RecordedCommand): string {
  const { opcode, commandId, setup } = recorded.command;
  return `request ${opcode} cmdid ${commandId}, submitted at line ${setup.line}`;
}

function difference(unit: string, { line, problem }: Contradiction): Difference {
  return { line, unit, recorded: problem, emulated: 'one submission and one completion of each request' };
}

/** What these are asked to cover is no memory that they map. */
const WITHOUT_DATA = new Set(['nvme_cmd_flush', 'nvme_cmd_write_zeroes', 'nvme_cmd_dsm', 'nvme_cmd_zone_mgmt_send']);

/** The size is the block layer's, `block_rq_issue`: what the driver mapped has to be just that. */
function askedMismatch({ command }: RecordedCommand, memory: RecordedMemory): Omit<Difference, 'unit'> | null {
  const { opcode, issue } = command;
  if (issue?.event.name !== 'block_rq_issue') return null;
  const asked = opcode === 'nvme_cmd_dsm' ? memory.bytes : WITHOUT_DATA.has(opcode) ? 0 : issue.event.bytes;
  if (memory.bytes === asked) return null;
  return { line: issue.line, recorded: `${memory.bytes} bytes mapped`, emulated: `${asked} bytes mapped` };
}

class Judge {
  readonly compared = new Map<RecordedCommand, RecordedMemory>();
  readonly contradictions: Difference[] = [];
  readonly #reasons = new Map<string, number>();
  readonly #lists: RecordedLists;

  constructor(lists: RecordedLists) {
    this.#lists = lists;
  }

  skip(reason: string): void {
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
  }

  skipped(): Skipped[] {
    return [...this.#reasons].map(([reason, count]) => ({ reason, count }));
  }

  judgeCommand(recorded: RecordedCommand, unmappedBy: ReadonlyMap<string, number>): void {
    const { command } = recorded;
    const contradiction = command.contradiction ?? this.#endsElsewhere(recorded, unmappedBy);
    if (contradiction !== null) {
      this.contradictions.push(difference(requestName(recorded), contradiction));
      return;
    }
    if (command.issue === null) {
      this.skip('preparing it was given up, or the recording ends inside it');
      return;
    }
    if (command.completed === null) {
      this.skip('in flight when the recording ended');
      return;
    }
    const memory = readMemory(command);
    if (typeof memory === 'string') this.skip(memory);
    else {
      const mismatch = askedMismatch(recorded, memory);
      if (mismatch === null) this.compared.set(recorded, memory);
      else this.contradictions.push({ ...mismatch, unit: requestName(recorded) });
    }
  }

  /** A command that is still in flight when the recording ends has all its ranges. */
  #endsElsewhere(recorded: RecordedCommand, unmappedBy: ReadonlyMap<string, number>): Contradiction | null {
    const { command, owner, ranges } = recorded;
    if (command.completed !== null) return null;
    const unmapped = unmappedBy.get(owner);
    if (unmapped !== undefined)
      return { line: unmapped, problem: 'its range is unmapped by the completion of another cmdid' };
    for (const range of ranges) {
      const release = this.#lists.releases.get(range);
      if (release === undefined || release.by === owner) continue;
      return {
        line: release.line,
        problem: `range ${range.index} is given back by ${release.by} although it did not complete`,
      };
    }
    return null;
  }
}

export function judge(trace: TiedTrace, lists: RecordedLists): Judgement {
  const result = new Judge(lists);
  const unfinished = new Set(
    lists.commands.flatMap(({ command, owner }) => (command.completed === null ? [owner] : [])),
  );
  const strayOwners = new Set(lists.strays.map(({ owner }) => owner));
  const unmappedBy = new Map<string, number>();
  for (const { orphan, foreign } of lists.orphans) {
    const { completed, claimed } = orphan;
    if (foreign !== null && unfinished.has(foreign.owner)) unmappedBy.set(foreign.owner, completed.line);
    else if (foreign !== null && !strayOwners.has(foreign.owner) && !claimed) {
      const problem = `it unmaps range ${foreign.index} of ${foreign.owner}`;
      result.contradictions.push(difference('a completion without a submission', { line: completed.line, problem }));
    } else if (!claimed && foreign === null) result.skip(BEGAN);
  }
  for (const { stray } of lists.strays) {
    if (stray.atBeginning) {
      result.skip(BEGAN);
      continue;
    }
    const problem = 'block_rq_issue without nvme_setup_cmd before it';
    result.contradictions.push(difference('a request that was not set up', { line: stray.issue.line, problem }));
  }
  for (let index = 0; index < trace.otherDrives; index += 1) result.skip('a request of another drive');
  for (const recorded of lists.commands) result.judgeCommand(recorded, unmappedBy);
  return { compared: result.compared, contradictions: result.contradictions, skipped: result.skipped() };
}
