/**
 * The handler of page faults of devices: an interrupt takes reports out of the hardware's queue, gathers each group until its last
 * request, and lets a worker fault the pages in and answer (Linux drivers/iommu/io-pgfault.c `iommu_report_device_fault`,
 * iommu-sva.c `iommu_sva_handle_iopf`). Where the hardware lost requests, groups that were begun are forgotten, since the hardware
 * has answered them (`iopf_queue_discard_partial`).
 * Leaves out: several workers, faults that user space handles.
 */
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { EBUSY } from '../memory/memoryErrors.ts';
import type { ProcessMirror } from './processMirror.ts';

/** All in picoseconds. */
export interface IoPageFaultCosts {
  /** From the report in memory to the handler's thread that reads it. */
  readonly interrupt: Picoseconds;
  /** From the thread to the worker, once a group. */
  readonly worker: Picoseconds;
  /** The handler itself, each page: finding the area, faulting, what the tables take comes on top. */
  readonly handler: Picoseconds;
  /** Building and submitting the answer, once a group. */
  readonly respond: Picoseconds;
}

export interface IoPageFault {
  readonly sourceId: number;
  readonly pasid: number;
  readonly page: number;
  readonly write: boolean;
  /** Names what the answer is for: a group of requests, or a stalled transaction. */
  readonly group: number;
  readonly last: boolean;
}

/** A queue of page requests, or an SMMU's queue of events. */
export interface IoPageFaultSource {
  /** Told when there is something to take after there was nothing. */
  onPending: (() => void) | null;
  take(): IoPageFault | null;
  /** True: requests were lost since the last time; the hardware takes new ones from now on. */
  recover(): boolean;
  answer(fault: IoPageFault, served: boolean, at: Picoseconds): void;
}

export interface IoPageFaultOptions {
  readonly source: IoPageFaultSource;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly costs: IoPageFaultCosts;
  /** Whose memory a PASID stands for; null: nobody's. */
  readonly mirrorOf: (sourceId: number, pasid: number) => ProcessMirror | null;
}

const INTERRUPT = 0;
const ANSWER = 1;

interface Answer {
  readonly fault: IoPageFault;
  readonly served: boolean;
}

export class IoPageFaultHandler implements EventHandler {
  /** Pages handled, groups answered. */
  faults = 0;
  groups = 0;
  private readonly options: IoPageFaultOptions;
  private readonly partial = new Map<string, IoPageFault[]>();
  private readonly answers = new Map<number, Answer>();
  private nextAnswer = 0;

  constructor(options: IoPageFaultOptions) {
    this.options = options;
    options.source.onPending = () => {
      const { events, costs } = options;
      events.schedule(picoseconds(events.now + costs.interrupt), this, INTERRUPT);
    };
  }

  /** Requests of groups whose last one has not come. */
  get gathered(): number {
    let faults = 0;
    for (const group of this.partial.values()) faults += group.length;
    return faults;
  }

  handleEvent(kind: number, argument: number): void {
    const { source, cpu, events } = this.options;
    if (kind === ANSWER) {
      const { fault, served } = this.answers.get(argument)!;
      this.answers.delete(argument);
      source.answer(fault, served, events.now);
      return;
    }
    cpu.begin(events.now);
    for (let fault = source.take(); fault !== null; fault = source.take()) this.report(fault);
    if (source.recover()) this.partial.clear();
  }

  private report(fault: IoPageFault): void {
    const key = `${String(fault.sourceId)}/${String(fault.group)}`;
    const group = this.partial.get(key) ?? [];
    group.push(fault);
    if (!fault.last) {
      this.partial.set(key, group);
      return;
    }
    this.partial.delete(key);
    this.serve(group, fault);
  }

  private serve(group: readonly IoPageFault[], last: IoPageFault): void {
    const { cpu, costs, mirrorOf, events } = this.options;
    cpu.spend(costs.worker);
    let served = true;
    for (const { sourceId, pasid, page, write } of group) {
      cpu.spend(costs.handler);
      const ret = mirrorOf(sourceId, pasid)?.fault(page, write) ?? -1;
      // a change under way ends before the device looks again
      if (ret !== 0 && ret !== EBUSY) served = false;
      this.faults += 1;
    }
    cpu.spend(costs.respond);
    this.groups += 1;
    this.answers.set(this.nextAnswer, { fault: last, served });
    events.schedule(cpu.now, this, ANSWER, this.nextAnswer);
    this.nextAnswer += 1;
  }
}
