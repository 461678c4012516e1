/**
 * The events of one call: what the emulated kernel's trace shows, in the form of the recording, and the moments at which
 * the recording says that a timer came in. A starred event is an input: when the list has reached it, the flush queue's timer
 * fires, and what that does must be what the starred events say.
 * Names: `iova_alloc_slow`, `iova_alloc`, `iova_free` are alloc_iova, alloc_iova_fast and free_iova_fast; `map`, `unmap` are
 * iommu:map and iommu:unmap; `flush`, `flush_np`, `qi` are the VT-d driver's; `bounce` is swiotlb:swiotlb_bounced.
 */
import type { DmaTrace, DmaTraceEvent } from '../dma/trace.ts';
import { ALL_ADDRESSES_END } from '../dma/trace.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { ApiEvent, ApiRecord } from './linuxApiRecord.ts';
import { type ApiValue, hexadecimal } from './linuxApiValue.ts';

const IOTLB_DESCRIPTOR_BY_PAGE = 0xf2;
const IOTLB_DESCRIPTOR_BY_DOMAIN = 0xe2;
const INVALIDATION_HINT = 0x40;
const DOMAIN_SHIFT = 0x1_0000;
const LARGEST_DOMAIN_ID = 0xffff;
/** What the module prints when its own bookkeeping sees the timer; nothing of the kernel. */
const TIMER_MARK = 'fq_timer';
const QUEUE_MARK = 'fq_flush';

const MOST_PAGES = 2 ** 20;

const NO_EVENTS: readonly ApiEvent[] = [];

export class ApiEventTrace implements DmaTrace {
  /** Of the call under way. */
  events: ApiEvent[] = [];
  private expected: readonly ApiEvent[] = NO_EVENTS;
  private starred = false;
  private held = false;
  private readonly printsPages: boolean;
  private readonly domainId: number | null;
  private onTimer: () => void = () => undefined;

  /**
   * `printsPages`: the recorded kernel prints the number of pages of a flush, not its mask. `domainId`: the device's domain as
   * the recorded machine numbered it; null: as it is numbered here.
   */
  constructor(printsPages: boolean, domainId: number | null = null) {
    this.printsPages = printsPages;
    this.domainId = domainId;
  }

  /** `onTimer` fires the flush queue's timer. Events of a timer that stand at the beginning happen at once. */
  begin(expected: readonly ApiEvent[], onTimer: () => void): void {
    this.events = [];
    this.expected = expected;
    this.onTimer = onTimer;
    this.held = false;
    this.fireTimers();
  }

  /** No timer comes before `release`. */
  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    this.fireTimers();
  }

  emit(event: DmaTraceEvent): void {
    switch (event.event) {
      case 'call':
        return;
      case 'alloc_fast': {
        const limit = hexadecimal(event.limitPfn);
        for (let search = 0; search < event.slow; search += 1) {
          this.add('iova_alloc_slow', [event.roundedPages, limit, 1]);
        }
        this.add('iova_alloc', [event.pages, limit, event.flushRcache ? 1 : 0, hexadecimal(event.pfn)]);
        return;
      }
      case 'free_fast':
        this.add('iova_free', [hexadecimal(event.pfn), event.pages]);
        return;
      case 'map':
        this.add('map', [hexadecimal(event.iova), hexadecimal(event.phys), event.size]);
        return;
      case 'unmap':
        this.add('unmap', [hexadecimal(event.iova), event.size, event.unmapped]);
        return;
      case 'cache_tag_flush_range':
      case 'cache_tag_flush_range_np': {
        const { start, end, address, mask, pages } = event;
        const whole = end === ALL_ADDRESSES_END;
        const extent = this.printsPages && !whole ? pages : mask;
        const name = event.event === 'cache_tag_flush_range' ? 'flush' : 'flush_np';
        this.add(name, [hexadecimal(start), hexadecimal(end), hexadecimal(address), extent]);
        return;
      }
      case 'qi_submit': {
        const page = event.granularity === 'page';
        const kind = page ? IOTLB_DESCRIPTOR_BY_PAGE : IOTLB_DESCRIPTOR_BY_DOMAIN;
        const second = page ? event.address + (event.hint ? INVALIDATION_HINT : 0) + event.mask : 0;
        const domainId = this.domainId ?? event.domainId;
        this.add('qi', [hexadecimal(domainId * DOMAIN_SHIFT + kind), hexadecimal(second)]);
        return;
      }
      case 'swiotlb_bounced':
        this.add('bounce', [hexadecimal(event.address), event.size]);
    }
  }

  /** An event of the stand-alone IOVA domains, which have no trace of their own. */
  add(name: string, values: readonly ApiValue[]): void {
    this.events.push({ name, starred: this.starred, values });
    if (!this.starred) this.fireTimers();
  }

  /** While the next event of the recording is a timer's, the timer fires. */
  private fireTimers(): void {
    for (;;) {
      const next = this.expected[this.events.length];
      if (this.held || next?.starred !== true || next.name !== TIMER_MARK) return;
      this.starred = true;
      this.add(TIMER_MARK, []);
      this.onTimer();
      this.starred = false;
    }
  }
}

/**
 * The number of the device's domain follows from all devices of that machine and the order in which they were found, of which
 * a recording says nothing. So it is an input, if several descriptors agree on it; null: they do not.
 */
export function recordedDomainId(records: readonly Pick<ApiRecord, 'events'>[]): number | null {
  let found: number | null = null;
  let descriptors = 0;
  for (const { events } of records) {
    for (const { name, values } of events ?? []) {
      const word = name === 'qi' && typeof values[0] === 'string' ? Number(values[0]) : NaN;
      if (!Number.isSafeInteger(word)) continue;
      const domainId = Math.floor(word / DOMAIN_SHIFT);
      if (domainId < 1 || domainId > LARGEST_DOMAIN_ID || (found !== null && found !== domainId)) return null;
      found = domainId;
      descriptors += 1;
    }
  }
  return descriptors > 1 ? found : null;
}

/** The recorded list without the marks of which nothing is to be learnt. */
export function comparableEvents(events: readonly ApiEvent[]): ApiEvent[] {
  return events.filter((event) => event.name !== QUEUE_MARK);
}

export function eventAsValue(event: ApiEvent): ApiValue {
  return [event.starred ? `${event.name}*` : event.name, ...event.values];
}

/** Pages that a map event covers, with where each lies; null: it does not say so in whole pages. */
export function mappedPages(event: ApiEvent): ReadonlyMap<number, number> | null {
  const [iova, phys, size, ...others] = event.values;
  if (typeof iova !== 'string' || typeof phys !== 'string' || typeof size !== 'number') return null;
  if (!/^0x[0-9a-f]+$/.test(iova) || !/^0x[0-9a-f]+$/.test(phys) || others.length > 0) return null;
  const from = Number(iova) / PAGE_SIZE;
  const to = Number(phys) / PAGE_SIZE;
  const count = size / PAGE_SIZE;
  if (![from, to, count].every((pages) => Number.isSafeInteger(pages)) || count > MOST_PAGES) return null;
  const pages = new Map<number, number>();
  for (let page = 0; page < count; page += 1) pages.set(from + page, to + page);
  return pages;
}
