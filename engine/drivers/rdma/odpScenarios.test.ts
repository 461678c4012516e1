/**
 * On-demand regions in numbers, through the driver: what a fault of 16 pages and its invalidation cost, a page that becomes a peer's memory, a
 * confidential guest, implicit regions, advice, and a page that is read first and written later (Linux drivers/infiniband/hw/mlx5/odp.c,
 * drivers/infiniband/core/umem_odp.c, mm/hmm.c, drivers/iommu/dma-iommu.c).
 */
import { describe, expect, test } from 'vitest';
import { DMA_TO_DEVICE } from '../../dma/attributes.ts';
import { EOPNOTSUPP } from '../../dma/errno.ts';
import { TestMachine, type TestMachineOptions } from '../../dma/testMachine.ts';
import { takeWork, work, type Work } from '../../dma/testMeter.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { EFAULT, EINVAL, EPERM } from '../../memory/memoryErrors.ts';
import { PageKinds } from '../../memory/pageKinds.ts';
import { beginMigration, movePageToPeer } from '../../memory/pageMovement.ts';
import { FOLL_PCI_P2PDMA, FOLL_STRICT, FOLL_WRITE, pinUserPages, unpinUserPages } from '../../memory/pinUserPages.ts';
import { swapOut } from '../../memory/swapArea.ts';
import { UserPages } from '../../memory/userPages.ts';
import { P2pdmaDistances } from '../../pcie/p2pdmaDistance.ts';
import { publishPeerMemory } from '../../pcie/peerRoute.ts';
import { ACS_REQUEST_REDIRECT, PortTree } from '../../pcie/portTree.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds } from '../../time/picoseconds.ts';
import type { OdpAdapter, OdpFault } from './odpAdapter.ts';
import { OdpDriver } from './odpDriver.ts';
import { OdpImplicit } from './odpImplicit.ts';

const PAGE = 4096;
const PAGES = 16;
const PEER_PAGE = 0x5000;
const PEER_BUS_PAGE = 0x9_0000;
const DEVICE = 0x18;
const NONE = nanoseconds(0);
const READ = 1;
const WRITE = 2;

/** An adapter of which a test sees every table entry, and what the DMA API had done when it was told. */
class RecordingAdapter implements OdpAdapter {
  onFault: ((fault: OdpFault) => void) | null = null;
  readonly entries = new Map<number, { address: number; access: number }>();
  readonly pointers = new Map<number, number>();
  readonly keys = new Set<number>();
  readonly answers: boolean[] = [];
  readonly calls: string[] = [];
  entriesWritten = 0;
  /** Taken at each zap. */
  onZap: (() => void) | null = null;

  addRegion(key: number): void {
    this.keys.add(key);
  }

  addIndirectRegion(key: number): void {
    this.keys.add(key);
  }

  pointTo(_key: number, piece: number, target: number | null): void {
    this.calls.push(target === null ? 'no child' : 'child');
    if (target === null) this.pointers.delete(piece);
    else this.pointers.set(piece, target);
  }

  removeRegion(key: number): void {
    this.keys.delete(key);
  }

  writeEntries(_key: number, firstPage: number, addresses: Float64Array, access: Uint8Array, count: number): void {
    this.calls.push(`write ${count}`);
    this.entriesWritten += count;
    for (let index = 0; index < count; index += 1) {
      const entry = { address: addresses[index]!, access: access[index]! };
      if (entry.access === 0) this.entries.delete(firstPage + index);
      else this.entries.set(firstPage + index, entry);
    }
  }

  zap(_key: number, firstPage: number, count: number): void {
    this.onZap?.();
    this.calls.push(`zap ${count}`);
    for (let index = 0; index < count; index += 1) this.entries.delete(firstPage + index);
  }

  updateTime(): typeof NONE {
    return NONE;
  }

  resume(_fault: OdpFault, served: boolean): void {
    this.answers.push(served);
  }
}

class Bench {
  readonly machine: TestMachine;
  readonly mm: AddressSpace;
  readonly adapter = new RecordingAdapter();
  readonly events = new EventQueue();
  readonly driver: OdpDriver;
  readonly start: number;

