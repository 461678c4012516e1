/**
 * On-demand paging from end to end: a process whose pages move between frames and into a peer's memory and back, and a device
 * that follows them by interval notifier, hmm_range_fault and hmm_dma_map_pfn, and then really reads and writes through the
 * fabric and the IOMMU. The pair of lock and sequence number is all that keeps it right.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DMA_MAPPING_ERROR, dmaAddr } from '../memory/addresses.ts';
import { AddressSpace } from '../memory/addressSpace.ts';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
} from '../memory/hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from '../memory/hmmRangeFault.ts';
import type { IntervalNotifier, InvalidationRange } from '../memory/intervalNotifier.ts';
import { EBUSY } from '../memory/memoryErrors.ts';
import { PageKinds } from '../memory/pageKinds.ts';
import { migratePage, movePageToPeer, movePageToRam } from '../memory/pageMovement.ts';
import { UserPages } from '../memory/userPages.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import { Fabric } from '../pcie/fabric.ts';
import { P2pdmaMapState } from '../pcie/p2pdma.ts';
import { P2pdmaDistances } from '../pcie/p2pdmaDistance.ts';
import { PeerRoute, publishPeerMemory } from '../pcie/peerRoute.ts';
import { ACS_REQUEST_REDIRECT, PortTree } from '../pcie/portTree.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import type { DomainType } from './device.ts';
import { HmmDmaMap, hmmDmaMapAlloc, hmmDmaMapFree, hmmDmaMapPfn, hmmDmaUnmapPfn } from './hmmDma.ts';
import { TestMachine } from './testMachine.ts';

const PAGE = 4096;
const REGION_PAGES = 16;
const PEER_PHYS_PAGE = 0x5000;
const PEER_BUS_PAGE = 0x9_0000;
const DEVICE = 0x18;
const COSTS = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(10), mmioWrite: nanoseconds(250) };
const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };

/** A machine, a process with one region, and a device that may use it on demand. */
class Mirrored {
  readonly machine: TestMachine;
  readonly mm: AddressSpace;
  readonly pages: UserPages;
  readonly start: number;
  readonly map = new HmmDmaMap();
  readonly p2p = new P2pdmaMapState();
  /** The device's own table: an address for each page of the region, and whether it may write. */
  readonly addresses = new Map<number, { address: number; writable: boolean }>();
  readonly notifier: IntervalNotifier;
  private readonly events = new EventQueue();
  private readonly port: DmaPort;

  constructor(domain: DomainType, redirect: boolean) {
    const pageKinds = new PageKinds();
    const tree = new PortTree();
    const rootPort = tree.addToRoot({ name: 'pci0000:00', identity: null }, 'root_port', 0x08);
    const upstream = tree.addBelow(rootPort, 'switch_upstream', 0x100);
    const left = tree.addBelow(upstream, 'switch_downstream', 0x200, redirect ? ACS_REQUEST_REDIRECT : 0);
    const device = tree.addBelow(left, 'endpoint', DEVICE);
    const peer = tree.addBelow(tree.addBelow(upstream, 'switch_downstream', 0x208), 'endpoint', 0x400);
    const window = { firstPhysPage: PEER_PHYS_PAGE, pages: REGION_PAGES, firstBusPage: PEER_BUS_PAGE };
    publishPeerMemory(tree, peer, pageKinds, window);
    const p2pdma = new P2pdmaDistances(tree, { vendor: 'amd', family: 0x19 });
    this.machine = new TestMachine({ domain, pageKinds, p2pdma, traced: false });
    const { memory, frames, counters, iommu, api, cpu } = this.machine;
    this.pages = new UserPages(memory, frames, pageKinds);
    this.mm = new AddressSpace({ pages: this.pages });
    this.start = this.mm.map({ pages: REGION_PAGES });
    const inserted = this.mm.notifiers.insert(this.start, REGION_PAGES, (range, sequence) =>
      this.invalidate(range, sequence),
    );
    if (typeof inserted === 'number') throw new Error('the notifier was refused');
    this.notifier = inserted;
    const translator = domain === 'none' ? null : iommu;
    const fabric = new Fabric({ events: this.events, memory, translator, costs: COSTS, counters });
    this.port = fabric.addRootPort(LINK).addFunction(DEVICE, new PeerRoute(tree, device));
    if (hmmDmaMapAlloc(cpu, api, this.machine.device, this.map, REGION_PAGES, PAGE) !== 0) throw new Error('refused');
  }

