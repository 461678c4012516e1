/**
 * Ties the lines of a trace to NVMe commands. Between `nvme_setup_cmd` and `block_rq_issue` a process prepares one request,
 * so the lines that it writes there are that request's; before `nvme_complete_rq` the context that completes has just
 * unmapped that command. Interrupts nest inside submissions and several completions share one interrupt, so every process
 * and every interrupt level of every CPU is followed by itself (Linux drivers/nvme/host/pci.c `nvme_queue_rq`,
 * `nvme_pci_complete_rq`).
 * Lines that cannot be of one history (a command that completes twice, that completes without having been issued, whose tag is
 * given out while it is in flight) are noted at the command, so that nobody takes it for one that the recording cuts off.
 * Leaves out: what the calls mean; commands of other drives than the busiest one.
 */
import type { FtraceRecord } from '../formats/ftrace.ts';
import type { FtraceEvent } from '../formats/ftraceEvents.ts';
import { CallCollector, type TracedCall, type TracedTimer } from './recordingCalls.ts';

/** What shows that the lines of a command cannot all be true. */
export interface Contradiction {
  readonly line: number;
  readonly problem: string;
}

export interface TracedCommand {
  readonly controller: string;
  readonly queue: number;
  readonly commandId: number;
  readonly opcode: string;
  readonly lba: number;
  readonly setup: FtraceRecord;
  /** Null: preparing the request was given up, or the recording ends inside it. */
  issue: FtraceRecord | null;
  submission: readonly TracedCall[];
  /** Null: still in flight when the recording ends. */
  completed: FtraceRecord | null;
  completion: readonly TracedCall[];
  /** Position in the order of completions; -1 while in flight. */
  completeOrder: number;
  /** The first one that was seen. */
  contradiction: Contradiction | null;
}

/** A completion of a command that was not in flight: submitted before the recording began, unless it contradicts a command. */
export interface TracedOrphan {
  readonly completed: FtraceRecord;
  readonly calls: readonly TracedCall[];
  /** A command of this recording bears the contradiction, or failed before it was issued. */
  claimed: boolean;
}

/** A `block_rq_issue` of our drive without a `nvme_setup_cmd` before it. */
export interface TracedStray {
  readonly issue: FtraceRecord;
  readonly calls: readonly TracedCall[];
  /** The recording may have begun inside its submission: its CPU set up no command before. */
  readonly atBeginning: boolean;
}

export interface TiedTrace {
  readonly controller: string;
  /** The PCI device of the controller, as `dma:*` events name it; null when no event does. */
  readonly device: string | null;
  /** In order of submission. */
  readonly commands: readonly TracedCommand[];
  readonly orphans: readonly TracedOrphan[];
  readonly strays: readonly TracedStray[];
  /** Flush-queue timers, those of other devices' domains among them. */
  readonly timers: readonly TracedTimer[];
  /** Commands of other drives, except those that were issued to a disk of ours. */
  readonly otherDrives: number;
}

type Completing =
  | { readonly command: TracedCommand; readonly orphan: null }
  | { readonly command: null; readonly orphan: TracedOrphan };

interface Context {
  readonly collector: CallCollector;
  preparing: TracedCommand | null;
  /** Whose `block_rq_complete` is to come: several, where one interrupt completes a batch. */
  completing: Completing[];
}

/** Contexts of one trace. A process may move between CPUs while it prepares a request; the idle tasks all have number 0. */
function contextKey(record: FtraceRecord): string {
  if (record.context !== 'task') return `${record.context} ${record.cpu}`;
  return record.pid === 0 ? `idle ${record.cpu}` : `task ${record.pid}`;
}

/** Bits 15:12 of a command id count how often its tag was used (Linux drivers/nvme/host/nvme.h, `nvme_cid`). */
const TAGS = 0x1000;

/** A tag is given out again only when its command is gone. */
function tagKey(controller: string, queue: number, commandId: number): string {
  return `${controller} ${queue} ${commandId % TAGS}`;
}

function contradict(command: TracedCommand, line: number, problem: string): void {
  command.contradiction ??= { line, problem };
}

function place(issue: FtraceRecord | null): string | null {
  const event = issue?.event;
  return event?.name === 'block_rq_issue' ? `${event.disk} sector ${event.sector}` : null;
}