  constructor(options: TestMachineOptions & { acs?: boolean; scheme?: SchemeName; childPages?: number } = {}) {
    const { acs = false, scheme = 'two_step_per_page', childPages = 8, ...machineOptions } = options;
    const tree = new PortTree();
    const root = tree.addToRoot({ name: 'pci0000:00', identity: null }, 'root_port', 0x08);
    const upstream = tree.addBelow(root, 'switch_upstream', 0x100);
    const port = tree.addBelow(upstream, 'switch_downstream', 0x200, acs ? ACS_REQUEST_REDIRECT : 0);
    tree.addBelow(port, 'endpoint', DEVICE);
    const peer = tree.addBelow(tree.addBelow(upstream, 'switch_downstream', 0x208), 'endpoint', 0x400);
    const pageKinds = new PageKinds();
    publishPeerMemory(tree, peer, pageKinds, { firstPhysPage: PEER_PAGE, pages: PAGES, firstBusPage: PEER_BUS_PAGE });
    const p2pdma = new P2pdmaDistances(tree, { vendor: 'amd', family: 0x19 });
    this.machine = new TestMachine({ profile: '7.3', pageKinds, p2pdma, ...machineOptions });
    const { memory, frames, api, device, cpu } = this.machine;
    this.mm = new AddressSpace({ pages: new UserPages(memory, frames, pageKinds) });
    const costs = {
      faultEntry: NONE,
      rangeFaultPerPage: NONE,
      minorFault: NONE,
      majorFault: NONE,
      advise: NONE,
      createKey: NONE,
    };
    const { adapter, events } = this;
    this.driver = new OdpDriver({ api, device, adapter, events, cpu, costs, scheme, childPages });
    this.start = this.mm.map({ pages: PAGES });
  }

  register(writable = true): number {
    return this.driver.register(this.mm, this.start, PAGES, writable);
  }

  /** The adapter misses pages; what it was answered. */
  fault(key: number, first: number, pages: number, write = true): boolean {
    this.adapter.onFault!({ message: 0, key, firstPage: this.start + first, pages, hinted: 0, write });
    this.run();
    return this.adapter.answers.pop()!;
  }

  run(): void {
    while (this.events.step());
  }

  accessOf(page: number): number {
    return this.adapter.entries.get(this.start + page)?.access ?? 0;
  }

  addressOf(page: number): number {
    return this.adapter.entries.get(this.start + page)!.address;
  }

  frameOf(page: number): number {
    return this.mm.table.pageOf(this.start + page);
  }

  takeWork(): Work {
    return takeWork(this.machine);
  }
}

describe('a fault of 16 pages and their invalidation', () => {
  test.each([
    ['7.2', 'lazy'],
    ['7.3', 'lazy'],
    ['7.3', 'strict'],
    ['ideal', 'lazy'],
  ] as const)('%s, %s: 16 links, 16 syncs, 16 entries; zapped, then 16 unlinks and flushes', (profile, domain) => {
    const bench = new Bench({ profile, domain });
    const key = bench.register();
    expect(bench.takeWork()).toEqual(work({ iovaAllocations: 1 }));
    expect(bench.fault(key, 0, PAGES)).toBe(true);
    expect(bench.takeWork()).toEqual(work({ maps: 16, syncs: 16 }));
    expect([bench.adapter.entriesWritten, bench.adapter.calls]).toEqual([16, ['write 16']]);
    for (let page = 0; page < PAGES; page += 1) {
      expect(bench.machine.deviceSees(bench.addressOf(page), true)).toBe(bench.frameOf(page));
    }
    bench.adapter.onZap = () => {
      expect(bench.takeWork()).toEqual(work());
    };
    bench.mm.discard(bench.start, PAGES);
    expect(bench.adapter.calls).toEqual(['write 16', 'zap 16']);
    expect(bench.takeWork()).toEqual(work({ unmaps: 16, flushes: 16 }));
    bench.driver.deregister(key);
    expect(bench.takeWork()).toEqual(work({ iovaFrees: 1 }));
    expect(bench.adapter.keys.size).toBe(0);
  });

  test('7.3, caching mode: each sync is a flush that somebody waits for', () => {
    const bench = new Bench({ cachingMode: true });
    const key = bench.register();
    bench.takeWork();
    bench.fault(key, 0, PAGES);
    expect(bench.takeWork()).toEqual(work({ maps: 16, syncs: 16, flushesAfterMap: 16 }));
  });

  test('what lies apart is zapped in blocks of eight entries', () => {
    const bench = new Bench();
    const key = bench.register();
    for (const page of [0, 3, 9]) bench.fault(key, page, 1);
    bench.adapter.calls.length = 0;
    bench.mm.discard(bench.start, PAGES);
    expect(bench.adapter.calls).toEqual(['zap 8', 'zap 7']);
    for (const page of [0, 15]) bench.fault(key, page, 1);
    bench.adapter.calls.length = 0;
    bench.mm.discard(bench.start, PAGES);
    expect(bench.adapter.calls).toEqual(['zap 8', 'zap 1']);
  });
});

