/**
 * On-demand paging in numbers: what a fault of 16 pages and its invalidation cost, what happens when one page becomes a peer's
 * memory, and why a confidential guest can't have it. An RDMA driver's part is a table of translations (MTT) and the work
 * requests that rewrite it (UMR), in blocks of eight.
 */
import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { AddressSpace } from '../memory/addressSpace.ts';
import { HMM_PFN_DMA_MAPPED, HMM_PFN_VALID, HMM_PFN_WRITE } from '../memory/hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from '../memory/hmmRangeFault.ts';
import type { IntervalNotifier } from '../memory/intervalNotifier.ts';
import { PageKinds } from '../memory/pageKinds.ts';
import { movePageToPeer } from '../memory/pageMovement.ts';
import { FOLL_PCI_P2PDMA, FOLL_STRICT, FOLL_WRITE, pinUserPages, unpinUserPages } from '../memory/pinUserPages.ts';
import { UserPages } from '../memory/userPages.ts';
import { P2pdmaMapState } from '../pcie/p2pdma.ts';
import { P2pdmaDistances } from '../pcie/p2pdmaDistance.ts';
import { publishPeerMemory } from '../pcie/peerRoute.ts';
import { ACS_REQUEST_REDIRECT, PortTree } from '../pcie/portTree.ts';
import { DMA_TO_DEVICE } from './attributes.ts';
import { dmaBitMask } from './device.ts';
import { EOPNOTSUPP } from './errno.ts';
import { hmmDmaMapAlloc, hmmDmaMapFree, HmmDmaMap, hmmDmaMapPfn, hmmDmaUnmapPfn } from './hmmDma.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';
import { takeWork, work } from './testMeter.ts';

const PAGE = 4096;
const PAGES = 16;
const MTTS_PER_UMR_BLOCK = 8;
const PEER_PAGE = 0x5000;
const PEER_BUS_PAGE = 0x9_0000;
const DEVICE = 0x18;

/** A process, a memory region of 16 pages, and a device with a table of translations. */
class MemoryRegion {
  readonly machine: TestMachine;
  readonly mm: AddressSpace;
  readonly start: number;
  readonly map = new HmmDmaMap();
  /** 0: no translation. */
  readonly translations = new Float64Array(PAGES);
  mttWrites = 0;
  umrBlocks = 0;
  /** What went on, in order: the device must stop before its addresses go. */
  readonly order: string[] = [];
  private readonly notifier: IntervalNotifier;
  private readonly p2p = new P2pdmaMapState();

  constructor(options: TestMachineOptions & { acs?: boolean }) {
    const { acs = false, ...machineOptions } = options;
    const tree = new PortTree();
    const root = tree.addToRoot({ name: 'pci0000:00', identity: null }, 'root_port', 0x08);
    const upstream = tree.addBelow(root, 'switch_upstream', 0x100);
    const port = tree.addBelow(upstream, 'switch_downstream', 0x200, acs ? ACS_REQUEST_REDIRECT : 0);
    tree.addBelow(port, 'endpoint', DEVICE);
    const peer = tree.addBelow(tree.addBelow(upstream, 'switch_downstream', 0x208), 'endpoint', 0x400);
    const pageKinds = new PageKinds();
    publishPeerMemory(tree, peer, pageKinds, { firstPhysPage: PEER_PAGE, pages: PAGES, firstBusPage: PEER_BUS_PAGE });
    const p2pdma = new P2pdmaDistances(tree, { vendor: 'amd', family: 0x19 });
    this.machine = new TestMachine({ pageKinds, p2pdma, ...machineOptions });
    const { memory, frames } = this.machine;
    this.mm = new AddressSpace({ pages: new UserPages(memory, frames, pageKinds) });
    this.start = this.mm.map({ pages: PAGES });
    const notifier = this.mm.notifiers.insert(this.start, PAGES, (range, sequence) => {
      this.notifier.setSequence(sequence);
      this.invalidate(Math.max(range.start - this.start, 0), Math.min(range.end - this.start, PAGES));
      return true;
    });
    if (typeof notifier === 'number') throw new Error('the notifier was refused');
    this.notifier = notifier;
  }