/** Whether a submission took back all that it mapped; what the pools took stays theirs. */
function undone(calls: readonly TracedCall[]): boolean {
  let ranges = 0;
  let mappings = 0;
  for (const { name, records } of calls) {
    if (name === 'dma_alloc') continue;
    for (const { event } of records) {
      if (event.name === 'alloc_fast_ret' && event.pfn !== 0) ranges += 1;
      else if (event.name === 'unmap' || (event.name === 'free_fast' && name === null)) ranges -= 1;
      else if (event.name === 'dma_map_page' || event.name === 'dma_map_phys' || event.name === 'dma_map_sg')
        mappings += 1;
      else if (event.name.startsWith('dma_unmap_')) mappings -= 1;
    }
  }
  return ranges <= 0 && mappings <= 0;
}

class Tying {
  readonly commands: TracedCommand[] = [];
  readonly orphans: { readonly controller: string; readonly orphan: TracedOrphan }[] = [];
  readonly strays: TracedStray[] = [];
  readonly timers: TracedTimer[] = [];
  readonly #contexts = new Map<string, Context>();
  readonly #inFlight = new Map<string, TracedCommand>();
  readonly #latest = new Map<string, TracedCommand>();
  readonly #busyCpus = new Set<number>();
  #completions = 0;

  add(record: FtraceRecord): void {
    const context = this.#context(record);
    if (context.collector.add(record)) return;
    const event = record.event;
    switch (event.name) {
      case 'nvme_setup_cmd': {
        this.#giveUp(context, record);
        context.collector.take();
        const { controller, queue, commandId, opcode, lba } = event;
        const command: TracedCommand = {
          controller,
          queue,
          commandId,
          opcode,
          lba,
          setup: record,
          issue: null,
          submission: [],
          completed: null,
          completion: [],
          completeOrder: -1,
          contradiction: null,
        };
        context.preparing = command;
        this.#busyCpus.add(record.cpu);
        this.#replaceLatest(command);
        this.commands.push(command);
        return;
      }
      case 'block_rq_issue':
        this.#issue(context, record);
        return;
      case 'nvme_complete_rq':
        // A command that fails before it is issued completes in the context that prepared it.
        this.#giveUp(context, record);
        this.#complete(context, record, event);
        return;
      case 'block_rq_complete':
        this.#checkPlace(context, record.line, `${event.disk} sector ${event.sector}`);
        return;
      default:
        return;
    }
  }

  #replaceLatest(command: TracedCommand): void {
    const { controller, queue, commandId, setup } = command;
    const key = tagKey(controller, queue, commandId);
    const earlier = this.#latest.get(key);
    this.#latest.set(key, command);
    if (earlier?.completed !== null) return;
    if (earlier.issue !== null) contradict(earlier, setup.line, 'its tag is set up again although it did not complete');
    else if (earlier.commandId === commandId) contradict(earlier, setup.line, 'it is set up twice under one cmdid');
  }

  #issue(context: Context, record: FtraceRecord): void {
    const command = context.preparing;
    if (command === null) {
      this.strays.push({
        issue: record,
        calls: context.collector.take(),
        atBeginning: !this.#busyCpus.has(record.cpu),
      });
      return;
    }
    context.preparing = null;
    command.issue = record;
    command.submission = context.collector.take();
    this.#inFlight.set(tagKey(command.controller, command.queue, command.commandId), command);
  }

  #complete(context: Context, record: FtraceRecord, event: Extract<FtraceEvent, { name: 'nvme_complete_rq' }>): void {
    const key = tagKey(event.controller, event.queue, event.commandId);
    const calls = context.collector.take();
    const command = this.#inFlight.get(key);
    if (command?.commandId !== event.commandId) {
      const claimed = this.#latest.get(key);
      const orphan: TracedOrphan = { completed: record, calls, claimed: claimed !== undefined };
      this.orphans.push({ controller: event.controller, orphan });
      context.completing.push({ command: null, orphan });
      if (claimed !== undefined) contradictCompletion(claimed, record.line, event);
      return;
    }
    this.#inFlight.delete(key);
    command.completed = record;
    command.completion = calls;
    command.completeOrder = this.#completions;
    this.#completions += 1;
    context.completing.push({ command, orphan: null });
  }

  /** The block layer names the sectors of what completed. */
  #checkPlace(context: Context, line: number, completed: string): void {
    const same = context.completing.findIndex(({ command }) => command !== null && place(command.issue) === completed);
    const [completing] = context.completing.splice(Math.max(0, same), 1);
    if (same >= 0 || completing === undefined) return;
    const { command: named, orphan } = completing;
    if (named !== null) {
      contradict(named, line, `what completes is ${completed}, not ${place(named.issue) ?? 'known'}`);
      return;
    }
    // Where ranges are unmapped they tell whose completion it is; without an IOMMU only the place does.
    if (orphan.claimed || orphan.calls.some((call) => call.records.some(({ event }) => event.name === 'unmap'))) return;
    for (const command of this.#inFlight.values()) {
      if (place(command.issue) !== completed) continue;
      contradict(command, line, 'it completes under another qid or cmdid');
      orphan.claimed = true;
      return;
    }
  }

  #giveUp(context: Context, record: FtraceRecord): void {
    const command = context.preparing;
    if (command === null) return;
    command.submission = context.collector.take();
    context.preparing = null;
    if (!undone(command.submission))
      contradict(command, record.line, 'what it mapped is neither issued nor taken back');
  }

  #context(record: FtraceRecord): Context {
    const key = contextKey(record);
    let context = this.#contexts.get(key);
    if (context === undefined) {
      context = { collector: new CallCollector(this.timers), preparing: null, completing: [] };
      this.#contexts.set(key, context);
    }
    return context;
  }
}

