/**
 * Counts what the DMA API did between two moments of a test, from the events that it emitted: what a scenario's table says.
 */
import { ALL_ADDRESSES_END } from './trace.ts';
import type { TestMachine } from './testMachine.ts';

/** Every number is a count of operations, but for the bytes. */
export interface Work {
  readonly iovaAllocations: number;
  readonly iovaFrees: number;
  readonly maps: number;
  readonly unmaps: number;
  /** Invalidations that the CPU waited for, of a range; without those of the flush queue. */
  readonly flushes: number;
  /** Of the whole domain, by the flush queue. */
  readonly domainFlushes: number;
  /** Ranges that wait in the flush queue. */
  readonly queueEntries: number;
  /** `dma_iova_sync`. */
  readonly syncs: number;
  /** Invalidations after a map, which only caching mode needs. */
  readonly flushesAfterMap: number;
  readonly bouncedBytes: number;
}

const NOTHING = {
  iovaAllocations: 0,
  iovaFrees: 0,
  maps: 0,
  unmaps: 0,
  flushes: 0,
  domainFlushes: 0,
  queueEntries: 0,
  syncs: 0,
  flushesAfterMap: 0,
  bouncedBytes: 0,
};

/** All zeros but what is given, so that a test says all that happened. */
export function work(some: Partial<Work> = {}): Work {
  return { ...NOTHING, ...some };
}

/** What has happened since the last call; takes the machine's events. */
export function takeWork(machine: TestMachine): Work {
  const done = { ...NOTHING };
  for (const event of machine.events.splice(0)) {
    switch (event.event) {
      case 'alloc_fast':
        if (event.pfn !== 0) done.iovaAllocations += 1;
        break;
      case 'free_fast':
        done.iovaFrees += 1;
        break;
      case 'map':
        done.maps += 1;
        break;
      case 'unmap':
        done.unmaps += 1;
        break;
      case 'cache_tag_flush_range':
        if (event.end !== ALL_ADDRESSES_END) done.flushes += 1;
        break;
      case 'cache_tag_flush_range_np':
        done.flushesAfterMap += 1;
        break;
      case 'swiotlb_bounced':
        done.bouncedBytes += event.size;
        break;
      case 'call':
        if (event.name === 'dma_iova_sync') done.syncs += 1;
        break;
      case 'qi_submit':
        break;
    }
  }
  const { counters } = machine;
  done.queueEntries = counters.get('flushQueueEntries');
  done.domainFlushes = counters.get('flushQueueFlushes');
  counters.add('flushQueueEntries', -done.queueEntries);
  counters.add('flushQueueFlushes', -done.domainFlushes);
  return done;
}
