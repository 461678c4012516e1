/** The events of a call in the form of a recording, and the moments at which timers come in (data kept with recordings). */
import { describe, expect, it } from 'vitest';
import { ALL_ADDRESSES_END, type DmaTraceEvent } from '../dma/trace.ts';
import { ApiEventTrace, eventAsValue, mappedPages, recordedDomainId } from './linuxApiEvents.ts';
import type { ApiEvent } from './linuxApiRecord.ts';

const TIMER: ApiEvent = { name: 'fq_timer', starred: true, values: [] };
const FREED: ApiEvent = { name: 'iova_free', starred: true, values: ['0x9', 1] };

function plain(name: string): ApiEvent {
  return { name, starred: false, values: [] };
}

const MAP: DmaTraceEvent = { event: 'map', iova: 0x1000, phys: 0x9000, size: 4096 };
const UNMAP: DmaTraceEvent = { event: 'unmap', iova: 0x1000, size: 8192, unmapped: 4096 };

/** What a call emits, with a timer that gives back one range. */
function names(expected: readonly ApiEvent[], call: (trace: ApiEventTrace) => void): string[] {
  const trace = new ApiEventTrace(false);
  trace.begin(expected, () => {
    trace.emit({ event: 'free_fast', pfn: 9, pages: 1 });
  });
  call(trace);
  return trace.events.map((event) => `${event.name}${event.starred ? '*' : ''}`);
}

describe('a timer comes where the recording has it', () => {
  const call = (trace: ApiEventTrace): void => {
    trace.emit(UNMAP);
    trace.emit(MAP);
  };

  it('before the call', () => {
    expect(names([TIMER, FREED, plain('unmap'), plain('map')], call)).toEqual([
      'fq_timer*',
      'iova_free*',
      'unmap',
      'map',
    ]);
  });

  it('inside it', () => {
    expect(names([plain('unmap'), TIMER, FREED, plain('map')], call)).toEqual([
      'unmap',
      'fq_timer*',
      'iova_free*',
      'map',
    ]);
  });

  it('after it', () => {
    expect(names([plain('unmap'), plain('map'), TIMER, FREED], call)).toEqual([
      'unmap',
      'map',
      'fq_timer*',
      'iova_free*',
    ]);
  });

  it('twice', () => {
    const twice = names([TIMER, FREED, plain('unmap'), TIMER, FREED], call);
    expect(twice).toEqual(['fq_timer*', 'iova_free*', 'unmap', 'fq_timer*', 'iova_free*', 'map']);
  });

  it('not before a device that races with it', () => {
    const held = names([plain('unmap'), TIMER, FREED], (trace) => {
      trace.hold();
      trace.emit(UNMAP);
      trace.emit(MAP);
      trace.release();
    });
    expect(held).toEqual(['unmap', 'map']);
    const released = names([plain('unmap'), TIMER, FREED], (trace) => {
      trace.hold();
      trace.emit(UNMAP);
      expect(trace.events).toHaveLength(1);
      trace.release();
    });
    expect(released).toEqual(['unmap', 'fq_timer*', 'iova_free*']);
  });

  it('and nowhere else', () => {
    expect(names([plain('unmap'), FREED, plain('map')], call)).toEqual(['unmap', 'map']);
  });
});

function text(event: DmaTraceEvent, printsPages = false): unknown[] {
  const trace = new ApiEventTrace(printsPages);
  trace.begin([], () => undefined);
  trace.emit(event);
  return trace.events.map(eventAsValue);
}