function contradictCompletion(
  command: TracedCommand,
  line: number,
  event: Extract<FtraceEvent, { name: 'nvme_complete_rq' }>,
): void {
  if (command.completed !== null) contradict(command, line, 'its tag completes a second time');
  else if (command.issue !== null) contradict(command, line, `it completes as cmdid ${event.commandId}`);
  // An error before the command was issued is the driver's own.
  else if (event.status === 0) contradict(command, line, 'it completes without block_rq_issue');
}

/** The value that occurs most; the first of equals. */
function mostFrequent(values: Iterable<string>): string | null {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let best: string | null = null;
  for (const [value, count] of counts) if (best === null || count > (counts.get(best) ?? 0)) best = value;
  return best;
}

function ofDevice(calls: readonly TracedCall[], device: string | null): TracedCall[] {
  return calls.filter((call) => call.device === null || call.device === device);
}

/** Null: the trace holds no NVMe command. */
export function tieTrace(records: Iterable<FtraceRecord>): TiedTrace | null {
  const tying = new Tying();
  for (const record of records) tying.add(record);
  const controller = mostFrequent(tying.commands.map((command) => command.controller));
  if (controller === null) return null;
  const diskOf = ({ issue }: { readonly issue: FtraceRecord | null }): string | null =>
    issue?.event.name === 'block_rq_issue' ? issue.event.disk : null;
  const disk = mostFrequent(
    tying.commands.flatMap((command) => (command.controller === controller ? [diskOf(command) ?? ''] : [])),
  );
  const commands = tying.commands.filter((command) => {
    if (command.controller === controller) return true;
    if (diskOf(command) !== disk) return false;
    contradict(
      command,
      command.setup.line,
      `it is set up for ${command.controller} and issued to a disk of ${controller}`,
    );
    return true;
  });
  // Interrupts of other devices unmap in the same context as ours, but only ours maps while a request is prepared.
  const device = mostFrequent(
    commands.flatMap((command) => command.submission.flatMap((call) => (call.device === null ? [] : [call.device]))),
  );
  for (const command of commands) {
    command.submission = ofDevice(command.submission, device);
    command.completion = ofDevice(command.completion, device);
  }
  return {
    controller,
    device,
    commands,
    orphans: tying.orphans
      .filter((entry) => entry.controller === controller)
      .map(({ orphan }) => ({ ...orphan, calls: ofDevice(orphan.calls, device) })),
    strays: tying.strays
      .filter((stray) => diskOf(stray) === disk)
      .map((stray) => ({ ...stray, calls: ofDevice(stray.calls, device) })),
    timers: tying.timers,
    otherDrives: tying.commands.length - commands.length,
  };
}
