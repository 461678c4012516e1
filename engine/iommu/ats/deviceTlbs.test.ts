/**
 * Invalidate requests under way (PCI Express Base Specification 10.3: ITags of five bits, Invalidate Queue Depth), and what each vendor's
 * queue makes of a device that does not answer (VT-d specification 6.5.2.10, FSTS.ITE; AMD specification 48882, 2.5.6; SMMUv3
 * specification IHI 0070, 7.1, CERROR_ATC_INV_SYNC; RISC-V IOMMU specification 1.0, 4.1.2, cqcsr.cmd_to).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Link } from '../../pcie/link.ts';
import { SwitchTiming, Way } from '../../pcie/way.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { AmdCommandBuffer, ILLEGAL_COMMAND_ERROR, IOTLB_INV_TIMEOUT } from '../amd/amdCommandBuffer.ts';
import { HostCaches } from '../cacheInvalidation.ts';
import { ContextCache } from '../caches/contextCache.ts';
import { Iotlb } from '../caches/iotlb.ts';
import { PagingStructureCache } from '../caches/pagingStructureCache.ts';
import type { CommandQueue, InvalidatedCaches } from '../commandRing.ts';
import { PAGES_PER_ENTRY } from '../formats/pageTableFormat.ts';
import { FREE_IOMMU_COSTS } from '../freeCosts.ts';
import { RiscvCommandQueue } from '../riscv/riscvCommandQueue.ts';
import { SmmuCommandQueue } from '../smmu/smmuCommandQueue.ts';
import { InvalidationQueue } from '../vtd/invalidationQueue.ts';
import { DeviceTlbs, type InvalidatedTlb } from './deviceTlbs.ts';

const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(100) };
const ROOT_COMPLEX = nanoseconds(50);
/** Bytes on the wire: a request with its body, and the answer without one. */
const REQUEST_BYTES = 32;
const ANSWER_BYTES = 24;
const MINUTE = 60e12;
const NOW = nanoseconds(10);
const SOURCE = 0x123;

/** A device that takes as long as it is told for each request in turn. */
class SlowTlb implements InvalidatedTlb {
  readonly arrivals: number[] = [];
  readonly answers: number[] = [];
  readonly pasids: number[] = [];
  private readonly durations: readonly number[];

  constructor(durations: readonly number[]) {
    this.durations = durations;
  }

  invalidate(_words: Uint32Array, _wordAt: number, pasid: number, at: Picoseconds): Picoseconds {
    const done = at + nanoseconds(this.durations[this.arrivals.length % this.durations.length]!);
    this.arrivals.push(at);
    this.answers.push(done);
    this.pasids.push(pasid);
    return picoseconds(done);
  }

  /** The most requests that were in the device at a time. */
  get most(): number {
    return Math.max(
      0,
      ...this.arrivals.map(
        (at) => this.arrivals.filter((other, index) => other <= at && this.answers[index]! > at).length,
      ),
    );
  }
}

