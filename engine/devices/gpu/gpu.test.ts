/** A GPU's memory for peers, in bytes and in time, and its copy engine (PCI Express Base Specification 2.2.9 completers, 2.4 ordering). */
import { describe, expect, test } from 'vitest';
import { dmaAddr } from '../../memory/addresses.ts';
import { PageKinds } from '../../memory/pageKinds.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import { Fabric } from '../../pcie/fabric.ts';
import { PeerRoute } from '../../pcie/peerRoute.ts';
import { PortTree } from '../../pcie/portTree.ts';
import type { Translator } from '../../pcie/translator.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { CopyPlace } from './copyEngine.ts';
import { Gpu } from './gpu.ts';
import { gpuParameters, type GpuParameters } from './gpuParameters.ts';

const PAGE = 4096;
const COSTS = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(10), mmioWrite: nanoseconds(250) };
const LINK = { generation: 4, lanes: 16, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(20) };
const GPU_PAGE = 0x3000;
const GPU_PAGES = 64;

/** Pages below 0x1000 are themselves; no others are mapped. */
class LowPages implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  asked = 0;

  translate(_sourceId: number, page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.asked += 1;
    this.physPage = page;
    this.readyAt = at;
    return page < 0x1000;
  }
}

class Bench {
  readonly events = new EventQueue();
  readonly memory = new PhysicalMemory(0x4000 * PAGE);
  readonly translator = new LowPages();
  readonly nic: DmaPort;
  readonly gpu: Gpu;

  constructor(replaced: Partial<GpuParameters> = {}) {
    const { events, memory, translator } = this;
    const tree = new PortTree();
    const fabric = new Fabric({ events, memory, translator, costs: COSTS, counters: new Counters() });
    const rootPort = tree.addToRoot({ name: 'pci0000:00', identity: null }, 'root_port', 0x08);
    const inner = tree.addBelow(rootPort, 'switch_upstream', 0x100);
    const switched = fabric.addRootPort(LINK, rootPort).addSwitch();
    const [left, right] = [0x200, 0x208].map((id) => tree.addBelow(inner, 'switch_downstream', id));
    const [nicNode, gpuNode] = [tree.addBelow(left!, 'endpoint', 0x300), tree.addBelow(right!, 'endpoint', 0x400)];
    this.nic = switched.addDownstreamPort(LINK, left).addFunction(0x300, new PeerRoute(tree, nicNode));
    const port = switched.addDownstreamPort(LINK, right).addFunction(0x400, new PeerRoute(tree, gpuNode));
    const parameters = gpuParameters(replaced);
    this.gpu = new Gpu({ port, events, memory }, { node: gpuNode, firstPage: GPU_PAGE, pages: GPU_PAGES, parameters });
    this.gpu.publish(tree, new PageKinds());
  }

  settle(): void {
    while (this.events.step());
  }

  /** A peer's access: what it read, and how long it took. */
  access(write: boolean, address: number, bytes: Uint8Array): number {
    const from = this.events.now;
    let took = -1;
    const done = { handleEvent: () => (took = this.events.now - from) };
    if (write) this.nic.write(dmaAddr(address), bytes.length, bytes, 0, done, 0, 0);
    else this.nic.read(dmaAddr(address), bytes.length, bytes, 0, done, 0, 0);
    this.settle();
    return took;
  }

  /** A copy: how many requests were refused, and how long it took. */
  copy(from: CopyPlace, to: CopyPlace, bytes: number): { refused: number; took: number } {
    const begun = this.events.now;
    let refused = -1;
    let took = -1;
    this.gpu.copyEngine.submit([{ from, to, bytes }], begun, (count) => {
      refused = count;
      took = this.events.now - begun;
    });
    this.settle();
    return { refused, took };
  }
}

const device = (address: number): CopyPlace => ({ space: 'device', address });
const bus = (address: number): CopyPlace => ({ space: 'bus', address });
const pattern = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, at) => at * 31 + seed);

