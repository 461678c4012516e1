/**
 * Messages between two hosts, into and out of regions of any mixture of memory (thread of March 2024: one memory region of a hodgepodge of
 * page types; InfiniBand Architecture Specification 9.4.3 and 9.4.4).
 */
import { describe, expect, test } from 'vitest';
import { SCHEME_NAMES, type SchemeName } from '../schemes/scheme.ts';
import { connectHosts, type RdmaHostsOptions } from '../drivers/rdma/testRdmaHosts.ts';
import { RandomStream } from '../time/random.ts';
import { createRdmaWorkload } from './rdmaPinned.ts';
import type { RdmaWorkloadOptions } from './rdmaMachine.ts';

const MIXTURE: RdmaWorkloadOptions['layout'] = [
  { kind: 'ram', pages: 3, contiguity: 'scattered' },
  { kind: 'peer', peer: 'near', pages: 2, contiguity: 'contiguous' },
  { kind: 'ram', pages: 1, contiguity: 'scattered' },
  { kind: 'peer', peer: 'far', pages: 2, contiguity: 'scattered' },
];
const WORKLOAD: RdmaWorkloadOptions = {
  name: 'workloads[rdma0]',
  operation: 'write',
  messageBytes: 8192,
  queuePairs: 4,
  messages: 64,
  regions: 3,
  regionBytes: 64 * 1024,
  messagesPerRegion: 0,
  split: false,
  layout: MIXTURE,
};

/** A workload on two hosts, run to its end. */
function run(hosts: RdmaHostsOptions, options: Partial<RdmaWorkloadOptions>, seed = 1) {
  const connected = connectHosts(hosts);
  const workload = createRdmaWorkload(connected, { ...WORKLOAD, ...options }, new RandomStream(seed));
  workload.start();
  while (!workload.done) {
    if (!connected.events.step()) throw new Error(`it stands still after ${String(workload.completed)} messages`);
  }
  return { ...connected, workload };
}

const DOMAINS = ['strict', 'lazy', 'passthrough'] as const;
/** Why a scheme cannot register a mixture. */
const REFUSES: Partial<Record<SchemeName, RegExp>> = {
  rfc_link_range: /that knew RAM only/u,
  uniform_only: /Register a region for each kind/u,
};

describe.each(SCHEME_NAMES)('a mixture under %s', (scheme) => {
  const why = REFUSES[scheme];
  const cases = DOMAINS.flatMap((domain) =>
    (['write', 'read'] as const).map((operation) => [domain, operation] as const),
  );
  test.each(cases)(
    why === undefined ? '%s: every %s brings what was sent' : '%s: no %s, and the log says why',
    (domain, operation) => {
      const { workload, counters, log } = run({ scheme, domain }, { operation, messagesPerRegion: 5 });
      expect([workload.completed, workload.mismatches, counters.get('faults')]).toEqual([64, 0, 0]);
      if (why === undefined) {
        // 3 regions with 22, 21 and 21 messages, each registered for 5 of them
        expect([workload.failed, counters.get('regionsRegistered'), counters.get('regionsRefused')]).toEqual([
          0, 15, 0,
        ]);
        expect(log.entries()).toEqual([]);
      } else {
        expect([workload.failed, counters.get('regionsRegistered'), counters.get('regionsRefused')]).toEqual([
          64, 0, 3,
        ]);
        expect(log.entries().map(({ source }) => source)).toEqual(['workloads[rdma0]']);
        expect(log.entries()[0]!.message).toMatch(why);
      }
    },
  );
});

describe('a mixture under uniform_only that may be split', () => {
  test.each(DOMAINS)('%s: is as many regions as runs of one provider, and every message crosses them', (domain) => {
    for (const operation of ['write', 'read'] as const) {
      // 16 pages of 3 RAM, 2 near, 1 RAM, 2 far, twice over: eight runs
      const options = { operation, split: true, regions: 2, messageBytes: 12_000, messagesPerRegion: 7 };
      const { workload, counters, log } = run({ scheme: 'uniform_only', domain }, options);
      expect([workload.completed, workload.failed, workload.mismatches]).toEqual([64, 0, 0]);
      // 32 messages in each region, registered for 7 of them
      expect([counters.get('regionsRegistered'), counters.get('regionsRefused')]).toEqual([2 * 5 * 8, 0]);
      expect(log.entries()).toEqual([]);
    }
  });
});

test('the same seed gives the same counters, moments and latencies', () => {
  const once = () => {
    const { counters, metrics, events } = run({ scheme: 'two_step' }, { messagesPerRegion: 5 }, 9);
    return [counters.toRecord(), events.now, metrics.mapLatency.serialize(), metrics.ioLatency.serialize()];
  };
  expect(once()).toEqual(once());
});

test.each(SCHEME_NAMES)(
  '%s: pins, IOVA and bounce buffers are back at the end, whether it was served or refused',
  (scheme) => {
    const connected = connectHosts({ scheme, domain: 'strict' });
    const before = connected.machine.held();
    const options = { ...WORKLOAD, messagesPerRegion: 5 };
    const workload = createRdmaWorkload(connected, options, new RandomStream(1));
    workload.start();
    while (!workload.done) connected.events.step();
    expect(connected.machine.held()).toEqual(before);
    // the adapter is quiet: it fetches nothing from queues that are not its own any more
    while (connected.events.step());
    expect(connected.counters.get('faults')).toBe(0);
    expect(connected.metrics.bookkeepingBytes).toBe(0);
  },
);

test.each(['write', 'read'] as const)('an adapter that keeps a key’s old table is found out by a %s', (operation) => {
  const connected = connectHosts({ scheme: 'map_phys', domain: 'strict' });
  connected.nic.cache.invalidate = () => undefined;
  // one region: the tables of several drive each other out of this small cache
  const options = { ...WORKLOAD, operation, regions: 1, messagesPerRegion: 5 };
  const workload = createRdmaWorkload(connected, options, new RandomStream(1));
  workload.start();
  while (!workload.done) connected.events.step();
  expect([workload.completed, workload.failed > 0]).toEqual([64, true]);
});
