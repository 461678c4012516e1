/**
 * Messages between two hosts, into and out of regions of any mixture of memory (thread of March 2024: one memory region of a hodgepodge of
 * page types; InfiniBand Architecture Specification 9.4.3 and 9.4.4).
 */
import { describe, expect, test } from 'vitest';
import { SCHEME_NAMES, type SchemeName } from '../schemes/scheme.ts';
import { connectHosts, type RdmaHostsOptions } from '../drivers/rdma/testRdmaHosts.ts';
import { RandomStream } from '../time/random.ts';
import { RdmaWorkload, type RdmaWorkloadOptions } from './rdma.ts';

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
  const workload = new RdmaWorkload(connected, { ...WORKLOAD, ...options }, new RandomStream(seed));
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
