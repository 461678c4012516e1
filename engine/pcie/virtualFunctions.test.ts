/** SR-IOV (PCI Express Base Specification chapter 9): routing ids, memory, groups (Linux drivers/pci/iov.c), and peers in one device. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dmaAddr } from '../memory/addresses.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { AddressWindows } from './addressWindows.ts';
import { Fabric } from './fabric.ts';
import { iommuGroups } from './iommuGroups.ts';
import { PeerRoute } from './peerRoute.ts';
import {
  ACS_COMPLETION_REDIRECT,
  ACS_REQUEST_REDIRECT,
  ACS_SOURCE_VALIDATION,
  ACS_UPSTREAM_FORWARDING,
  PortTree,
  type PortNode,
} from './portTree.ts';
import { routeRequest } from './routing.ts';
import type { Translator } from './translator.ts';
import { SrIovCapability, type SrIovOptions } from './virtualFunctions.ts';

const ISOLATING = ACS_SOURCE_VALIDATION | ACS_REQUEST_REDIRECT | ACS_COMPLETION_REDIRECT | ACS_UPSTREAM_FORWARDING;
const HOST = { name: 'pci0000:00', identity: null };

function adapter(acs = 0): { tree: PortTree; port: PortNode; physicalFunction: PortNode } {
  const tree = new PortTree();
  const port = tree.addToRoot(HOST, 'root_port', 0x08, ISOLATING);
  return { tree, port, physicalFunction: tree.addBelow(port, 'endpoint', 0x300, acs) };
}

function capability(more: Partial<SrIovOptions> & Pick<SrIovOptions, 'tree' | 'physicalFunction'>): SrIovCapability {
  return new SrIovCapability({
    totalVfs: 64,
    firstVfOffset: 1,
    vfStride: 1,
    ariCapableHierarchy: true,
    lastBus: 0x10,
    ...more,
  });
}

describe('routing ids (9.2.1.2)', () => {
  test('are those of the formula, distinct, and carried over to further buses', () => {
    const numbers = fc.record({
      totalVfs: fc.integer({ min: 1, max: 300 }),
      firstVfOffset: fc.integer({ min: 1, max: 600 }),
      vfStride: fc.integer({ min: 1, max: 9 }),
    });
    fc.assert(
      fc.property(numbers, ({ totalVfs, firstVfOffset, vfStride }) => {
        const { tree, port, physicalFunction } = adapter();
        const vfs = capability({ tree, physicalFunction, totalVfs, firstVfOffset, vfStride, lastBus: 0x20 });
        const functions = vfs.enable(totalVfs);
        let devfn = 0x300;
        devfn += firstVfOffset;
        for (const one of functions) {
          expect(one.sourceId).toBe(devfn);
          expect(tree.find(devfn)).toBe(one);
          expect(one.upstream).toBe(port);
          expect(port.buses.has(devfn >> 8)).toBe(true);
          devfn += vfStride;
        }
        expect(vfs.furtherBuses).toBe(((devfn - vfStride) >> 8) - 3);
        vfs.disable();
        expect(tree.functions).toEqual([port, physicalFunction]);
      }),
      { seed: 9, numRuns: 100 },
    );
  });

  test('keep the PCI domain of the physical function', () => {
    const tree = new PortTree();
    const port = tree.addToRoot(HOST, 'root_port', 0x2_0008);
    const physicalFunction = tree.addBelow(port, 'endpoint', 0x2_0300);
    const [first] = capability({ tree, physicalFunction, firstVfOffset: 0x80 }).enable(1);
    expect(first!.name).toBe('0002:03:10.0');
  });

  test.each<[string, Partial<SrIovOptions>, number, string]>([
    ['more than TotalVFs', {}, 65, 'Use 1 to TotalVFs, 64.'],
    ['none', {}, 0, 'Use 1 to TotalVFs, 64.'],
    ['a stride of 0', { vfStride: 0 }, 2, 'one routing id'],
    ['an offset of 0', { firstVfOffset: 0 }, 1, 'one routing id'],
    ['a bus beyond those of the port', { firstVfOffset: 0x100, lastBus: 0x03 }, 1, 'reach bus 04'],
    ['function 8 without ARI (6.13)', { ariCapableHierarchy: false }, 8, 'without ARI'],
  ])('refuse %s, with a remedy', (_what, more, numVfs, text) => {
    const { tree, physicalFunction } = adapter();
    expect(() => capability({ tree, physicalFunction, ...more }).enable(numVfs)).toThrow(text);
    expect(tree.functions).toHaveLength(2);
  });

  test('without ARI go up to function 7, or lie on the next bus', () => {
    const one = adapter();
    expect(capability({ ...one, ariCapableHierarchy: false }).enable(7)).toHaveLength(7);
    const other = adapter();
    const far = capability({ ...other, ariCapableHierarchy: false, firstVfOffset: 0x100 }).enable(64);
    expect(far[63]!.sourceId).toBe(0x300 + 0x100 + 63);
  });

  test('do not meet those of another physical function, and NumVFs stands while VF Enable is set', () => {
    const { tree, port, physicalFunction } = adapter();
    tree.addBelow(port, 'endpoint', 0x301);
    const vfs = capability({ tree, physicalFunction });
    expect(() => vfs.enable(2)).toThrow('the address of 0000:03:00.1');
    const apart = capability({ tree, physicalFunction, firstVfOffset: 2, vfStride: 2 });
    apart.enable(2);
    expect(() => apart.enable(3)).toThrow('Disable the virtual functions');
    apart.disable();
    expect(apart.enable(3)).toHaveLength(3);
  });
});

describe('memory (9.2.1.1.1)', () => {
  test('is a slice each of one register as large as TotalVFs, answered by those that are there', () => {
    const { tree, physicalFunction } = adapter();
    const windows = new AddressWindows(tree);
    const bars = [
      { index: 0, size: 0x4000, bits: 64, prefetchable: true },
      { index: 2, size: 0x1000, bits: 64, prefetchable: true },
    ] as const;
    const options = {
      tree,
      physicalFunction,
      totalVfs: 8,
      firstVfOffset: 16,
      vfStride: 2,
      ariCapableHierarchy: true,
      bars,
    };
    const vfs = new SrIovCapability(options, windows);
    const above4G = { start: 2 ** 40, end: 2 ** 41 - 1 };
    windows.assign(new Map([[HOST, { below4G: { start: 0xe000_0000, end: 0xefff_ffff }, above4G }]]));
    const functions = vfs.enable(5);
    for (let number = 1; number <= 8; number += 1) {
      for (const { index, size } of bars) {
        const start = vfs.addressOf(number, index);
        expect(start % size).toBe(0);
        for (const address of [start, start + size - 1]) {
          expect(vfs.ownerOf(windows.find(address)!)).toBe(functions[number - 1] ?? null);
        }
      }
    }
  });

  test('of less than a page is refused, for two functions would share it', () => {
    const { tree, physicalFunction } = adapter();
    const bars = [{ index: 0, size: 0x800, bits: 32, prefetchable: false }] as const;
    expect(() => capability({ tree, physicalFunction, bars })).toThrow('system page size');
  });
});

describe('isolation', () => {
  test('each virtual function has a group of its own where the port isolates, as Linux has it; without ACS above all share one', () => {
    for (const [acs, groups] of [
      [ISOLATING, 10],
      [0, 1],
    ] as const) {
      const { tree, port, physicalFunction } = adapter();
      port.acs = acs;
      capability({ tree, physicalFunction }).enable(8);
      expect(new Set(iommuGroups(tree.functions).values()).size).toBe(groups);
    }
  });

  test('two physical functions without ACS share a group, and their virtual functions do not join it', () => {
    const { tree, port, physicalFunction } = adapter();
    const second = tree.addBelow(port, 'endpoint', 0x301);
    const virtual = [
      ...capability({ tree, physicalFunction, firstVfOffset: 0x10 }).enable(2),
      ...capability({ tree, physicalFunction: second, firstVfOffset: 0x20 }).enable(2),
    ];
    const groups = iommuGroups(tree.functions);
    expect(groups.get(physicalFunction)).toBe(groups.get(second));
    expect(new Set(virtual.map((node) => groups.get(node))).size).toBe(4);
    for (const node of virtual) expect(groups.get(node)).not.toBe(groups.get(second));
  });

  test('requests between functions of one device turn inside it, unless request redirect sends them up (6.12.1.2)', () => {
    const { tree, physicalFunction } = adapter();
    const [one, , , far] = capability({ tree, physicalFunction, firstVfOffset: 0xfe, vfStride: 1 }).enable(4);
    // the fourth lies on the next bus and belongs to the same device all the same
    expect(far!.sourceId >> 8).toBe(4);
    expect(routeRequest({ from: one!, to: far!, kind: 'untranslated' })).toEqual({ end: 'peer', ports: [] });
    one!.acs = ACS_REQUEST_REDIRECT;
    expect(routeRequest({ from: one!, to: far!, kind: 'untranslated' }).end).toBe('root_complex');
  });

  test('a virtual function of a further bus passes source validation of its port', () => {
    const { tree, physicalFunction } = adapter();
    const [far] = capability({ tree, physicalFunction, firstVfOffset: 0x100 }).enable(1);
    expect(routeRequest({ from: far!, to: null, kind: 'untranslated' }).end).toBe('root_complex');
  });
});

describe('DMA', () => {
  test('of a virtual function bears its own requester id, and reaches a neighbour in the device without a link', () => {
    const { tree, port, physicalFunction } = adapter();
    const [one, two] = capability({ tree, physicalFunction }).enable(2);
    tree.addWindow(two!, { firstBusPage: 0x9000, pages: 1, firstPhysPage: 0x900 });
    const asked: number[] = [];
    const translator: Translator = {
      physPage: 7,
      readyAt: picoseconds(0),
      translate(sourceId: number, _page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
        asked.push(sourceId);
        (this as { readyAt: Picoseconds }).readyAt = at;
        return true;
      },
    };
    const events = new EventQueue();
    const memory = new PhysicalMemory(2 ** 24);
    const costs = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(10), mmioWrite: nanoseconds(250) };
    const link = {
      generation: 3,
      lanes: 8,
      maxPayloadSize: 256,
      maxReadRequestSize: 512,
      propagation: nanoseconds(120),
    };
    const rootPort = new Fabric({ events, memory, translator, costs, counters: new Counters() }).addRootPort(
      link,
      port,
    );
    const function1 = rootPort.addFunction(one!.sourceId, new PeerRoute(tree, one!));
    const times: number[] = [];
    const done = { handleEvent: () => times.push(events.now) };
    function1.write(dmaAddr(0x9000 * 4096), 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0, done, 0, 0);
    function1.write(dmaAddr(0x5000), 8, new Uint8Array(8), 0, done, 0, 0);
    while (events.step());
    expect(memory.readWord(0x900, 0)).toBe(0x04030201);
    expect(times[0]).toBe(0);
    expect(times[1]).toBeGreaterThan(nanoseconds(120));
    expect(asked).toEqual([0x301]);
  });
});
