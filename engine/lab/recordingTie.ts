/**
 * Ties the lines of a trace to NVMe commands. Between `nvme_setup_cmd` and `block_rq_issue` a process prepares one request,
 * so the lines that it writes there are that request's; before `nvme_complete_rq` the context that completes has just
 * unmapped that command. Interrupts nest inside submissions and several completions share one interrupt, so every process
 * and every interrupt level of every CPU is followed by itself (Linux drivers/nvme/host/pci.c `nvme_queue_rq`,
 * `nvme_pci_complete_rq`).
 * Leaves out: what the calls mean; commands of other drives than the busiest one.
 */
import type { FtraceRecord } from '../formats/ftrace.ts';
import { CallCollector, type TracedCall, type TracedTimer } from './recordingCalls.ts';

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
}

/** A completion whose command was submitted before the recording began. */
export interface TracedOrphan {
  readonly completed: FtraceRecord;
  readonly calls: readonly TracedCall[];
}

export interface TiedTrace {
  readonly controller: string;
  /** The PCI device of the controller, as `dma:*` events name it; null when no event does. */
  readonly device: string | null;
  /** In order of submission. */
  readonly commands: readonly TracedCommand[];
  readonly orphans: readonly TracedOrphan[];
  /** Flush-queue timers, those of other devices' domains among them. */
  readonly timers: readonly TracedTimer[];
  /** Commands of other drives. */
  readonly otherDrives: number;
}

interface Context {
  readonly collector: CallCollector;
  preparing: TracedCommand | null;
}

/** Contexts of one trace. A process may move between CPUs while it prepares a request; the idle tasks all have number 0. */
function contextKey(record: FtraceRecord): string {
  if (record.context !== 'task') return `${record.context} ${record.cpu}`;
  return record.pid === 0 ? `idle ${record.cpu}` : `task ${record.pid}`;
}

function commandKey(controller: string, queue: number, commandId: number): string {
  return `${controller} ${queue} ${commandId}`;
}

class Tying {
  readonly commands: TracedCommand[] = [];
  readonly orphans: { readonly controller: string; readonly orphan: TracedOrphan }[] = [];
  readonly timers: TracedTimer[] = [];
  readonly #contexts = new Map<string, Context>();
  readonly #inFlight = new Map<string, TracedCommand>();
  #completions = 0;

  add(record: FtraceRecord): void {
    const context = this.#context(record);
    if (context.collector.add(record)) return;
    const event = record.event;
    switch (event.name) {
      case 'nvme_setup_cmd': {
        this.#giveUp(context);
        context.collector.take();
        const { controller, queue, commandId, opcode, lba } = event;
        context.preparing = {
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
        };
        this.commands.push(context.preparing);
        return;
      }
      case 'block_rq_issue': {
        const command = context.preparing;
        if (command === null) return;
        context.preparing = null;
        command.issue = record;
        command.submission = context.collector.take();
        this.#inFlight.set(commandKey(command.controller, command.queue, command.commandId), command);
        return;
      }
      case 'nvme_complete_rq': {
        // A command that fails before it is issued completes in the context that prepared it.
        this.#giveUp(context);
        const key = commandKey(event.controller, event.queue, event.commandId);
        const calls = context.collector.take();
        const command = this.#inFlight.get(key);
        if (command === undefined) {
          this.orphans.push({ controller: event.controller, orphan: { completed: record, calls } });
          return;
        }
        this.#inFlight.delete(key);
        command.completed = record;
        command.completion = calls;
        command.completeOrder = this.#completions;
        this.#completions += 1;
        return;
      }
      default:
        return;
    }
  }

  #giveUp(context: Context): void {
    const command = context.preparing;
    if (command === null) return;
    command.submission = context.collector.take();
    context.preparing = null;
  }

  #context(record: FtraceRecord): Context {
    const key = contextKey(record);
    let context = this.#contexts.get(key);
    if (context === undefined) {
      context = { collector: new CallCollector(this.timers), preparing: null };
      this.#contexts.set(key, context);
    }
    return context;
  }
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
  const commands = tying.commands.filter((command) => command.controller === controller);
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
      .map(({ orphan }) => ({ completed: orphan.completed, calls: ofDevice(orphan.calls, device) })),
    timers: tying.timers,
    otherDrives: tying.commands.length - commands.length,
  };
}