  register(): number {
    const { cpu, api, device } = this.machine;
    return hmmDmaMapAlloc(cpu, api, device, this.map, PAGES, PAGE);
  }

  /** The driver's fault handler; false: an entry could not be mapped. */
  fault(first: number, count: number): boolean {
    const { machine, notifier, map, mm, start } = this;
    const notifierSequence = notifier.readBegin();
    const ret = hmmRangeFault({
      mm,
      notifier,
      notifierSequence,
      start: start + first,
      end: start + first + count,
      pfns: map.pfns,
      firstEntry: first,
      defaultFlags: HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
      pfnFlagsMask: 0,
    });
    expect([ret, notifier.readRetry(notifierSequence)]).toEqual([0, false]);
    for (let index = first; index < first + count; index += 1) {
      const address = hmmDmaMapPfn(machine.cpu, machine.api, machine.device, map, index, this.p2p);
      if (address === DMA_MAPPING_ERROR) return false;
      this.translations[index] = address;
      this.mttWrites += 1;
    }
    this.postUmr(first, count, 'update');
    return true;
  }

  deregister(): void {
    const { cpu, api, device } = this.machine;
    this.mm.notifiers.remove(this.notifier);
    this.invalidate(0, PAGES);
    hmmDmaMapFree(cpu, api, device, this.map);
  }

  private invalidate(first: number, end: number): void {
    const { machine, map } = this;
    this.translations.fill(0, first, end);
    this.postUmr(first, end - first, 'zap');
    for (let index = first; index < end; index += 1) {
      if (hmmDmaUnmapPfn(machine.cpu, machine.api, machine.device, map, index))
        this.order.push(`unmap ${String(index)}`);
    }
  }

  private postUmr(first: number, count: number, what: string): void {
    this.order.push(what);
    this.umrBlocks += Math.ceil((first + count) / MTTS_PER_UMR_BLOCK) - Math.floor(first / MTTS_PER_UMR_BLOCK);
  }
}

describe('on-demand paging: a fault of 16 pages behind an IOMMU, and their invalidation', () => {
  test.each(['7.2', '7.3', 'ideal'] as const)(
    '%s, lazy: a link and a sync for each page, then an unlink and a flush for each, after the device has stopped',
    (profile) => {
      const region = new MemoryRegion({ profile, domain: 'lazy' });
      const { machine } = region;
      expect(region.register()).toBe(0);
      expect(takeWork(machine)).toEqual(work({ iovaAllocations: 1 }));

      expect(region.fault(0, PAGES)).toBe(true);
      expect(takeWork(machine)).toEqual(work({ maps: 16, syncs: 16 }));
      expect([region.mttWrites, region.umrBlocks]).toEqual([16, 2]);
      const frames = Array.from({ length: PAGES }, (_, page) => region.mm.table.pageOf(region.start + page));
      expect([...region.translations].map((address) => machine.deviceSees(address, true))).toEqual(frames);

      region.order.length = 0;
      const old = [...region.translations];
      region.mm.discard(region.start, PAGES);
      expect(takeWork(machine)).toEqual(work({ unmaps: 16, flushes: 16 }));
      expect(region.order).toEqual(['zap', ...frames.map((_, index) => `unmap ${String(index)}`)]);
      expect(old.map((address) => machine.deviceSees(address))).toEqual(old.map(() => null));

      region.deregister();
      expect(takeWork(machine)).toEqual(work({ iovaFrees: 1 }));
    },
  );

  test('7.3, caching mode: each sync is a flush that somebody waits for', () => {
    const region = new MemoryRegion({ profile: '7.3', cachingMode: true });
    region.register();
    takeWork(region.machine);
    region.fault(0, PAGES);
    expect(takeWork(region.machine)).toEqual(work({ maps: 16, syncs: 16, flushesAfterMap: 16 }));
  });
});

