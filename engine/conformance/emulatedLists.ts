/**
 * The emulated side of a comparison: listens to the DMA API (engine/dma/trace.ts) and writes what one request did as the
 * same lines of text that recordedLists.ts writes. Ranges are followed while they live, as there.
 * Leaves out: the physical page of `dma_alloc`, which the emulator's own allocator picks.
 */
import type { AllocFastEvent, DmaTrace, DmaTraceEvent, FreeFastEvent } from '../dma/trace.ts';
import { attributeNames, directionName, type IovaRange, lines, RangeNames } from './traceText.ts';

export interface EmulatedRelease {
  readonly by: string;
  readonly pages: number;
  /** The how-manieth release, from 0. */
  readonly order: number;
}

/** What the kernel of the recording prints beside the mask of a flush. */
export interface FlushWording {
  readonly printsPages: boolean;
}

/** What is being listened to: one submission, completion or timer. They nest where one CPU waits while others go on. */
interface Listening {
  readonly owner: string;
  readonly ranges: IovaRange[];
  readonly events: DmaTraceEvent[];
  readonly listener: EmulatedListener;
}

/** What a replay does in the midst of a call. */
export interface EmulatedListener {
  /** An IOVA was just allocated. */
  readonly afterAllocation?: () => void;
  /** A flush of the whole domain is under way, and the CPU that asked for it waits. */
  readonly duringDomainFlush?: () => void;
}

export class EmulatedTrace implements DmaTrace {
  readonly releases = new Map<IovaRange, EmulatedRelease>();
  readonly #live = new Map<number, IovaRange>();
  readonly #freed = new Map<FreeFastEvent, IovaRange>();
  readonly #allocated = new Map<DmaTraceEvent, IovaRange>();
  readonly #wording: FlushWording;
  readonly #stack: Listening[] = [];
  /** `__size` of a two-step state, by its address. */
  readonly #stateSizes = new Map<number, number>();

  constructor(wording: FlushWording) {
    this.#wording = wording;
  }

  /** The events from here to `end` are `owner`'s; its ranges are appended to `ranges`. */
  begin(owner: string, ranges: IovaRange[], listener: EmulatedListener = {}): void {
    this.#stack.push({ owner, ranges, events: [], listener });
  }

  emit(event: DmaTraceEvent): void {
    const listening = this.#stack.at(-1);
    if (listening === undefined) return;
    listening.events.push(event);
    if (event.event === 'alloc_fast') {
      this.#allocate(event, listening);
      listening.listener.afterAllocation?.();
    } else if (event.event === 'free_fast') this.#release(event, listening);
  }

  /** The hardware has flushed the domain, and the CPU that asked for it waits. */
  domainFlushed(): void {
    this.#stack.at(-1)?.listener.duringDomainFlush?.();
  }

  /** The lines since `begin`. Results of calls stand in their events only when the calls have returned. */
  end(): string[] {
    const listening = this.#stack.pop();
    if (listening === undefined) return [];
    const names = new RangeNames(listening.ranges);
    const pool = poolMaps(listening.events);
    return listening.events.map((event) => this.#text(event, names, pool));
  }

  #allocate(event: AllocFastEvent, { owner, ranges }: Listening): void {
    if (event.pfn === 0) return;
    // A range that is given out twice makes the second one's list wrong: its name stays the first one's.
    const range = this.#live.get(event.pfn) ?? { owner, index: ranges.length, pfn: event.pfn, pages: event.pages };
    ranges.push(range);
    this.#live.set(event.pfn, range);
    this.#allocated.set(event, range);
  }