test('at most as many requests are under way as the device takes, 32 at the most, and none waits without need', () => {
  let full = 0;
  const submission = fc.record({ wait: fc.nat(3000), requests: fc.array(fc.nat(1), { maxLength: 50 }) });
  fc.assert(
    fc.property(
      fc.array(submission, { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(5000), { minLength: 1, maxLength: 7 }),
      fc.tuple(fc.nat(31), fc.nat(31)),
      (submissions, durations, depths) => {
        const registry = new DeviceTlbs();
        const devices = depths.map((queueDepth, index) => {
          const tlb = new SlowTlb(durations);
          registry.add(index, { tlb, way: new Way(new Link(LINK)), rootComplex: ROOT_COMPLEX, queueDepth });
          const wire = new Link(LINK);
          // the naive model: when each earlier request was answered, and the same wire
          return { tlb, wire, limit: queueDepth === 0 ? 32 : queueDepth, answered: [] as number[] };
        });
        let at = 0;
        for (const { wait, requests } of submissions) {
          at += nanoseconds(wait);
          registry.begin(picoseconds(at));
          let last = at;
          for (const index of requests) {
            const { tlb, wire, limit, answered } = devices[index]!;
            registry.invalidate(index, NO_PASID, 0, 1, false);
            const latest = answered.toSorted((a, b) => b - a)[limit - 1] ?? 0;
            const arrival =
              wire.downstream.reserve(REQUEST_BYTES, Math.max(at, latest) + ROOT_COMPLEX) + LINK.propagation;
            expect(tlb.arrivals.at(-1)).toBe(arrival);
            const left = wire.upstream.reserve(ANSWER_BYTES, tlb.answers.at(-1)!);
            answered.push(left + LINK.propagation + ROOT_COMPLEX);
            last = Math.max(last, answered.at(-1)!);
          }
          expect([registry.end(), registry.lost]).toEqual([last, false]);
        }
        for (const { tlb, limit } of devices) {
          expect(tlb.most).toBeLessThanOrEqual(limit);
          if (tlb.most === limit) full += 1;
        }
      },
    ),
    { seed: 6, numRuns: 200 },
  );
  expect(full).toBeGreaterThan(20);
});

test('where nobody answers each request takes its minute, 32 of them together, and the next submission begins anew', () => {
  const registry = new DeviceTlbs();
  const way = new Way(new Link(LINK));
  registry.add(1, { tlb: new SlowTlb([0]), way, rootComplex: ROOT_COMPLEX, queueDepth: 0, answers: false });
  registry.begin(NOW);
  for (let request = 0; request < 32; request += 1) registry.invalidate(1, NO_PASID, request, 1, false);
  expect([registry.end(), registry.lost, registry.timeOuts]).toEqual([NOW + MINUTE, true, 32]);
  registry.invalidate(1, NO_PASID, 32, 1, false);
  expect([registry.end(), registry.timeOuts, registry.requests]).toEqual([NOW + 2 * MINUTE, 33, 33]);
  registry.begin(picoseconds(5 * MINUTE));
  registry.invalidate(2, NO_PASID, 0, 1, false);
  expect([registry.end(), registry.lost, registry.requests]).toEqual([5 * MINUTE, false, 33]);
});

interface Machine<Q extends CommandQueue> {
  readonly queue: Q;
  readonly memory: PhysicalMemory;
  readonly devices: DeviceTlbs;
  readonly tlb: SlowTlb;
  readonly counters: Counters;
}

type Build<Q> = (memory: PhysicalMemory, frames: FrameAllocator, caches: InvalidatedCaches, counters: Counters) => Q;

function machine<Q extends CommandQueue>(build: Build<Q>, answers: boolean): Machine<Q> {
  const memory = new PhysicalMemory(64 * 4096);
  const devices = new DeviceTlbs();
  const tlb = new SlowTlb([0]);
  devices.add(SOURCE, { tlb, way: new Way(new Link(LINK)), rootComplex: ROOT_COMPLEX, queueDepth: 0, answers });
  const caches = {
    iotlb: new Iotlb({ entries4K: 4, entries2M: 4, entries1G: 4, ways: 4 }),
    pagingCache: new PagingStructureCache({ entries512G: 1, entries1G: 1, entries2M: 1 }, PAGES_PER_ENTRY),
    contextCache: new ContextCache(4),
    emptiesSets: false,
    deviceTlbs: devices,
  };
  const counters = new Counters();
  return { queue: build(memory, new FrameAllocator(memory, 1, 63), caches, counters), memory, devices, tlb, counters };
}

const vtd: Build<InvalidationQueue> = (memory, frames, caches, counters) =>
  new InvalidationQueue(memory, frames, caches, FREE_IOMMU_COSTS, counters);
const amd: Build<AmdCommandBuffer> = (memory, frames, caches, counters) =>
  new AmdCommandBuffer(memory, frames, caches, FREE_IOMMU_COSTS, counters);
const smmu: Build<SmmuCommandQueue> = (memory, frames, caches, counters) =>
  new SmmuCommandQueue({
    memory,
    frames,
    caches: new HostCaches(caches),
    costs: FREE_IOMMU_COSTS,
    counters,
    deviceTlbs: caches.deviceTlbs,
  });
const riscv: Build<RiscvCommandQueue> = (memory, frames, caches, counters) =>
  new RiscvCommandQueue({
    memory,
    frames,
    caches: new HostCaches(caches),
    costs: FREE_IOMMU_COSTS,
    counters,
    deviceTlbs: caches.deviceTlbs,
  });

/** One page of SOURCE, without PASID. */
const ONE_PAGE = {
  vtd: [0x3, SOURCE, 0x5000, 0],
  amd: [SOURCE, 0x4000_0000 | SOURCE, 0x5000, 0],
  smmu: [0x40, SOURCE, 0x5000, 0],
  riscv: [0x4, SOURCE << 8, 0x5000, 0],
} as const;
const send = (queue: CommandQueue, ...words: readonly number[]): number =>
  queue.submit(Uint32Array.from(words), words.length / 4, NOW);

describe('a device that does not answer', () => {
  test('VT-d: the wait behind is aborted, ITE is cleared by the driver, and later waits are seen', () => {
    const { queue, devices } = machine(vtd, false);
    expect(send(queue, ...ONE_PAGE.vtd)).toBe(NOW + MINUTE);
    expect([queue.timeOuts, queue.faultStatus, devices.timeOuts]).toEqual([1, 0, 1]);
    expect(send(queue, 0x1 | (1 << 4), 0, 0, 0)).toBe(NOW);
    expect([queue.timeOuts, queue.faultStatus]).toEqual([1, 0]);
  });

  test('AMD: IOTLB_INV_TIMEOUT is logged, and COMPLETION_WAIT completes', () => {
    const { queue } = machine(amd, false);
    expect(send(queue, ...ONE_PAGE.amd)).toBe(NOW + MINUTE);
    expect([queue.events, queue.lastEvent]).toEqual([1, IOTLB_INV_TIMEOUT]);
    expect(send(queue, 0, 0x8000_0000, 0, 0)).toBe(NOW);
    expect(queue.events).toBe(1);
  });

  test('SMMUv3: CMD_SYNC stops with CERROR_ATC_INV_SYNC and is taken again', () => {
    const { queue } = machine(smmu, false);
    expect(send(queue, ...ONE_PAGE.smmu)).toBe(NOW + MINUTE);
    expect([queue.timeOuts, queue.error, queue.refused]).toEqual([1, 0, 0]);
    expect(send(queue, 0x30, 0, 0, 0)).toBe(NOW);
    expect(queue.timeOuts).toBe(1);
  });

  test('RISC-V: cmd_to at the fence, which is taken again', () => {
    const { queue } = machine(riscv, false);
    expect(send(queue, ...ONE_PAGE.riscv)).toBe(NOW + MINUTE);
    expect([queue.timeOuts, queue.timedOut, queue.illegal]).toEqual([1, false, false]);
  });
});

test('a device that answers is waited for, whosever command it was, and a requester that nobody has costs nothing', () => {
  for (const [built, words] of [
    [machine(vtd, true), ONE_PAGE.vtd],
    [machine(amd, true), ONE_PAGE.amd],
    [machine(smmu, true), ONE_PAGE.smmu],
    [machine(riscv, true), ONE_PAGE.riscv],
  ] as const) {
    const { queue, tlb, counters, devices } = built;
    const seen = send(queue, ...words);
    expect(seen).toBeGreaterThan(NOW + 2 * (ROOT_COMPLEX + LINK.propagation));
    expect(seen).toBeGreaterThan(tlb.answers[0]!);
    expect([tlb.pasids, devices.timeOuts, counters.get('invalidationsDeviceTlb')]).toEqual([[NO_PASID], 0, 1]);
  }
  const { queue, tlb } = machine(vtd, true);
  expect(send(queue, 0x3, SOURCE + 1, 0x5000, 0)).toBe(NOW);
  expect(tlb.arrivals).toEqual([]);
});

describe('a command that is none', () => {
  test.each([
    ['type 0', 0x0],
    ['type 9', 0x9],
    ['type 15', 0xf],
    ['context cache, granularity 0', 0x1],
    ['IOTLB, granularity 0', 0x2],
    ['PASID IOTLB, granularity 0', 0x6],
    ['PASID IOTLB, granularity 1', 0x6 | (1 << 4)],
    ['PASID cache, granularity 2', 0x7 | (2 << 4)],
  ])('VT-d: %s sets IQE; the driver puts a wait in its place, and what follows is carried out', (_name, first) => {
    const { queue, memory, tlb, counters } = machine(vtd, true);
    send(queue, first, 0, 0, 0, ...ONE_PAGE.vtd);
    expect([queue.descriptorErrors, queue.faultStatus, tlb.arrivals.length]).toEqual([1, 0, 1]);
    expect([0, 1, 2, 3].map((word) => memory.readWord(queue.ringPage, word))).toEqual([0x5, 0, 0, 0]);
    for (const name of [
      'invalidationsGlobal',
      'invalidationsDomain',
      'invalidationsPage',
      'invalidationsContext',
    ] as const) {
      expect(counters.get(name)).toBe(0);
    }
  });

  test('VT-d: an interrupt entry cache is nothing that is kept, and no error', () => {
    const { queue } = machine(vtd, true);
    expect(send(queue, 0x4, 0, 0, 0)).toBe(NOW);
    expect(queue.descriptorErrors).toBe(0);
  });

  test('AMD: logged, and the buffer stands until it is turned off and on', () => {
    const { queue, tlb } = machine(amd, true);
    expect(() => send(queue, 0, 0xf000_0000, 0, 0, ...ONE_PAGE.amd)).toThrow('wait command');
    expect([queue.events, queue.lastEvent, tlb.arrivals.length]).toEqual([1, ILLEGAL_COMMAND_ERROR, 0]);
    expect(() => send(queue, ...ONE_PAGE.amd)).toThrow('wait command');
    expect([queue.events, tlb.arrivals.length]).toEqual([1, 0]);
    queue.restart();
    send(queue, ...ONE_PAGE.amd);
    expect([queue.events, tlb.arrivals.length]).toEqual([1, 1]);
  });

  test('AMD: interrupt tables and prefetches are nothing that is kept, and no error', () => {
    const { queue } = machine(amd, true);
    expect(send(queue, SOURCE, 0x5000_0000, 0, 0, SOURCE, 0x6000_0000, 0, 0)).toBe(NOW);
    expect(queue.events).toBe(0);
  });
});

test('every link and switch on the way adds its time to an invalidation and to a translation request, there and back (10.2, 10.3)', () => {
  const latency = nanoseconds(110);
  const wayOf = (switches: number): Way =>
    switches === 0
      ? new Way(new Link(LINK))
      : new Way(new Link(LINK), new SwitchTiming({ latency }), wayOf(switches - 1));
  const answered = (switches: number): number => {
    const registry = new DeviceTlbs();
    registry.add(1, { tlb: new SlowTlb([0]), way: wayOf(switches), rootComplex: ROOT_COMPLEX, queueDepth: 0 });
    registry.begin(picoseconds(0));
    registry.invalidate(1, NO_PASID, 5, 1, false);
    return registry.end();
  };
  const link = new Link(LINK);
  const step = 2 * (latency + link.propagation) + link.upstream.duration(24) + link.downstream.duration(32);
  expect(answered(1) - answered(0)).toBe(step);
  expect(answered(2) - answered(1)).toBe(step);
});
