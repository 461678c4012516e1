/** Time on paths of several links (PCI Express Base Specification 1.3.3, 2.2.4, 6.12.3): sums of what each step says it takes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dmaAddr, PAGE_SIZE } from '../memory/addresses.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { DmaPort } from './dmaPort.ts';
import { Fabric, type FabricOptions } from './fabric.ts';
import { PeerRoute } from './peerRoute.ts';
import { ACS_COMPLETION_REDIRECT, ACS_DIRECT_TRANSLATED, ACS_REQUEST_REDIRECT, PortTree } from './portTree.ts';
import type { Translator } from './translator.ts';

const COSTS = {
  rootComplex: nanoseconds(90),
  memoryRead: nanoseconds(10),
  mmioWrite: nanoseconds(250),
  peerRead: nanoseconds(33),
};
const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };
const WIDE = { ...LINK, lanes: 16 };
/** Of x8 and x16 at 7.88 Gb/s a lane. */
const x8 = (bytes: number): number => Math.ceil((bytes * 8000) / (7.88 * 8));
const x16 = (bytes: number): number => Math.ceil((bytes * 8000) / (7.88 * 16));

/** Adds 0x1000 to pages below 0x1000, after 40 ns, and knows no others. */
class Shifted implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  asked: number[] = [];

  translate(_sourceId: number, page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.asked.push(page);
    this.physPage = page + 0x1000;
    this.readyAt = picoseconds(at + nanoseconds(40));
    return page < 0x1000;
  }
}

function options(translator: Translator | null = null): FabricOptions & { readonly memory: PhysicalMemory } {
  const memory = new PhysicalMemory(2 ** 26);
  return { events: new EventQueue(), memory, translator, costs: COSTS, counters: new Counters() };
}

interface Ended {
  readonly at: number;
  readonly status: number;
  readonly bytes: Uint8Array;
}

function access(events: EventQueue, port: DmaPort, write: boolean, address: number, length: number): Ended {
  const from = events.now;
  const bytes = write ? Uint8Array.from({ length }, (_, index) => index + 1) : new Uint8Array(length);
  let ended: Ended | null = null;
  const done = { handleEvent: () => (ended = { at: events.now - from, status: port.lastStatus, bytes }) };
  if (write) port.write(dmaAddr(address), length, bytes, 0, done, 0, 0);
  else port.read(dmaAddr(address), length, bytes, 0, done, 0, 0);
  while (events.step());
  return ended!;
}