  #release(event: FreeFastEvent, { owner }: Listening): void {
    const range = this.#live.get(event.pfn);
    if (range === undefined) return;
    this.#live.delete(event.pfn);
    this.#freed.set(event, range);
    this.releases.set(range, { by: owner, pages: event.pages, order: this.releases.size });
  }

  #text(event: DmaTraceEvent, names: RangeNames, pool: ReadonlySet<DmaTraceEvent>): string {
    switch (event.event) {
      case 'alloc_fast': {
        const tree = Array.from({ length: event.slow }, () => event.roundedPages);
        const name = names.range(this.#allocated.get(event), event.pfn);
        return lines.allocFast(event.pages, event.limitPfn, event.flushRcache, tree, name);
      }
      case 'free_fast':
        return lines.freeFast(names.range(this.#freed.get(event), event.pfn), event.pages);
      case 'map':
        return lines.map(names.address(event.iova), pool.has(event) ? null : event.phys, event.size);
      case 'unmap':
        return lines.unmap(names.address(event.iova), event.size, event.unmapped);
      case 'cache_tag_flush_range':
      case 'cache_tag_flush_range_np':
        return lines.flush(
          {
            wholeDomain: event.end < 0,
            start: event.start,
            end: event.end,
            address: event.address,
            mask: event.mask,
            pages: this.#wording.printsPages ? event.pages : null,
          },
          names,
        );
      case 'qi_submit':
        return lines.invalidate(event.granularity, names.address(event.address), event.mask, event.hint);
      case 'swiotlb_bounced':
        return `bounce ${event.size}`;
      case 'call':
        return this.#callText(event, names);
    }
  }

  #stateSize(address: number): number {
    return this.#stateSizes.get(address) ?? 0;
  }

  #callText(event: Extract<DmaTraceEvent, { event: 'call' }>, names: RangeNames): string {
    switch (event.name) {
      case 'dma_map_page':
      case 'dma_map_phys':
        return lines.mapOne(
          event.name,
          directionName(event.direction),
          names.address(event.result),
          event.size,
          event.phys,
          attributeNames(event.attributes),
        );
      case 'dma_unmap_page':
      case 'dma_unmap_phys':
        return lines.unmapOne(
          event.name,
          directionName(event.direction),
          names.address(event.address),
          event.size,
          attributeNames(event.attributes),
        );
      case 'dma_map_sg': {
        const places = event.dmaAddress.map((address) => names.address(address));
        const direction = directionName(event.direction);
        return lines.mapSg(
          direction,
          event.phys.length,
          places,
          event.dmaLength,
          event.phys,
          attributeNames(event.attributes),
        );
      }
      case 'dma_unmap_sg':
        return lines.unmapSg(directionName(event.direction), event.phys, attributeNames(event.attributes));
      case 'dma_alloc':
      case 'dma_free':
        return lines.coherent(event.name, names.coherent(event.address), event.size);
      case 'dma_iova_try_alloc':
        this.#stateSizes.set(event.address, event.size);
        return lines.tryAlloc(
          event.phys,
          event.size,
          event.result === 1,
          names.address(event.address),
          this.#stateSize(event.address),
        );
      case 'dma_iova_link': {
        const direction = directionName(event.direction);
        return lines.link(
          names.address(event.address),
          this.#stateSize(event.address),
          event.phys,
          event.offset,
          event.size,
          direction,
          event.result,
        );
      }
      case 'dma_iova_sync':
        return lines.sync(names.address(event.address), event.offset, event.size, event.result);
      case 'dma_iova_unlink':
        return lines.unlink(names.address(event.address), event.offset, event.size);
      case 'dma_iova_destroy':
        return lines.destroy(names.address(event.address), this.#stateSize(event.address), event.mappedLength);
      case 'dma_iova_free':
        return lines.free(names.address(event.address), event.size);
    }
  }
}

/** The maps of coherent memory: those between an allocation and the `dma_alloc` that it served. */
function poolMaps(events: readonly DmaTraceEvent[]): Set<DmaTraceEvent> {
  const pool = new Set<DmaTraceEvent>();
  for (const [index, event] of events.entries()) {
    if (event.event !== 'call' || event.name !== 'dma_alloc') continue;
    for (const earlier of events.slice(0, index).reverse()) {
      if (earlier.event !== 'map') break;
      pool.add(earlier);
    }
  }
  return pool;
}
