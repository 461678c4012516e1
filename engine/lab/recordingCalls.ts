/**
 * Sorts the lines of one context (a process, or one CPU's softirq or hardirq level) into DMA API calls. Where the lines of a
 * call stand decides the grouping: `dma_map_*`, `dma_unmap_page/phys` and `dma_alloc` are traced after what they caused
 * (Linux kernel/dma/mapping.c), `dma_unmap_sg`, `dma_free` and the entry probes of `dma_iova_*` before it.
 * Leaves out: which request a call belongs to.
 */
import type { FtraceRecord } from '../formats/ftrace.ts';
import type { FtraceEventName } from '../formats/ftraceEvents.ts';

export interface TracedCall {
  /** The event that names the call; null while only its inner events were seen. */
  name: FtraceEventName | null;
  /** The PCI device, where the call's event tells it. */
  device: string | null;
  readonly records: FtraceRecord[];
}

/** A domain flush outside any unmap: the flush queue's 10 ms timer (Linux drivers/iommu/dma-iommu.c `fq_flush_timeout`). */
export interface TracedTimer {
  readonly cpu: number;
  /** The first line of the flush. */
  readonly line: number;
  domainId: number;
  /** The `free_fast` lines that follow, in order. */
  readonly frees: FtraceRecord[];
}

/** Collects the calls of one context until someone takes them. */
export class CallCollector {
  readonly #timers: TracedTimer[];
  #calls: TracedCall[] = [];
  #open: TracedCall | null = null;
  #timer: TracedTimer | null = null;
  /** The flush was announced (`cache_tag_flush_range`) and its invalidation descriptor is still to come. */
  #flushAnnounced = false;

  constructor(timers: TracedTimer[]) {
    this.#timers = timers;
  }

  /** Everything since the last take; the call that was open ends here. */
  take(): TracedCall[] {
    const calls = this.#calls;
    this.#calls = [];
    this.#open = null;
    this.#timer = null;
    return calls;
  }

  /** False when the event has nothing to do with DMA mapping. */
  add(record: FtraceRecord): boolean {
    const event = record.event;
    switch (event.name) {
      case 'try_alloc':
      case 'link':
      case 'sync':
      case 'destroy':
        this.#begin(event.name, null, record);
        return true;
      case 'dma_unmap_sg':
      case 'dma_free':
        this.#begin(event.name, event.device, record);
        return true;
      case 'try_alloc_ret':
      case 'link_ret':
      case 'sync_ret':
        this.#append(record);
        this.#open = null;
        return true;
      case 'unlink':
      case 'free':
        // Inside `destroy` on 7.3; a call of their own otherwise.
        if (this.#open?.name === 'destroy') this.#append(record);
        else this.#begin(event.name, null, record);
        return true;
      case 'dma_map_page':
      case 'dma_map_phys':
      case 'dma_map_sg':
      case 'dma_unmap_page':
      case 'dma_unmap_phys':
      case 'dma_alloc':
        this.#end(event.name, event.device, record);
        return true;
      case 'alloc_fast':
        if (this.#open?.name !== 'try_alloc') this.#open = null;
        this.#append(record);
        return true;
      case 'alloc_slow':
      case 'alloc_fast_ret':
      case 'map':
        this.#append(record);
        return true;
      case 'unmap':
        // A second unmap belongs to the next call, whose own event is still to come.
        if (this.#open !== null && this.#open.records.some((inner) => inner.event.name === 'unmap')) this.#open = null;
        this.#append(record);
        return true;
      case 'cache_tag_flush_range':
      case 'qi_submit':
        this.#flush(record);
        return true;
      case 'free_fast':
        if (this.#timer !== null) this.#timer.frees.push(record);
        else this.#append(record);
        return true;
      default:
        return false;
    }
  }

  #begin(name: FtraceEventName, device: string | null, record: FtraceRecord): void {
    this.#timer = null;
    this.#open = { name, device, records: [record] };
    this.#calls.push(this.#open);
  }

  #append(record: FtraceRecord): void {
    this.#timer = null;
    if (this.#open === null) {
      this.#open = { name: null, device: null, records: [record] };
      this.#calls.push(this.#open);
    } else this.#open.records.push(record);
  }

  #end(name: FtraceEventName, device: string, record: FtraceRecord): void {
    // What began with its own event (a `link` that never returned, say) is not the call that ends here.
    if (this.#open !== null && this.#open.name !== null) this.#open = null;
    this.#append(record);
    if (this.#open !== null) {
      this.#open.name = name;
      this.#open.device = device;
    }
    this.#open = null;
  }

  #flush(record: FtraceRecord): void {
    const event = record.event;
    if (event.name !== 'cache_tag_flush_range' && event.name !== 'qi_submit') return;
    // Context, interrupt-remapping and device-TLB invalidations are not the DMA API's doing.
    if (event.name === 'qi_submit' && event.granularity === 'other') return;
    const wholeDomain = event.name === 'qi_submit' ? event.granularity === 'domain' : event.wholeDomain;
    if (this.#open !== null || !wholeDomain) {
      this.#append(record);
      return;
    }
    // Up to 6.12 there is only the descriptor; later kernels announce the flush first.
    if (event.name === 'qi_submit' && this.#flushAnnounced && this.#timer !== null) {
      this.#flushAnnounced = false;
      return;
    }
    this.#flushAnnounced = event.name === 'cache_tag_flush_range';
    this.#timer = { cpu: record.cpu, line: record.line, domainId: event.domainId, frees: [] };
    this.#timers.push(this.#timer);
  }
}
