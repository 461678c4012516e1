import { describe, expect, test } from 'vitest';
import { dmaAddr } from '../memory/addresses.ts';
import { ConfidentialMemory } from '../memory/confidentialMemory.ts';
import { PageKinds } from '../memory/pageKinds.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { Fabric } from './fabric.ts';
import type { DmaPort } from './dmaPort.ts';
import { P2pdmaDistances } from './p2pdmaDistance.ts';
import { PeerRoute, publishPeerMemory } from './peerRoute.ts';
import { ACS_COMPLETION_REDIRECT, ACS_EGRESS_CONTROL, ACS_REQUEST_REDIRECT, PortTree } from './portTree.ts';
import type { Translator } from './translator.ts';

const COSTS = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(10), mmioWrite: nanoseconds(250) };
const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };
const PEER_PHYS_PAGE = 0x3000;
const PEER_BUS_PAGE = 0x9000;

/** Knows one IOVA page, 0x77, mapped to a page of the test's choice. */
class OnePage implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  target = 0;
  asked: number[] = [];

  translate(_sourceId: number, page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.asked.push(page);
    this.physPage = this.target;
    this.readyAt = at;
    return page === 0x77;
  }
}

/** A NIC and a GPU with memory below two ports of one switch, behind an IOMMU. */
function machine() {
  const events = new EventQueue();
  const memory = new PhysicalMemory(0x4000 * 4096);
  const translator = new OnePage();
  const kinds = new PageKinds();
  const tree = new PortTree();
  const rootPort = tree.addToRoot({ name: 'pci0000:00', identity: null }, 'root_port', 0x08);
  const upstream = tree.addBelow(rootPort, 'switch_upstream', 0x100);
  const left = tree.addBelow(upstream, 'switch_downstream', 0x200);
  const right = tree.addBelow(upstream, 'switch_downstream', 0x208);
  const nic = tree.addBelow(left, 'endpoint', 0x300);
  const gpu = tree.addBelow(right, 'endpoint', 0x400);
  const window = { firstPhysPage: PEER_PHYS_PAGE, pages: 16, firstBusPage: PEER_BUS_PAGE };
  const provider = publishPeerMemory(tree, gpu, kinds, window);
  const fabric = new Fabric({ events, memory, translator, costs: COSTS, counters: new Counters() });
  const port = fabric.addRootPort(LINK).addFunction(nic.sourceId, new PeerRoute(tree, nic));
  return { events, memory, translator, kinds, tree, left, right, nic, gpu, provider, port };
}

function write(events: EventQueue, port: DmaPort, address: number, bytes: Uint8Array): number {
  let status = -1;
  const done = { handleEvent: () => (status = port.lastStatus) };
  port.write(dmaAddr(address), bytes.length, bytes, 0, done, 0, 0);
  while (events.step());
  return status;
}

function read(events: EventQueue, port: DmaPort, address: number, length: number): Uint8Array {
  const target = new Uint8Array(length);
  port.read(dmaAddr(address), length, target, 0, { handleEvent: () => undefined }, 0, 0);
  while (events.step());
  return target;
}

const BYTES = Uint8Array.of(9, 8, 7, 6);

