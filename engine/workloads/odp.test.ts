/**
 * Messages into and out of memory that is used on demand, while it moves: every byte arrives, whatever overtakes what (thread of March 2024,
 * linux-dma-api reference section 15: sequence check, device before IOMMU).
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { NicOdpAdapter } from '../drivers/rdma/nicOdpAdapter.ts';
import { IntervalNotifier } from '../memory/intervalNotifier.ts';
import { connectHosts, type RdmaHostsOptions } from '../drivers/rdma/testRdmaHosts.ts';
import { createPageScheme } from '../schemes/pages/pageSchemes.ts';
import { SCHEME_NAMES, type SchemeName } from '../schemes/scheme.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { RandomStream } from '../time/random.ts';
import { createOdpWorkload, type OdpWorkloadOptions } from './odp.ts';

const WORKLOAD: OdpWorkloadOptions = {
  name: 'workloads[odp0]',
  operation: 'write',
  messageBytes: 12_000,
  queuePairs: 4,
  messages: 80,
  regions: 2,
  regionBytes: 128 * 1024,
  messagesPerRegion: 0,
  split: false,
  layout: [{ kind: 'ram', pages: 1, contiguity: 'scattered' }],
  implicit: false,
  prefetch: false,
  changes: [
    { kind: 'migrate', pages: 4, weight: 3 },
    { kind: 'swapOut', pages: 2, weight: 2 },
    { kind: 'fork', pages: 1, weight: 1 },
  ],
  changeEvery: nanoseconds(3000),
};
/** Far more than a workload of this size takes. */
const MOST_STEPS = 1_000_000;
const SOME = nanoseconds(300);
const PER_PAGE = nanoseconds(5);
const QUICK = {
  faultEntry: SOME,
  rangeFaultPerPage: PER_PAGE,
  minorFault: SOME,
  majorFault: SOME,
  advise: SOME,
  createKey: SOME,
  tableUpdate: SOME,
  tableUpdatePerEntry: PER_PAGE,
};

function run(
  hosts: RdmaHostsOptions,
  options: Partial<OdpWorkloadOptions>,
  seed = 1,
  prepare: (hosts: ReturnType<typeof connectHosts>) => void = () => undefined,
) {
  const connected = connectHosts(hosts);
  prepare(connected);
  const { api, device } = connected;
  const before = connected.machine.held();
  const machine = {
    ...connected,
    odpCosts: QUICK,
    pageScheme: () => createPageScheme(hosts.scheme ?? 'two_step_per_page', api, device, 'test'),
    gpu: () => {
      throw new Error('there is no GPU here');
    },
    packetBytes: 4096,
  };
  const workload = createOdpWorkload(machine, { ...WORKLOAD, ...options }, new RandomStream(seed));
  workload.start();
  for (let steps = 0; !workload.done; steps += 1) {
    if (steps > MOST_STEPS) throw new Error('it goes round in circles');
    if (!connected.events.step()) throw new Error(`it stands still after ${String(workload.completed)} messages`);
  }
  return { ...connected, before, workload };
}

const PAGED = SCHEME_NAMES.filter((name) => name !== 'premapped');

describe.each(PAGED)('on demand under %s', (scheme: SchemeName) => {
  test.each(['write', 'read'] as const)('every %s brings what was sent, and everything is given back', (operation) => {
    for (const seed of [1, 2, 3]) {
      const { workload, counters, before, machine, metrics } = run({ scheme, domain: 'strict' }, { operation }, seed);
      expect([workload.completed, workload.failed, workload.mismatches, counters.get('faults')]).toEqual([80, 0, 0, 0]);
      expect(counters.get('odpFaults')).toBeGreaterThan(0);
      expect(counters.get('odpPagesInvalidated')).toBeGreaterThan(0);
      expect(machine.held()).toEqual(before);
      expect(metrics.bookkeepingBytes).toBe(0);
    }
  });
});

test.each(['write', 'read'] as const)('one key over all addresses serves every %s', (operation) => {
  const { workload, counters } = run({ domain: 'strict' }, { operation, implicit: true });
  expect([workload.completed, workload.failed, workload.mismatches]).toEqual([80, 0, 0]);
  expect(counters.get('odpFaults')).toBeGreaterThan(0);
});

test('memory that is fetched ahead and left in peace is never faulted for', () => {
  const { workload, counters } = run({ domain: 'strict' }, { prefetch: true, changes: [] });
  expect([workload.failed, counters.get('odpFaults')]).toEqual([0, 0]);
  expect(counters.get('odpPagesMapped')).toBe(2 * 32);
});

test('the same seed gives the same counters and moments', () => {
  const once = () => {
    const { counters, events, metrics } = run({}, {}, 5);
    return [counters.toRecord(), events.now, metrics.ioLatency.serialize()];
  };
  expect(once()).toEqual(once());
});

describe('a step that is left out is found', () => {
  const found = (seed: number, prepare?: Parameters<typeof run>[3]): boolean => {
    try {
      const options = { changeEvery: nanoseconds(1500), messages: 400 };
      const { workload, counters } = run({ domain: 'strict' }, options, seed, prepare);
      return workload.failed > 0 || counters.get('faults') > 0;
    } catch {
      return true;
    }
  };
  const caught = (prepare?: Parameters<typeof run>[3]): boolean => [1, 2, 3, 4, 5].some((seed) => found(seed, prepare));

  test('none is left out: nothing is found', () => {
    expect(caught()).toBe(false);
  });

  test('the adapter keeps its entries when pages go', () => {
    vi.spyOn(NicOdpAdapter.prototype, 'zap').mockImplementation(() => undefined);
    expect(caught()).toBe(true);
  });

  test('the table is filled with what was read before the pages changed', () => {
    vi.spyOn(IntervalNotifier.prototype, 'readRetry').mockReturnValue(false);
    expect(caught()).toBe(true);
  });

  test('the adapter goes on with what it has cached of the table', () => {
    expect(
      caught(({ nic }) => {
        nic.cache.invalidate = () => undefined;
      }),
    ).toBe(true);
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});