  /** The device misses a page: the driver's fault handler. `between` happens after the walk, before the driver's lock. */
  fault(index: number, count: number, write: boolean, between: () => void): void {
    const { machine, notifier, map, mm, start } = this;
    const request = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const notifierSequence = notifier.readBegin();
      const ret = hmmRangeFault({
        mm,
        notifier,
        notifierSequence,
        start: start + index,
        end: start + index + count,
        pfns: map.pfns,
        firstEntry: index,
        defaultFlags: request,
        pfnFlagsMask: 0,
      });
      if (attempt === 0) between();
      if (ret !== 0 && ret !== EBUSY) return;
      if (ret === EBUSY || notifier.readRetry(notifierSequence)) continue;
      for (let entry = index; entry < index + count; entry += 1) {
        const flags = map.pfns.flags[entry]!;
        if ((flags & HMM_PFN_VALID) === 0) continue;
        const address = hmmDmaMapPfn(machine.cpu, machine.api, machine.device, map, entry, this.p2p);
        expect(address).not.toBe(DMA_MAPPING_ERROR);
        this.addresses.set(entry, { address, writable: (flags & HMM_PFN_WRITE) !== 0 });
      }
      return;
    }
  }

  deviceWrite(address: number, value: number): number {
    return this.transfer((done) => {
      this.port.write(dmaAddr(address), 1, Uint8Array.of(value), 0, done, 0, 0);
    });
  }

  deviceRead(address: number): number {
    const target = new Uint8Array(1);
    const status = this.transfer((done) => {
      this.port.read(dmaAddr(address), 1, target, 0, done, 0, 0);
    });
    return status === 0 ? target[0]! : -1;
  }

  cpuByte(index: number): number {
    const target = new Uint8Array(1);
    return this.mm.read((this.start + index) * PAGE, target) === 0 ? target[0]! : -1;
  }

  private transfer(start: (done: { handleEvent: () => void }) => void): number {
    let status = -1;
    start({
      handleEvent: () => {
        status = this.port.lastStatus;
      },
    });
    while (this.events.step());
    return status;
  }

  /** The device stops first, then its mappings go. */
  private invalidate(range: InvalidationRange, sequence: number): boolean {
    const { machine, map, start } = this;
    this.notifier.setSequence(sequence);
    for (let index = Math.max(0, range.start - start); index < Math.min(REGION_PAGES, range.end - start); index += 1) {
      this.addresses.delete(index);
      hmmDmaUnmapPfn(machine.cpu, machine.api, machine.device, map, index);
      map.pfns.flags[index] = 0;
    }
    return true;
  }
}

const action = fc.record({
  what: fc.constantFrom(
    ...(['fault', 'fault', 'racedFault', 'deviceWrite', 'deviceWrite', 'deviceRead', 'cpuWrite'] as const),
    ...(['migrate', 'toPeer', 'toPeer', 'toRam', 'discard', 'protect', 'allow'] as const),
  ),
  index: fc.integer({ min: 0, max: REGION_PAGES - 1 }),
  count: fc.integer({ min: 1, max: 4 }),
  value: fc.integer({ min: 1, max: 255 }),
  write: fc.boolean(),
});
type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;

function change(world: Mirrored, { what, index, count, value }: Action): void {
  const { mm, start } = world;
  const page = start + index;
  if (what === 'cpuWrite') mm.write(page * PAGE, Uint8Array.of(value));
  else if (what === 'migrate') migratePage(mm, page);
  else if (what === 'toPeer') movePageToPeer(mm, page, PEER_PHYS_PAGE + index);
  else if (what === 'toRam') movePageToRam(mm, page);
  else if (what === 'discard') mm.discard(page, Math.min(count, REGION_PAGES - index));
  else if (what === 'protect' || what === 'allow') mm.protect(page, 1, { writable: what === 'allow' });
}

function act(world: Mirrored, step: Action, meanwhile: Action): void {
  const { index, what, value } = step;
  const entry = world.addresses.get(index);
  if (what === 'fault' || what === 'racedFault') {
    const count = Math.min(step.count, REGION_PAGES - index);
    world.fault(index, count, step.write, () => {
      if (what === 'racedFault') change(world, meanwhile);
    });
  } else if (what === 'deviceWrite') {
    if (entry?.writable !== true) return;
    expect(world.deviceWrite(entry.address, value)).toBe(0);
    expect(world.cpuByte(index)).toBe(value);
  } else if (what === 'deviceRead') {
    if (entry !== undefined) expect(world.deviceRead(entry.address)).toBe(world.cpuByte(index));
  } else {
    change(world, step);
  }
}

test.each([
  ['strict', false],
  ['strict', true],
  ['lazy', true],
  ['passthrough', false],
  ['none', false],
] as const)('device and process agree on every byte: %s domain, redirection %s', (domain, redirect) => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 20, maxLength: 120 }), (steps) => {
      const world = new Mirrored(domain, redirect);
      const { machine, mm, map, pages } = world;
      steps.forEach((step, place) => {
        act(world, step, steps[(place + 5) % steps.length]!);
      });
      mm.exit();
      expect(map.pfns.flags.every((flags) => (flags & HMM_PFN_DMA_MAPPED) === 0)).toBe(true);
      hmmDmaMapFree(machine.cpu, machine.api, machine.device, map);
      expect(world.addresses.size).toBe(0);
      expect(pages.held).toBe(0);
    }),
    { numRuns: 40, seed: 3 },
  );
});

test('a page that goes to a peer changes its way: across the switch past the IOMMU, or linked as registers', () => {
  for (const redirect of [false, true]) {
    const world = new Mirrored('strict', redirect);
    world.fault(0, REGION_PAGES, true, () => undefined);
    const ram = world.addresses.get(5)!.address;
    expect(movePageToPeer(world.mm, world.start + 5, PEER_PHYS_PAGE + 5)).toBe(0);
    expect(world.addresses.has(5)).toBe(false);
    expect(world.deviceWrite(ram, 1)).toBe(1);
    world.fault(5, 1, true, () => undefined);
    const { address } = world.addresses.get(5)!;
    expect(address).toBe(redirect ? ram : (PEER_BUS_PAGE + 5) * PAGE);
    expect(world.map.pfns.flags[5]! & (HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)).toBe(
      redirect ? HMM_PFN_P2PDMA : HMM_PFN_P2PDMA_BUS,
    );
    expect(world.deviceWrite(address, 77)).toBe(0);
    expect(world.machine.memory.readWord(PEER_PHYS_PAGE + 5, 0)).toBe(77);
    expect(world.cpuByte(5)).toBe(77);
    expect(world.p2p.lookups).toBe(1);
  }
});
