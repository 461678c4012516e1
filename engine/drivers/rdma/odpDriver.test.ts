import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MTT_WRITE, NicPageFaults } from '../../devices/nicPageFaults.ts';
import { TestMachine } from '../../dma/testMachine.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { UserPages } from '../../memory/userPages.ts';
import { Fabric } from '../../pcie/fabric.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, PICOSECONDS_PER_NANOSECOND } from '../../time/picoseconds.ts';
import { OdpDriver } from './odpDriver.ts';

const PAGE = 4096;
const NONE = nanoseconds(0);

/** An adapter with on-demand paging on a small machine, and a process. */
class Bench {
  readonly machine = new TestMachine({ traced: false });
  readonly events = new EventQueue();
  readonly mm: AddressSpace;
  readonly nic: NicPageFaults;
  readonly driver: OdpDriver;
  readonly ended: boolean[] = [];

  constructor(pagesPerFault: number, fault = 0, pagesHinted = 0) {
    const { memory, frames, iommu, counters, device, api, cpus } = this.machine;
    this.mm = new AddressSpace({ pages: new UserPages(memory, frames, null) });
    const costs = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(100), mmioWrite: NONE };
    const fabric = new Fabric({ events: this.events, memory, translator: iommu, costs, counters });
    const link = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: NONE };
    const port = fabric.addRootPort(link).addFunction(device.sourceId);
    const firmware = nanoseconds(fault);
    this.nic = new NicPageFaults({
      port,
      events: this.events,
      costs: { faultEvent: firmware, tableUpdate: NONE, tableUpdatePerEntry: NONE, resume: firmware },
      pagesPerFault,
      pagesHinted,
    });
    this.driver = new OdpDriver({
      api,
      device,
      adapter: this.nic,
      events: this.events,
      cpu: cpus[0]!,
      costs: {
        faultEntry: NONE,
        rangeFaultPerPage: NONE,
        minorFault: NONE,
        majorFault: NONE,
        advise: NONE,
        createKey: NONE,
      },
    });
  }

  start(key: number, address: number, bytes: Uint8Array, write: boolean): void {
    this.nic.start(key, address, bytes, write, (ok) => this.ended.push(ok));
  }

  run(): void {
    while (this.events.step());
  }
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + seed * 13 + (index >> 8)) & 0xff);
}