describe('an event reads as in the recording', () => {
  const flush = { start: 0xf000_1000, end: 0xf000_3fff, address: 0xf000_0000, mask: 2, pages: 4 } as const;

  it.each<[string, DmaTraceEvent, unknown[]]>([
    ['map', MAP, [['map', '0x1000', '0x9000', 4096]]],
    ['unmap', UNMAP, [['unmap', '0x1000', 8192, 4096]]],
    [
      'a search of the tree that fails twice',
      { event: 'alloc_fast', pages: 3, limitPfn: 0xfff, flushRcache: true, pfn: 0, slow: 2, roundedPages: 4 },
      [
        ['iova_alloc_slow', 4, '0xfff', 1],
        ['iova_alloc_slow', 4, '0xfff', 1],
        ['iova_alloc', 3, '0xfff', 1, '0x0'],
      ],
    ],
    ['a flush', { event: 'cache_tag_flush_range', ...flush }, [['flush', '0xf0001000', '0xf0003fff', '0xf0000000', 2]]],
    [
      'a flush after a map',
      { event: 'cache_tag_flush_range_np', ...flush },
      [['flush_np', '0xf0001000', '0xf0003fff', '0xf0000000', 2]],
    ],
    [
      'a flush of everything',
      { event: 'cache_tag_flush_range', start: 0, end: ALL_ADDRESSES_END, address: 0, mask: 52, pages: 2 ** 52 },
      [['flush', '0x0', '0xffffffffffffffff', '0x0', 52]],
    ],
    [
      'a descriptor for pages, leaves only',
      { event: 'qi_submit', granularity: 'page', domainId: 4, address: 0xffff_8000, mask: 3, hint: true },
      [['qi', '0x400f2', '0xffff8043']],
    ],
    [
      'a descriptor for a domain',
      { event: 'qi_submit', granularity: 'domain', domainId: 4, address: 0, mask: 0, hint: false },
      [['qi', '0x400e2', '0x0']],
    ],
    [
      'a bounce',
      { event: 'swiotlb_bounced', address: 0x1_0980_0200, size: 256, forced: false },
      [['bounce', '0x109800200', 256]],
    ],
  ])('%s', (_what, event, expected) => {
    expect(text(event)).toEqual(expected);
  });

  it('with pages where an older kernel prints pages, not the mask', () => {
    expect(text({ event: 'cache_tag_flush_range', ...flush }, true)).toEqual([
      ['flush', '0xf0001000', '0xf0003fff', '0xf0000000', 4],
    ]);
  });
});

describe('the pages of a map event', () => {
  const map = (...values: (string | number)[]): ApiEvent => ({ name: 'map', starred: false, values });

  it('are where it says', () => {
    expect(mappedPages(map('0x5000', '0x9000', 8192))).toEqual(
      new Map([
        [5, 9],
        [6, 10],
      ]),
    );
  });

  it.each([
    ['bytes', map('0x5001', '0x9000', 4096)],
    ['half a page', map('0x5000', '0x9000', 2048)],
    ['more than there are', map('0x5000', '0x9000', 2 ** 50)],
    ['no numbers', map('here', '0x9000', 4096)],
    ['nothing', map()],
  ])('are none of %s', (_what, event) => {
    expect(mappedPages(event)).toBeNull();
  });
});

describe('the number of the domain', () => {
  const descriptor = (word: string): { readonly events: readonly ApiEvent[] } => ({
    events: [{ name: 'qi', starred: false, values: [word, '0x0'] }],
  });

  it.each([
    ['agreed on', ['0x700f2', '0x700e2'], 7],
    ['told once only', ['0x700f2'], null],
    ['told twice, and not the same', ['0x400f2', '0x700f2', '0x400f2'], null],
    ['that no hardware has', ['0x1000000f2', '0x1000000f2'], null],
  ])('%s', (_case, words, domainId) => {
    expect(recordedDomainId(words.map(descriptor))).toBe(domainId);
  });

  it('is printed as the recorded machine had it', () => {
    const trace = new ApiEventTrace(false, 7);
    trace.begin([], () => undefined);
    trace.emit({ event: 'qi_submit', granularity: 'domain', domainId: 4, address: 0, mask: 0, hint: false });
    expect(trace.events.map(eventAsValue)).toEqual([['qi', '0x700e2', '0x0']]);
  });
});

describe('the pages of a map event', () => {
  it.each([
    ['hexadecimal in capitals', ['0X1000', '0x9000', 4096]],
    ['one value too many', ['0x1000', '0x9000', 4096, 0]],
  ])('none: %s', (_case, values) => {
    expect(mappedPages({ name: 'map', starred: false, values })).toBeNull();
  });
});