describe('peer to peer through a switch (PCI Express 6.12)', () => {
  test("the address that Linux gives for 'bus_addr' reaches the peer's bytes and never the IOMMU", () => {
    const { events, memory, translator, tree, nic, provider, port } = machine();
    expect(new P2pdmaDistances(tree, { vendor: 'intel', family: 6 }).mapType(provider, nic.sourceId)).toBe('bus_addr');
    const phys = (PEER_PHYS_PAGE + 3) * 4096 + 0x10;
    expect(write(events, port, phys + provider.busOffset, BYTES)).toBe(0);
    const landed = new Uint8Array(4);
    memory.readBytes(phys, landed, 0, 4);
    expect(landed).toEqual(BYTES);
    expect(read(events, port, phys + provider.busOffset, 4)).toEqual(BYTES);
    expect(translator.asked).toEqual([]);
  });

  test('with request redirect at its port the request goes up, and the IOMMU refuses it', () => {
    const { events, translator, left, port } = machine();
    left.acs = ACS_REQUEST_REDIRECT;
    expect(write(events, port, PEER_BUS_PAGE * 4096, BYTES)).toBe(1);
    expect(translator.asked).toEqual([PEER_BUS_PAGE]);
  });

  test('with egress control at its port the request is stopped there, and nobody is asked', () => {
    const { events, memory, translator, left, port } = machine();
    left.acs = ACS_EGRESS_CONTROL;
    expect(write(events, port, PEER_BUS_PAGE * 4096, BYTES)).toBe(1);
    expect(memory.readWord(PEER_PHYS_PAGE, 0)).toBe(0);
    expect(read(events, port, PEER_BUS_PAGE * 4096, 4)).toEqual(new Uint8Array(4));
    expect(translator.asked).toEqual([]);
  });

  test('through the host bridge an IOVA leads to the CPU physical address of the window', () => {
    const { events, memory, translator, left, port } = machine();
    left.acs = ACS_REQUEST_REDIRECT;
    translator.target = PEER_PHYS_PAGE + 5;
    expect(write(events, port, 0x77 * 4096 + 8, BYTES)).toBe(0);
    expect(memory.readWord(PEER_PHYS_PAGE + 5, 2)).toBe(0x06070809);
  });

  test("redirection at the peer's port turns only what the peer sends", () => {
    const { events, translator, right, port } = machine();
    right.acs = ACS_REQUEST_REDIRECT | ACS_COMPLETION_REDIRECT;
    expect(write(events, port, PEER_BUS_PAGE * 4096, BYTES)).toBe(0);
    expect(translator.asked).toEqual([]);
  });

  test('a request across the end of the window is cut at the page, and what lies beyond goes up', () => {
    const { events, memory, translator, port } = machine();
    expect(write(events, port, (PEER_BUS_PAGE + 16) * 4096 - 2, BYTES)).toBe(1);
    expect(memory.readWord(PEER_PHYS_PAGE + 15, 1023)).toBe(0x08090000);
    expect(translator.asked).toEqual([PEER_BUS_PAGE + 16]);
  });

  test('a function does not find itself across the switch, nor a peer below another root port', () => {
    const { tree, gpu, kinds } = machine();
    expect(new PeerRoute(tree, gpu).find(PEER_BUS_PAGE, 'untranslated')).toBe('blocked');
    const far = tree.addToRoot({ name: 'pci0000:80', identity: null }, 'root_port', 0x8008);
    const stranger = tree.addBelow(far, 'endpoint', 0x8100);
    expect(new PeerRoute(tree, stranger).find(PEER_BUS_PAGE, 'untranslated')).toBe('root_complex');
    expect(() => publishPeerMemory(tree, stranger, kinds, { firstPhysPage: PEER_BUS_PAGE + 15, pages: 2 })).toThrow(
      '0000:04:00.0',
    );
  });
});

describe('devices of a confidential guest', () => {
  test('a device reads ciphertext of a private page, and plain bytes once it is shared', () => {
    const events = new EventQueue();
    const memory = new PhysicalMemory(2 ** 24);
    const kinds = new PageKinds({ confidential: true });
    const behind = new ConfidentialMemory(memory, kinds, null);
    const fabric = new Fabric({ events, memory: behind, translator: null, costs: COSTS, counters: new Counters() });
    const port = fabric.addRootPort(LINK).addFunction(0x18);
    memory.writeBytes(0x5000, BYTES, 0, 4);
    kinds.setPrivate(6, 1, false);
    memory.writeBytes(0x6000, BYTES, 0, 4);
    expect(read(events, port, 0x5000, 4)).not.toEqual(BYTES);
    expect(read(events, port, 0x6000, 4)).toEqual(BYTES);
    write(events, port, 0x5000, BYTES);
    expect(read(events, port, 0x5000, 4)).toEqual(BYTES);
    const seen = new Uint8Array(4);
    memory.readBytes(0x5000, seen, 0, 4);
    expect(seen).not.toEqual(BYTES);
    expect(behind.garbledAccesses).toBe(3);
  });
});