describe('below switches', () => {
  test('a read takes every link twice, and every switch', () => {
    const fabric = options();
    const port = new Fabric(fabric)
      .addRootPort(WIDE)
      .addSwitch({ latency: nanoseconds(100), storeAndForward: true })
      .addDownstreamPort(LINK)
      .addFunction(0x300);
    const wire = x8(24) + x16(24) + x16(84) + x8(84);
    expect(access(fabric.events, port, false, 0x3000, 64).at).toBe(
      wire + nanoseconds(2 * (120 + 100 + 120) + 2 * 90 + 10),
    );
  });

  test('a switch that cuts through sends a TLP on when its header has come, but never runs dry', () => {
    const write = (first: typeof LINK, second: typeof LINK): number => {
      const fabric = options();
      const switched = new Fabric(fabric).addRootPort(second).addSwitch({ latency: nanoseconds(100) });
      return access(fabric.events, switched.addDownstreamPort(first).addFunction(0x300), true, 0x3000, 256).at;
    };
    const rest = nanoseconds(120 + 100 + 120 + 90);
    expect(write(LINK, LINK)).toBe(x8(24) + x8(280) + rest);
    // from fast to slow the header is enough; from slow to fast the last byte comes when it comes
    expect(write(WIDE, LINK)).toBe(x16(24) + x8(280) + rest);
    expect(write(LINK, WIDE)).toBe(x8(280) + rest);
  });

  test('a register write comes down over all links', () => {
    const fabric = options();
    const port = new Fabric(fabric).addRootPort(WIDE).addSwitch().addDownstreamPort(LINK).addFunction(0x300);
    expect(port.mmioWrite(picoseconds(0))).toBe(nanoseconds(250 + 120 + 110 + 120) + x16(28) + x8(28));
  });

  test('neighbours share the upstream link: together they write no faster than it, alone each as fast as its own', () => {
    const gigabytesPerSecond = (writers: number): number => {
      const fabric = options();
      const switched = new Fabric(fabric).addRootPort(LINK).addSwitch();
      const bytes = new Uint8Array(4096);
      const nobody = { handleEvent: () => undefined };
      for (let index = 0; index < writers; index += 1) {
        const port = switched.addDownstreamPort({ ...LINK, lanes: 4 }).addFunction(0x300 + index * 0x100);
        for (let each = 0; each < 500; each += 1) port.write(dmaAddr(0x3000), 4096, bytes, 0, nobody, 0, 0);
      }
      while (fabric.events.step());
      return (writers * 500 * 4096) / 1e9 / (fabric.events.now / 1e12);
    };
    const full = (256 / 280) * 7.88;
    expect(gigabytesPerSecond(1)).toBeCloseTo(full / 2, 1);
    expect(gigabytesPerSecond(2)).toBeCloseTo(full, 1);
    expect(gigabytesPerSecond(4)).toBeCloseTo(full, 1);
  });

  /** Answers for page A only after 5 us, and for all others at once. */
  class SlowForOne extends Shifted {
    override translate(sourceId: number, page: number, write: boolean, accesses: number, at: Picoseconds): boolean {
      super.translate(sourceId, page, write, accesses, at);
      if (page === SLOW_PAGE) this.readyAt = picoseconds(at + nanoseconds(5000));
      return true;
    }
  }
  const SLOW_PAGE = 3;

  test('behind a device TLB writes leave in the order of their calls, however long each translation takes (2.4.1)', () => {
    const fabric = options();
    const below = new Fabric(fabric).addRootPort(WIDE).addSwitch().addDownstreamPort(LINK);
    const port = below.addFunction(0x300, null, new SlowForOne());
    const order: number[] = [];
    const done = { handleEvent: (_kind: number, which: number) => order.push(which, fabric.events.now) };
    const bytes = new Uint8Array(64);
    port.write(dmaAddr(SLOW_PAGE * PAGE_SIZE), 64, bytes, 0, done, 0, 1);
    port.write(dmaAddr(9 * PAGE_SIZE), 64, bytes, 0, done, 0, 2);
    while (fabric.events.step());
    expect([order[0], order[2]]).toEqual([1, 2]);
    expect(order[3]! - order[1]!).toBe(x8(88));
  });

  test('an interrupt from below a switch does not arrive before a write whose translation is slow (2.4.1)', () => {
    const fabric = options(new SlowForOne());
    const port = new Fabric(fabric).addRootPort(WIDE).addSwitch().addDownstreamPort(LINK).addFunction(0x300);
    const at: number[] = [];
    const done = { handleEvent: () => at.push(fabric.events.now) };
    port.write(dmaAddr(SLOW_PAGE * PAGE_SIZE), 64, new Uint8Array(64), 0, done, 0, 0);
    port.raiseInterrupt(done, 0, 0);
    while (fabric.events.step());
    expect(at[0]).toBeGreaterThan(nanoseconds(5000));
    expect(at[1]).toBe(at[0]);
  });

  test('a bottleneck makes its users wait in the order in which they come, and nobody else', () => {
    const fabric = options();
    const bridge = new Fabric(fabric);
    const switched = bridge.addRootPort({ ...LINK, lanes: 1 }).addSwitch();
    const one = switched.addDownstreamPort(LINK).addFunction(0x300);
    const two = switched.addDownstreamPort(LINK).addFunction(0x400);
    const apart = bridge.addRootPort(LINK).addFunction(0x500);
    const ended: number[] = [];
    const done = { handleEvent: (_: number, argument: number) => ended.push(argument) };
    for (let index = 0; index < 8; index += 1) {
      (index % 2 === 0 ? one : two).write(dmaAddr(0x3000), 4096, new Uint8Array(4096), 0, done, 0, index);
    }
    apart.write(dmaAddr(0x3000), 4096, new Uint8Array(4096), 0, done, 0, 99);
    while (fabric.events.step());
    expect(ended).toEqual([99, 0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('one link times the same by parts as it does as a whole', () => {
    const request = fc.record({ write: fc.boolean(), page: fc.nat(200), offset: fc.nat(4095), length: fc.nat(4000) });
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 30 }), (requests) => {
        const times = (peers: boolean): number[] => {
          const fabric = options(new Shifted());
          const tree = new PortTree();
          const root = tree.addToRoot({ name: 'host', identity: null }, 'root_port', 8);
          const function0 = tree.addBelow(root, 'endpoint', 0x100);
          const port = new Fabric(fabric)
            .addRootPort(LINK, root)
            .addFunction(0x100, peers ? new PeerRoute(tree, function0) : null);
          const ended: number[] = [];
          const done = { handleEvent: (_: number, index: number) => (ended[index] = fabric.events.now) };
          for (const [index, { write, page, offset, length }] of requests.entries()) {
            const address =
              page * PAGE_SIZE + Math.min(offset, PAGE_SIZE - 1 - length < 0 ? 0 : PAGE_SIZE - 1 - length);
            const bytes = new Uint8Array(length + 1);
            if (write) port.write(dmaAddr(address), length + 1, bytes, 0, done, 0, index);
            else port.read(dmaAddr(address), length + 1, bytes, 0, done, 0, index);
          }
          while (fabric.events.step());
          return ended;
        };
        expect(times(true)).toEqual(times(false));
      }),
      { seed: 31, numRuns: 60 },
    );
  });
});