describe('on-demand paging (mlx5 odp.c; Lesokhin et al., ASPLOS 2017)', () => {
  test('a message over untouched memory faults once a batch, and its bytes arrive in the process', () => {
    const bench = new Bench(16);
    const start = bench.mm.map({ pages: 64 });
    const key = bench.driver.register(bench.mm, start, 64, true);
    const bytes = pattern(40 * PAGE, 1);
    bench.start(key, start * PAGE + 100, bytes, true);
    bench.run();
    expect(bench.ended).toEqual([true]);
    // bytes 100 to 40 pages + 100 lie in 41 pages
    expect(bench.nic.faults).toBe(3);
    expect(bench.nic.pagesAsked).toBe(41);
    const seen = new Uint8Array(bytes.length);
    bench.mm.read(start * PAGE + 100, seen);
    expect(seen).toEqual(bytes);
  });

  test('hints at what the message wants next save faults, and every byte arrives', () => {
    const faults = [0, 8, 64].map((hinted) => {
      const bench = new Bench(4, 1000, hinted);
      const start = bench.mm.map({ pages: 64 });
      const key = bench.driver.register(bench.mm, start, 64, true);
      bench.start(key, start * PAGE, pattern(64 * PAGE, 1), true);
      bench.run();
      const seen = new Uint8Array(64 * PAGE);
      const sent = pattern(64 * PAGE, 1);
      bench.mm.read(start * PAGE, seen);
      expect([bench.ended, seen.every((byte, index) => byte === sent[index])]).toEqual([[true], true]);
      return bench.nic.faults;
    });
    expect(faults[0]).toBe(16);
    expect(faults[2]).toBe(1);
    expect(faults[1]).toBeGreaterThan(1);
    expect(faults[1]).toBeLessThan(16);
  });

  test('a second message over the same pages does not fault', () => {
    const bench = new Bench(64);
    const start = bench.mm.map({ pages: 8 });
    const key = bench.driver.register(bench.mm, start, 8, true);
    bench.start(key, start * PAGE, pattern(8 * PAGE, 1), true);
    bench.run();
    const back = new Uint8Array(8 * PAGE);
    bench.start(key, start * PAGE, back, false);
    bench.run();
    expect(bench.nic.faults).toBe(1);
    expect(back).toEqual(pattern(8 * PAGE, 1));
  });

  test('a message stands still for the firmware before and after the driver', () => {
    const bench = new Bench(64, 1000);
    const start = bench.mm.map({ pages: 1 });
    const key = bench.driver.register(bench.mm, start, 1, true);
    const before = bench.machine.cpus[0]!.now;
    bench.start(key, start * PAGE, pattern(10, 1), true);
    bench.run();
    const driver = bench.machine.cpus[0]!.now - Math.max(before, 1000 * PICOSECONDS_PER_NANOSECOND);
    expect(bench.nic.stalled - driver).toBeGreaterThanOrEqual(2000 * PICOSECONDS_PER_NANOSECOND);
    expect(bench.nic.stalled - driver).toBeLessThanOrEqual(2000 * PICOSECONDS_PER_NANOSECOND);
  });

  test('what the process discards is taken from the adapter, then from the IOMMU, and faults anew', () => {
    const bench = new Bench(64);
    const { mm, nic, machine } = bench;
    const start = mm.map({ pages: 4 });
    const key = bench.driver.register(mm, start, 4, true);
    bench.start(key, start * PAGE, pattern(4 * PAGE, 3), true);
    bench.run();
    const flushes = machine.counters.get('iotlbSyncs');
    mm.discard(start + 1, 2);
    expect([0, 1, 2, 3].map((page) => nic.accessOf(key, start + page) & MTT_WRITE)).toEqual([2, 0, 0, 2]);
    expect(machine.counters.get('iotlbSyncs') - flushes).toBe(2);
    const back = new Uint8Array(4 * PAGE);
    bench.start(key, start * PAGE, back, false);
    bench.run();
    expect(nic.faults).toBe(2);
    const expected = pattern(4 * PAGE, 3);
    expected.fill(0, PAGE, 3 * PAGE);
    expect(back).toEqual(expected);
  });

  test('a message beyond the area fails, and one in it does not', () => {
    const bench = new Bench(64);
    const start = bench.mm.map({ pages: 2 });
    const key = bench.driver.register(bench.mm, start, 4, true);
    bench.start(key, start * PAGE, pattern(3 * PAGE, 1), true);
    bench.start(key, start * PAGE, pattern(2 * PAGE, 1), true);
    bench.start(key, (start + 3) * PAGE, pattern(2 * PAGE, 1), true);
    bench.run();
    expect(bench.ended.toSorted()).toEqual([false, false, true]);
  });

  test('what is under way when pages go arrives before the IOMMU forgets them', () => {
    const bench = new Bench(64);
    const { mm, events, machine } = bench;
    const start = mm.map({ pages: 4 });
    const key = bench.driver.register(mm, start, 4, true);
    bench.start(key, start * PAGE, pattern(4 * PAGE, 1), true);
    bench.run();
    bench.start(key, start * PAGE, pattern(4 * PAGE, 9), true);
    // requests are on the link, none has arrived
    mm.discard(start, 4);
    bench.run();
    expect(bench.ended).toEqual([true, true]);
    expect(machine.counters.get('iotlbMissesFaulted')).toBe(0);
    expect(events.size).toBe(0);
  });

  test('under random messages and discards every message ends once, every byte is right, and nothing is kept', () => {
    const step = fc.record({
      kind: fc.constantFrom('write', 'read', 'discard', 'run', 'protect'),
      page: fc.nat(15),
      offset: fc.nat(PAGE - 1),
      length: fc.integer({ min: 1, max: 5 * PAGE }),
      seed: fc.nat(255),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1, max: 8 }), (steps, batch) => {
        const bench = new Bench(batch, 50);
        const { mm, nic, machine } = bench;
        const freeBefore = machine.frames.freePages;
        const start = mm.map({ pages: 32 });
        const key = bench.driver.register(mm, start, 32, true);
        const model = new Uint8Array(32 * PAGE);
        let started = 0;
        const reads: { at: number; bytes: Uint8Array }[] = [];
        const settle = (): void => {
          bench.run();
          for (const { at, bytes } of reads.splice(0)) expect(bytes).toEqual(model.slice(at, at + bytes.length));
        };
        for (const { kind, page, offset, length, seed } of steps) {
          const at = page * PAGE + offset;
          if (kind === 'write') {
            settle();
            const bytes = pattern(length, seed);
            model.set(bytes, at);
            bench.start(key, start * PAGE + at, bytes, true);
            started += 1;
            settle();
          } else if (kind === 'read') {
            const bytes = new Uint8Array(length);
            reads.push({ at, bytes });
            bench.start(key, start * PAGE + at, bytes, false);
            started += 1;
          } else if (kind === 'discard') {
            settle();
            mm.discard(start + page, 3);
            model.fill(0, page * PAGE, (page + 3) * PAGE);
          } else if (kind === 'protect') {
            mm.protect(start + page, 2, { writable: false });
            mm.protect(start + page, 2, { writable: true });
          } else {
            settle();
          }
        }
        settle();
        expect(bench.ended).toEqual(new Array<boolean>(started).fill(true));
        expect(nic.underWay).toBe(0);
        bench.driver.deregister(key);
        mm.unmap(start, 32);
        expect(mm.pages.held).toBe(0);
        expect(mm.notifiers.intervals).toHaveLength(0);
        // at most the tables of the domain
        expect(freeBefore - machine.frames.freePages).toBeLessThan(8);
      }),
      { seed: 5, numRuns: 60 },
    );
  });
});