describe('on-demand paging: page 5 of 16 becomes a peer’s memory', () => {
  function withPeerPage(acs: boolean): MemoryRegion {
    const region = new MemoryRegion({ profile: '7.3', acs });
    region.register();
    region.fault(0, PAGES);
    takeWork(region.machine);
    expect(movePageToPeer(region.mm, region.start + 5, PEER_PAGE + 3)).toBe(0);
    // page 5 alone was taken away
    expect(takeWork(region.machine)).toEqual(work({ unmaps: 1, flushes: 1 }));
    expect(region.fault(5, 1)).toBe(true);
    return region;
  }

  test('7.3, behind a switch without ACS: nothing in the page table, a bus address in the device’s', () => {
    const region = withPeerPage(false);
    const { machine, map } = region;
    expect(takeWork(machine)).toEqual(work());
    expect(region.translations[5]).toBe((PEER_BUS_PAGE + 3) * PAGE);
    expect(machine.deviceSees(map.state.address + 5 * PAGE)).toBeNull();
    region.mm.discard(region.start + 5, 1);
    expect(takeWork(machine)).toEqual(work());
    region.deregister();
    expect(takeWork(machine)).toEqual(work({ unmaps: 15, flushes: 15, iovaFrees: 1 }));
  });

  test('7.3, with ACS: linked in its place as registers are', () => {
    const region = withPeerPage(true);
    const { machine, map } = region;
    expect(takeWork(machine)).toEqual(work({ maps: 1, syncs: 1 }));
    expect(region.translations[5]).toBe(map.state.address + 5 * PAGE);
    expect(machine.deviceSees(region.translations[5]!, true)).toBe(PEER_PAGE + 3);
    region.deregister();
    expect(takeWork(machine)).toEqual(work({ unmaps: 16, flushes: 16, iovaFrees: 1 }));
  });

  test('an API of uniform ranges only makes three regions of it: before, the page, and after', () => {
    const { mm, start } = withPeerPage(false);
    const frames = new Float64Array(PAGES);
    const pieces: number[] = [];
    for (let done = 0; done < PAGES; done += pieces.at(-1)!) {
      pieces.push(
        pinUserPages(mm, start + done, PAGES - done, FOLL_WRITE | FOLL_PCI_P2PDMA | FOLL_STRICT, frames, done),
      );
      expect(pieces.at(-1)).toBeGreaterThan(0);
    }
    expect(pieces).toEqual([5, 1, 10]);
    unpinUserPages(mm.pages, frames, PAGES, true);
    expect(mm.pages.pinned).toBe(0);
  });
});

describe('on-demand paging in a confidential guest', () => {
  function guest(device: TestMachineOptions['device'] = {}): MemoryRegion {
    return new MemoryRegion({
      profile: '7.3',
      domain: 'none',
      iommu: false,
      swiotlbSlots: 1024,
      swiotlbForce: true,
      device: { forceUnencrypted: true, ...device },
    });
  }

  test('7.3: a fresh device registers, but no page can be mapped, since none may be bounced', () => {
    const region = guest();
    expect(region.register()).toBe(0);
    expect(region.fault(0, PAGES)).toBe(false);
    expect(region.map.pfns.flags[0]! & (HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_DMA_MAPPED)).toBe(
      HMM_PFN_VALID | HMM_PFN_WRITE,
    );
    expect(takeWork(region.machine)).toEqual(work());
    expect(region.machine.swiotlb!.used).toBe(0);
  });

  test('7.3: after any bounced mapping the device is refused at once', () => {
    const region = guest();
    const { api, cpu, device } = region.machine;
    const address = api.dmaMapPhys(cpu, device, 0x5000_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(takeWork(region.machine)).toEqual(work({ bouncedBytes: PAGE }));
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect(region.register()).toBe(EOPNOTSUPP);
  });

  test('7.3: a device that can’t address all memory is refused at once', () => {
    expect(guest({ dmaMask: dmaBitMask(32) }).register()).toBe(EOPNOTSUPP);
  });
});