const GPU_PHYS_PAGE = 0x2000;
const GPU_BUS_PAGE = 0x9000;

/** A NIC beside a GPU below one switch; another NIC at a root port, and one at another host bridge. */
function peerMachine(translator: Translator | null, more: Pick<FabricOptions, 'refusesPeers'> = {}) {
  const fabric = { ...options(translator), ...more };
  const tree = new PortTree();
  const near = { name: 'pci0000:00', identity: null };
  const far = { name: 'pci0000:80', identity: null };
  const rootPort = tree.addToRoot(near, 'root_port', 0x08);
  const inner = tree.addBelow(rootPort, 'switch_upstream', 0x100);
  const left = tree.addBelow(inner, 'switch_downstream', 0x200);
  const right = tree.addBelow(inner, 'switch_downstream', 0x208);
  const beside = tree.addToRoot(near, 'root_port', 0x10);
  const remote = tree.addToRoot(far, 'root_port', 0x8008);
  const host = new Fabric(fabric);
  const switched = host.addRootPort(WIDE, rootPort).addSwitch({ latency: nanoseconds(100), storeAndForward: true });
  const gpu = tree.addBelow(right, 'endpoint', 0x400);
  switched.addDownstreamPort(LINK, right);
  tree.addWindow(gpu, { firstBusPage: GPU_BUS_PAGE, pages: 16, firstPhysPage: GPU_PHYS_PAGE });
  const function0 = (port: typeof left, sourceId: number) =>
    new PeerRoute(tree, tree.addBelow(port, 'endpoint', sourceId));
  const leftPort = switched.addDownstreamPort(LINK, left);
  return {
    events: fabric.events,
    memory: fabric.memory,
    left,
    right,
    leftPort,
    neighbour: leftPort.addFunction(0x300, function0(left, 0x300)),
    /** The same function with translations of its own. */
    translating: (deviceTlb: Translator) => leftPort.addFunction(0x301, function0(left, 0x301), deviceTlb),
    sameBridge: host.addRootPort(LINK, beside).addFunction(0x500, function0(beside, 0x500)),
    otherBridge: new Fabric(fabric).addRootPort(LINK, remote).addFunction(0x8100, function0(remote, 0x8100)),
  };
}

const SWITCHED = 120 + 100 + 120;
const REQUEST_UP = SWITCHED + 90;

