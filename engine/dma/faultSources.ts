/**
 * Where the handler of devices' page faults takes its reports from: a queue of page requests, answered by responses to groups, or an
 * SMMU's event queue, answered by CMD_RESUME (Linux drivers/iommu/intel/prq.c `prq_event_thread`, `intel_iommu_page_response`;
 * arm-smmu-v3.c `arm_smmu_evtq_thread`, `arm_smmu_page_response`). Leaves out: events that report no fault of a page.
 */
import type { PageRequestQueue } from '../iommu/ats/pageRequestQueue.ts';
import { NO_STALL, type SmmuEventQueue } from '../iommu/smmu/smmuEvents.ts';
import type { StalledTransactions } from '../iommu/smmu/stalledTransactions.ts';
import { ATS_WRITE, RESPONSE_INVALID, RESPONSE_SUCCESS } from '../pcie/atsMessages.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import type { IoPageFault, IoPageFaultSource } from './ioPageFaults.ts';

export class PageRequestSource implements IoPageFaultSource {
  private readonly queue: PageRequestQueue;

  constructor(queue: PageRequestQueue) {
    this.queue = queue;
  }

  get onPending(): (() => void) | null {
    return this.queue.onPending;
  }

  set onPending(listener: (() => void) | null) {
    this.queue.onPending = listener;
  }

  take(): IoPageFault | null {
    const record = this.queue.take();
    if (record === null) return null;
    const { sourceId, pasid, page, access, group, last } = record;
    return { sourceId, pasid, page, write: (access & ATS_WRITE) !== 0, group, last };
  }

  recover(): boolean {
    const lost = this.queue.overflow;
    if (lost) this.queue.clearOverflow();
    return lost;
  }

  answer({ sourceId, group }: IoPageFault, served: boolean, at: Picoseconds): void {
    this.queue.respond(sourceId, group, served ? RESPONSE_SUCCESS : RESPONSE_INVALID, at);
  }
}

/** A stalled transaction is a group of its own. */
export class StallSource implements IoPageFaultSource {
  private readonly eventQueue: SmmuEventQueue;
  private readonly stalled: StalledTransactions;

  constructor(eventQueue: SmmuEventQueue, stalled: StalledTransactions) {
    this.eventQueue = eventQueue;
    this.stalled = stalled;
  }

  get onPending(): (() => void) | null {
    return this.eventQueue.onPending;
  }

  set onPending(listener: (() => void) | null) {
    this.eventQueue.onPending = listener;
  }

  take(): IoPageFault | null {
    for (let event = this.eventQueue.take(); event !== null; event = this.eventQueue.take()) {
      if (event.stag === NO_STALL) continue;
      const { streamId: sourceId, substreamId: pasid, iovaPage: page, write, stag: group } = event;
      return { sourceId, pasid, page, write, group, last: true };
    }
    return null;
  }

  /** The event of a stalled transaction is never lost. */
  recover(): boolean {
    return false;
  }

  answer({ sourceId, group }: IoPageFault, served: boolean): void {
    this.stalled.resume(sourceId, group, served ? 'retry' : 'abort');
  }
}