describe("a GPU's memory behind its base address register", () => {
  test('keeps what a peer writes by bus address, for the peer, the device and the CPU', () => {
    const bench = new Bench();
    const sent = pattern(300, 3);
    bench.access(true, (GPU_PAGE + 2) * PAGE + 4000, sent);
    const [back, inside, seen] = [new Uint8Array(300), new Uint8Array(300), new Uint8Array(300)];
    bench.access(false, (GPU_PAGE + 2) * PAGE + 4000, back);
    bench.gpu.memory.read(2 * PAGE + 4000, inside, 0, 300, 0);
    bench.memory.readBytes((GPU_PAGE + 2) * PAGE + 4000, seen, 0, 300);
    expect([back, inside, seen]).toEqual([sent, sent, sent]);
    expect(bench.translator.asked).toBe(0);
  });

  test("a peer's read takes the memory's latency, not that of the host's", () => {
    const slow = new Bench({ memoryLatency: nanoseconds(900) }).access(false, GPU_PAGE * PAGE, new Uint8Array(64));
    const fast = new Bench({ memoryLatency: nanoseconds(100) }).access(false, GPU_PAGE * PAGE, new Uint8Array(64));
    expect(slow - fast).toBe(nanoseconds(800));
  });

  test('its rate holds all accesses up together', () => {
    const bytes = new Uint8Array(PAGE);
    const slow = new Bench({ memoryBytesPerSecond: 1e9 });
    for (let each = 0; each < 8; each += 1) {
      slow.nic.write(dmaAddr(GPU_PAGE * PAGE), PAGE, bytes, 0, { handleEvent: () => undefined }, 0, 0);
    }
    slow.settle();
    expect(slow.events.now).toBeGreaterThanOrEqual((8 * PAGE * 1e12) / 1e9);
    expect(slow.gpu.memory.bytesWritten).toBe(8 * PAGE);
  });
});

describe('the copy engine', () => {
  test('brings bytes from host memory, to another place, and back', () => {
    const bench = new Bench();
    const bytes = pattern(40_000, 7);
    bench.memory.writeBytes(0x10_0123, bytes, 0, bytes.length);
    expect(bench.copy(bus(0x10_0123), device(0x333), bytes.length).refused).toBe(0);
    expect(bench.copy(device(0x333), device(0x1_8001), bytes.length).refused).toBe(0);
    expect(bench.copy(device(0x1_8001), bus(0x20_0777), bytes.length).refused).toBe(0);
    const back = new Uint8Array(bytes.length);
    bench.memory.readBytes(0x20_0777, back, 0, back.length);
    expect(back).toEqual(bytes);
    expect(bench.gpu.copyEngine.quiet).toBe(true);
  });

  test('has written everything when its interrupt comes', () => {
    const bench = new Bench();
    bench.gpu.memory.write(0, pattern(PAGE, 1), 0, PAGE, 0);
    const seen = new Uint8Array(PAGE);
    bench.gpu.copyEngine.submit([{ from: device(0), to: bus(0x5000), bytes: PAGE }], picoseconds(0), () => {
      bench.memory.readBytes(0x5000, seen, 0, PAGE);
    });
    bench.settle();
    expect(seen).toEqual(pattern(PAGE, 1));
  });

  test('overlaps the requests of a command: a window of one is slower', () => {
    const together = new Bench().copy(bus(0x10_0000), device(0), 2 ** 17).took;
    const single = new Bench({ copyBytesInFlight: PAGE }).copy(bus(0x10_0000), device(0), 2 ** 17).took;
    expect(single).toBeGreaterThan(1.5 * together);
  });

  test('tells of requests that were refused, and writes none of their bytes into its memory', () => {
    const bench = new Bench();
    bench.gpu.memory.write(0, pattern(3 * PAGE, 9), 0, 3 * PAGE, 0);
    const { refused } = bench.copy(bus(0xffe * PAGE), device(0), 3 * PAGE);
    expect(refused).toBe(1);
    const kept = new Uint8Array(PAGE);
    bench.gpu.memory.read(2 * PAGE, kept, 0, PAGE, 0);
    expect(kept).toEqual(pattern(3 * PAGE, 9).subarray(2 * PAGE));
  });

  test('refuses a copy outside its memory before anything moves', () => {
    const bench = new Bench();
    expect(() => bench.copy(bus(0), device(GPU_PAGES * PAGE - 1), 2)).toThrow(/lies outside its memory/);
    expect(bench.gpu.copyEngine.quiet).toBe(true);
  });
});