describe('to a peer', () => {
  test('across the switch: two links, one switch, and no IOMMU', () => {
    const translator = new Shifted();
    const { events, neighbour } = peerMachine(translator);
    const address = GPU_BUS_PAGE * PAGE_SIZE + 64;
    expect(access(events, neighbour, true, address, 64)).toMatchObject({
      at: 2 * x8(88) + nanoseconds(SWITCHED),
      status: 0,
    });
    const read = access(events, neighbour, false, address, 64);
    expect(read.at).toBe(2 * x8(24) + 2 * x8(84) + nanoseconds(2 * SWITCHED + 33));
    expect(read.bytes).toEqual(Uint8Array.from({ length: 64 }, (_, index) => index + 1));
    expect(translator.asked).toEqual([]);
  });

  test('redirected: up through the switch, translated at the root complex, and down again; completions turn as their port says', () => {
    const translator = new Shifted();
    const { events, left, right, neighbour, memory } = peerMachine(translator);
    left.acs = ACS_REQUEST_REDIRECT;
    const iova = (GPU_PHYS_PAGE - 0x1000) * PAGE_SIZE;
    expect(access(events, neighbour, false, iova, 64).status).toBe(1);
    const inside = 0xfff * PAGE_SIZE;
    expect(access(events, neighbour, true, inside, 64).status).toBe(0);
    translator.translate = (_source, page, _write, _accesses, at) => {
      translator.physPage = page - 0x10 + GPU_PHYS_PAGE;
      translator.readyAt = picoseconds(at + nanoseconds(40));
      return true;
    };
    const up = x8(88) + x16(88) + nanoseconds(REQUEST_UP);
    const down = x16(88) + x8(88) + nanoseconds(90 + SWITCHED);
    expect(access(events, neighbour, true, 0x10 * PAGE_SIZE, 64).at).toBe(up + nanoseconds(40) + down);
    expect(memory.readWord(GPU_PHYS_PAGE, 0)).toBe(0x04030201);
    const requestTakes = 2 * x8(24) + 2 * x16(24) + nanoseconds(2 * REQUEST_UP + 40 + 33);
    const across = 2 * x8(84) + nanoseconds(SWITCHED);
    expect(access(events, neighbour, false, 0x10 * PAGE_SIZE, 64).at).toBe(requestTakes + across);
    right.acs = ACS_COMPLETION_REDIRECT;
    const around = 2 * x8(84) + 2 * x16(84) + nanoseconds(2 * REQUEST_UP);
    expect(access(events, neighbour, false, 0x10 * PAGE_SIZE, 64).at).toBe(requestTakes + around);
  });

  test('from another root port through the root complex, from another host bridge over what joins the two', () => {
    const address = GPU_BUS_PAGE * PAGE_SIZE;
    const { events, sameBridge, otherBridge } = peerMachine(null);
    const down = x16(88) + x8(88) + nanoseconds(90 + SWITCHED);
    expect(access(events, sameBridge, true, address, 64).at).toBe(x8(88) + nanoseconds(120 + 90) + down);
    expect(access(events, otherBridge, true, address, 64).at).toBe(x8(88) + nanoseconds(120 + 90 + 52.5) + down);
  });

  test('a root complex that passes nothing on answers with Unsupported Request: zeros for a read, nothing for a write', () => {
    const { events, memory, sameBridge } = peerMachine(null, { refusesPeers: true });
    const address = GPU_BUS_PAGE * PAGE_SIZE;
    expect(access(events, sameBridge, true, address, 64).status).toBe(1);
    expect(memory.readWord(GPU_PHYS_PAGE, 0)).toBe(0);
    const refused = access(events, sameBridge, false, address, 4096);
    // one completion without data
    expect(refused).toMatchObject({ status: 1, at: x8(24) + x8(20) + nanoseconds(2 * 120 + 90) });
    expect(refused.bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('a translated request goes direct where its port allows it, and asks nobody on the way (6.12.3, 10.1)', () => {
    const translator = new Shifted();
    const deviceTlb = new Shifted();
    const { events, left, translating } = peerMachine(translator);
    deviceTlb.translate = (_source, page, _write, _accesses, at) => {
      deviceTlb.physPage = page - 0x10 + GPU_BUS_PAGE;
      deviceTlb.readyAt = picoseconds(at + nanoseconds(5));
      return true;
    };
    const port = translating(deviceTlb);
    left.acs = ACS_REQUEST_REDIRECT | ACS_DIRECT_TRANSLATED;
    const direct = access(events, port, true, 0x10 * PAGE_SIZE, 64);
    expect(direct).toMatchObject({ status: 0, at: nanoseconds(5 + SWITCHED) + 2 * x8(88) });
    expect(translator.asked).toEqual([]);
  });
});