describe('page 5 of 16 becomes a peer’s memory between two faults', () => {
  function flipped(acs: boolean, scheme: SchemeName = 'two_step_per_page') {
    const bench = new Bench({ acs, scheme });
    const key = bench.register();
    bench.fault(key, 0, PAGES);
    bench.takeWork();
    expect(movePageToPeer(bench.mm, bench.start + 5, PEER_PAGE + 3)).toBe(0);
    expect(bench.accessOf(5)).toBe(0);
    bench.takeWork();
    return { bench, served: bench.fault(key, 5, 1), key };
  }

  test('without ACS: a bus address in the table, nothing in the page table, and its way back touches nothing', () => {
    const { bench, served } = flipped(false);
    expect([served, bench.addressOf(5)]).toEqual([true, (PEER_BUS_PAGE + 3) * PAGE]);
    expect(bench.takeWork()).toEqual(work());
    bench.mm.discard(bench.start + 5, 1);
    expect(bench.takeWork()).toEqual(work());
  });

  test('with ACS: linked as registers are', () => {
    const { bench } = flipped(true);
    expect(bench.takeWork()).toEqual(work({ maps: 1, syncs: 1 }));
    expect(bench.machine.deviceSees(bench.addressOf(5), true)).toBe(PEER_PAGE + 3);
  });

  test('pins that stop where the kind changes make three regions of it: before, the page, and after', () => {
    const { mm, start } = flipped(false).bench;
    const frames = new Float64Array(PAGES);
    const pieces: number[] = [];
    const flags = FOLL_WRITE | FOLL_PCI_P2PDMA | FOLL_STRICT;
    for (let done = 0; done < PAGES; done += pieces.at(-1)!) {
      pieces.push(pinUserPages(mm, start + done, PAGES - done, flags, frames, done));
      expect(pieces.at(-1)).toBeGreaterThan(0);
    }
    expect(pieces).toEqual([5, 1, 10]);
    unpinUserPages(mm.pages, frames, PAGES, true);
    expect(mm.pages.pinned).toBe(0);
  });

  test('an API of one kind only refuses the fault, and serves it when the page has come back', () => {
    const { bench, served, key } = flipped(false, 'uniform_only');
    expect(served).toBe(false);
    expect(bench.driver.refusal).toMatch(/^Page 5 of the region is a peer’s memory/u);
    bench.mm.discard(bench.start + 5, 1);
    expect(bench.fault(key, 5, 1)).toBe(true);
  });
});

describe('a confidential guest', () => {
  function guest(device: TestMachineOptions['device'] = {}): Bench {
    return new Bench({
      domain: 'none',
      iommu: false,
      swiotlbSlots: 1024,
      swiotlbForce: true,
      device: { forceUnencrypted: true, ...device },
    });
  }

  test('a fresh device registers, and every fault is refused, since no page may be bounced', () => {
    const bench = guest();
    const key = bench.register();
    expect(key).toBeGreaterThan(0);
    expect(bench.fault(key, 0, PAGES)).toBe(false);
    expect([bench.machine.swiotlb!.used, bench.adapter.entries.size]).toEqual([0, 0]);
    bench.driver.deregister(key);
  });

  test('after any bounced mapping, or with a narrow mask, nothing is registered and nothing is held', () => {
    const bounced = guest();
    const { api, cpu, device } = bounced.machine;
    const address = api.dmaMapPhys(cpu, device, 0x5000_0000, PAGE, DMA_TO_DEVICE, 0);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    for (const bench of [bounced, guest({ dmaMask: 2 ** 32 - 1 })]) {
      expect(bench.register()).toBe(EOPNOTSUPP);
      expect(bench.driver.refusal).toMatch(/copied/u);
      expect([bench.adapter.keys.size, bench.mm.notifiers.intervals.length]).toEqual([0, 0]);
    }
  });
});

describe('what is refused', () => {
  test('pages outside the area, pages outside the region, and a process that has ended', () => {
    const bench = new Bench();
    const key = bench.register();
    bench.mm.unmap(bench.start + 8, 8);
    expect(bench.fault(key, 8, 1)).toBe(false);
    expect(bench.fault(key, PAGES, 1)).toBe(false);
    expect(bench.fault(key, 7, 1)).toBe(true);
    bench.mm.exit();
    expect(bench.accessOf(7)).toBe(0);
    expect(bench.fault(key, 7, 1)).toBe(false);
    expect(bench.driver.refused).toBe(3);
  });

  test('writing through a key that only reads', () => {
    const bench = new Bench();
    const key = bench.register(false);
    expect(bench.fault(key, 0, 1, true)).toBe(false);
    expect(bench.fault(key, 0, 1, false)).toBe(true);
    expect(bench.accessOf(0)).toBe(READ);
  });

  test.each([
    [999_000_000, true],
    [1_000_000_001, false],
  ])('a fault whose pages are changing again after %i ns is tried again for a second: %s', (later, waits) => {
    const bench = new Bench();
    const key = bench.register();
    const { notifiers } = bench.mm;
    const range = { start: bench.start, end: bench.start + 1, event: 'clear', blockable: true } as const;
    notifiers.invalidateRangeStart(range);
    // the next change begins before the fault, which sleeps as well, comes to its turn
    notifiers.whenSettled(() => notifiers.invalidateRangeStart(range));
    bench.adapter.onFault!({ message: 0, key, firstPage: bench.start, pages: 1, hinted: 0, write: true });
    bench.machine.cpu.spend(nanoseconds(later));
    notifiers.invalidateRangeEnd();
    bench.run();
    expect(bench.adapter.answers).toEqual(waits ? [] : [false]);
    notifiers.invalidateRangeEnd();
    bench.run();
    expect(bench.adapter.answers).toEqual([waits]);
  });
});

test('a fault that comes while its page begins to move finds it when it has arrived', () => {
  const bench = new Bench();
  const key = bench.register();
  bench.fault(key, 0, 1);
  const before = bench.frameOf(0);
  bench.adapter.onZap = () => {
    bench.adapter.onFault!({ message: 0, key, firstPage: bench.start, pages: 1, hinted: 0, write: true });
  };
  expect(beginMigration(bench.mm, bench.start)).toBeInstanceOf(Object);
  bench.run();
  expect(bench.adapter.answers).toEqual([true]);
  expect(bench.frameOf(0)).not.toBe(before);
  expect(bench.machine.deviceSees(bench.addressOf(0), true)).toBe(bench.frameOf(0));
});

describe('advice (ibv_advise_mr)', () => {
  test('prefetch brings pages for reading only; the first write of the device asks for more, at the same address', () => {
    const bench = new Bench();
    const key = bench.register();
    bench.mm.write(bench.start * PAGE, new Uint8Array(4 * PAGE));
    expect(bench.driver.advise(key, 'prefetch', bench.start * PAGE, 4 * PAGE, true)).toBe(0);
    expect([0, 1, 2, 3, 4].map((page) => bench.accessOf(page))).toEqual([READ, READ, READ, READ, 0]);
    const before = bench.addressOf(2);
    bench.takeWork();
    expect(bench.fault(key, 2, 1, true)).toBe(true);
    expect([bench.accessOf(2), bench.addressOf(2)]).toEqual([READ | WRITE, before]);
    expect(bench.takeWork()).toEqual(work());
  });

  test('reading an untouched page finds the zero page, and writing it later a page of its own', () => {
    const bench = new Bench();
    const key = bench.register();
    bench.driver.advise(key, 'prefetch', bench.start * PAGE, PAGE, true);
    expect(bench.frameOf(0)).toBe(bench.mm.pages.zeroPage);
    bench.fault(key, 0, 1, true);
    expect(bench.frameOf(0)).not.toBe(bench.mm.pages.zeroPage);
    expect(bench.machine.deviceSees(bench.addressOf(0), true)).toBe(bench.frameOf(0));
  });

  test('without faults only what the process has comes, and nothing of the swap area', () => {
    const bench = new Bench();
    const key = bench.register();
    bench.mm.write(bench.start * PAGE, new Uint8Array(3 * PAGE));
    swapOut(bench.mm, bench.start + 1);
    const { faults } = bench.mm;
    expect(bench.driver.advise(key, 'prefetch_no_fault', bench.start * PAGE, 8 * PAGE, true)).toBe(0);
    expect([0, 1, 2, 3].map((page) => bench.accessOf(page))).toEqual([READ | WRITE, 0, READ | WRITE, 0]);
    expect([bench.mm.faults, bench.mm.swap.used]).toEqual([faults, 1]);
    bench.fault(key, 1, 1);
    expect([bench.mm.majorFaults, bench.mm.swap.used]).toEqual([1, 0]);
  });

  test('without the flag to flush it returns at once, and the pages come later', () => {
    const bench = new Bench();
    const key = bench.register();
    expect(bench.driver.advise(key, 'prefetch_write', bench.start * PAGE, PAGE, false)).toBe(0);
    expect(bench.accessOf(0)).toBe(0);
    bench.run();
    expect(bench.accessOf(0)).toBe(READ | WRITE);
  });

  test('a region that goes while its pages are fetched takes nothing with it', () => {
    const bench = new Bench();
    const key = bench.register();
    bench.driver.advise(key, 'prefetch_write', bench.start * PAGE, PAGE, false);
    // the pages are read, and the mutex is still to be taken
    bench.events.step();
    bench.takeWork();
    bench.driver.deregister(key);
    bench.run();
    expect([bench.adapter.entries.size, bench.adapter.keys.size, bench.events.size]).toEqual([0, 0, 0]);
    expect(bench.takeWork()).toEqual(work({ iovaFrees: 1 }));
  });

  test('what the adapter hints at comes after the fault, as far as the region goes', () => {
    const bench = new Bench();
    const key = bench.register();
    bench.adapter.onFault!({ message: 0, key, firstPage: bench.start, pages: 2, hinted: 5, write: true });
    bench.run();
    expect(bench.adapter.calls).toEqual(['write 2', 'write 5']);
    bench.adapter.onFault!({ message: 0, key, firstPage: bench.start + 12, pages: 2, hinted: 99, write: true });
    bench.run();
    expect(bench.adapter.calls.slice(2)).toEqual(['write 2', 'write 2']);
    expect(bench.adapter.answers).toEqual([true, true]);
  });

  test('refuses a key that is none, writing through one that reads, and bytes outside', () => {
    const bench = new Bench();
    const key = bench.register(false);
    const { driver, start } = bench;
    expect(driver.advise(99, 'prefetch', start * PAGE, PAGE, true)).toBe(EINVAL);
    expect(driver.advise(key, 'prefetch_write', start * PAGE, PAGE, true)).toBe(EPERM);
    expect(driver.advise(key, 'prefetch', (start + PAGES) * PAGE, PAGE, true)).toBe(EFAULT);
  });
});

describe('an implicit region', () => {
  function implicitBench() {
    const bench = new Bench();
    const key = bench.driver.registerImplicit(bench.mm, true);
    const region = bench.driver.regionOf(key);
    if (!(region instanceof OdpImplicit)) throw new Error('the region is not implicit');
    return { bench, key, region };
  }

  test('a fault makes the children that it touches, and each is pointed to once it exists', () => {
    const { bench, key, region } = implicitBench();
    expect([region.childCount, bench.adapter.pointers.size]).toEqual([0, 0]);
    expect(bench.fault(key, 6, 4)).toBe(true);
    expect([region.childCount, bench.adapter.pointers.size, bench.adapter.entries.size]).toEqual([2, 2, 4]);
    expect(bench.fault(key, 0, 2)).toBe(true);
    expect(region.created).toBe(2);
  });

  test('a child goes with its last page, later, unless it is in use again by then', () => {
    const { bench, key, region } = implicitBench();
    bench.fault(key, 0, 2);
    bench.mm.discard(bench.start, 1);
    bench.run();
    expect(region.childCount).toBe(1);
    bench.mm.discard(bench.start, 2);
    expect(region.childCount).toBe(1);
    bench.run();
    expect([region.childCount, region.removed, bench.adapter.pointers.size]).toEqual([0, 1, 0]);
    bench.fault(key, 0, 2);
    bench.mm.discard(bench.start, 2);
    bench.adapter.onFault!({ message: 0, key, firstPage: bench.start, pages: 1, hinted: 0, write: true });
    bench.run();
    expect([region.removed, region.childCount, bench.accessOf(0)]).toEqual([1, 1, READ | WRITE]);
  });

  test('gives back all that its children took', () => {
    const { bench, key } = implicitBench();
    bench.takeWork();
    bench.fault(key, 0, PAGES);
    bench.driver.deregister(key);
    const done = bench.takeWork();
    expect([done.iovaAllocations, done.iovaFrees, done.unmaps]).toEqual([2, 2, 16]);
    expect([bench.adapter.keys.size, bench.mm.notifiers.intervals.length]).toEqual([0, 0]);
  });
});
