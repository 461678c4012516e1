import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReceiveNic, type Wire } from '../devices/receiveNic.ts';
import { TestMachine } from '../dma/testMachine.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { Fabric } from '../pcie/fabric.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { ReceiveRing, type RingPage, type ReceiveRingOptions } from './receiveRing.ts';

const NONE = picoseconds(0);
const DESCRIPTORS = 4;
const PAGES = 4;

/** Packets of given lengths, each filled with its own number, for ring 0 and flow = number. */
class Packets implements Wire {
  readonly ring = 0;
  flow = 0;
  packet = new Uint8Array(0);
  lost = 0;
  private readonly lengths: readonly number[];
  private sent = 0;

  constructor(lengths: readonly number[]) {
    this.lengths = lengths;
  }

  next(): boolean {
    const length = this.lengths[this.sent];
    if (length === undefined) return false;
    this.flow = this.sent;
    this.packet = new Uint8Array(length).fill(this.sent + 1);
    this.sent += 1;
    return true;
  }

  dropped(): void {
    this.lost += 1;
  }
}

class Receiver {
  readonly machine = new TestMachine({ profile: '6.17', cpus: 1 });
  readonly events = new EventQueue();
  readonly nic: ReceiveNic;
  readonly ring: ReceiveRing;
  readonly taken: { flow: number; bytes: Uint8Array; pages: readonly RingPage[] }[] = [];
  /** Whether the pages of a packet are let go at once. */
  readsAtOnce = true;
  interrupts = 0;

  constructor(options: Partial<ReceiveRingOptions> = {}, interruptPackets = 1) {
    const { machine, events } = this;
    const { memory, frames, api, device, cpu, counters, iommu } = machine;
    const fabric = new Fabric({
      events,
      memory,
      counters,
      translator: iommu,
      costs: { rootComplex: NONE, memoryRead: NONE, mmioWrite: NONE },
    });
    const port = fabric
      .addRootPort({ generation: 3, lanes: 16, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: NONE })
      .addFunction(device.sourceId);
    const nicOptions = {
      pagesPerDescriptor: PAGES,
      strideBytes: 256,
      packetInterval: picoseconds(1_000_000),
      packetsHeld: 4,
      packetsBuffered: 4,
      interruptPackets,
      interruptDelay: picoseconds(50_000_000),
    };
    this.nic = new ReceiveNic(port, events, nicOptions, {
      handleEvent: () => {
        this.interrupts += 1;
        this.poll();
      },
    });
    const ringOptions = {
      api,
      device,
      memory,
      frames,
      nic: this.nic,
      descriptors: DESCRIPTORS,
      pagesPerDescriptor: PAGES,
      cachedPages: 8,
      contiguous: false,
      completionEntries: 64,
      sendEntries: 8,
      sendBatch: 1,
      ...options,
    };
    this.ring = new ReceiveRing(cpu, ringOptions, (_cpu, flow, pages, offset, length) => {
      this.taken.push({ flow, bytes: this.bytesOf(pages, offset, length), pages });
      if (this.readsAtOnce) for (const page of pages) this.ring.letGo(page);
    });
    this.ring.fill(cpu);
    while (events.step());
  }

  receive(lengths: readonly number[]): Packets {
    const wire = new Packets(lengths);
    this.nic.connect(wire);
    while (this.events.step());
    return wire;
  }

  private poll(): void {
    const { cpu } = this.machine;
    do {
      this.ring.beginPoll(64);
      while (this.ring.step(cpu));
    } while (this.ring.endPoll());
  }

  private bytesOf(pages: readonly RingPage[], offset: number, length: number): Uint8Array {
    const all = new Uint8Array(pages.length * PAGE_SIZE);
    for (const [index, page] of pages.entries()) {
      this.machine.memory.readBytes(page.frame * PAGE_SIZE, all, index * PAGE_SIZE, PAGE_SIZE);
    }
    return all.subarray(offset, offset + length);
  }
}

describe('a receive ring', () => {
  it.each([false, true])('brings every byte of every packet, whatever their lengths (contiguous: %s)', (contiguous) => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 * PAGE_SIZE }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const receiver = new Receiver({ contiguous });
        const wire = receiver.receive(lengths);
        expect(receiver.nic.refused).toBe(0);
        expect(wire.lost).toBe(0);
        expect(receiver.taken.map(({ flow }) => flow)).toEqual(lengths.map((_, index) => index));
        for (const { flow, bytes } of receiver.taken) {
          expect(bytes.length).toBe(lengths[flow]);
          expect(bytes.every((byte) => byte === flow + 1)).toBe(true);
        }
      }),
      { numRuns: 25, seed: 4 },
    );
  });

  it('keeps pages mapped that nobody holds, and unmaps them while its cache is full', () => {
    const quick = new Receiver();
    quick.machine.takeEvents();
    quick.receive(new Array<number>(64).fill(PAGE_SIZE));
    expect(quick.machine.takeEvents().filter((line) => line.startsWith('unmap'))).toEqual([]);

    const slow = new Receiver();
    slow.readsAtOnce = false;
    slow.machine.takeEvents();
    slow.receive(new Array<number>(64).fill(PAGE_SIZE));
    const unmaps = slow.machine.takeEvents().filter((line) => line.startsWith('unmap'));
    // 64 packets fill 16 descriptors, of which all but the last are given back; 8 pages of those are in the cache
    expect(unmaps.length).toBe(15 * PAGES - 8);
  });

  it('takes new pages while the one at the head of its cache is held', () => {
    const receiver = new Receiver();
    receiver.readsAtOnce = false;
    receiver.receive([PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, PAGE_SIZE]);
    const [first] = receiver.taken[0]!.pages;
    for (const { pages } of receiver.taken.slice(1)) for (const page of pages) receiver.ring.letGo(page);
    receiver.machine.takeEvents();
    receiver.readsAtOnce = true;
    receiver.receive(new Array<number>(4).fill(PAGE_SIZE));
    const maps = (): number => receiver.machine.takeEvents().filter((line) => line.startsWith('map')).length;
    expect(maps()).toBe(PAGES);
    receiver.ring.letGo(first!);
    receiver.receive(new Array<number>(4).fill(PAGE_SIZE));
    expect(maps()).toBe(0);
  });

  it('gives a descriptor one range and one unmap where it is told to', () => {
    const receiver = new Receiver({ contiguous: true });
    receiver.machine.takeEvents();
    receiver.receive(new Array<number>(PAGES + 1).fill(PAGE_SIZE));
    const lines = receiver.machine.takeEvents();
    expect(lines.filter((line) => line.startsWith('unmap')).length).toBe(1);
    expect(lines.filter((line) => line.startsWith('qi')).length).toBe(1);
    expect(lines.filter((line) => line.startsWith('alloc')).length).toBe(1);
  });

  it('drops a packet for which there is no descriptor', () => {
    const receiver = new Receiver({}, 1000);
    const wire = receiver.receive(new Array<number>(DESCRIPTORS * PAGES + 3).fill(PAGE_SIZE));
    expect(wire.lost).toBe(3);
    expect(receiver.nic.drops).toBe(3);
    expect(receiver.taken.length).toBe(DESCRIPTORS * PAGES);
  });

  it('announces packets together, or after a while', () => {
    const receiver = new Receiver({}, 4);
    receiver.receive(new Array<number>(8).fill(1000));
    expect(receiver.interrupts).toBe(2);
    receiver.receive([1000]);
    expect(receiver.interrupts).toBe(3);
    expect(receiver.taken.length).toBe(9);
  });

  it('sends frames, and unmaps them in batches', () => {
    const receiver = new Receiver({ sendBatch: 2 });
    const { machine, ring, events, nic } = receiver;
    machine.fill(0x5000, 66, 7);
    for (let frame = 0; frame < 3; frame += 1) expect(ring.send(machine.cpu, 0x5000, 66)).toBe(true);
    while (events.step());
    expect(nic.sentBytes).toBe(3 * 66);
    expect(nic.refused).toBe(0);
    machine.takeEvents();
    receiver.receive([100]);
    expect(machine.takeEvents().filter((line) => line.startsWith('unmap')).length).toBe(2);
  });

  it('refuses a frame when its queue is full', () => {
    const { ring, machine } = new Receiver();
    for (let frame = 0; frame < 8; frame += 1) expect(ring.send(machine.cpu, 0x5000, 66)).toBe(true);
    expect(ring.send(machine.cpu, 0x5000, 66)).toBe(false);
  });

  it.each([false, true])('gives back all that it had when it is closed (contiguous: %s)', (contiguous) => {
    const receiver = new Receiver({ contiguous });
    const { machine, ring, events } = receiver;
    receiver.receive(new Array<number>(23).fill(3000));
    ring.send(machine.cpu, 0x5000, 66);
    while (events.step());
    ring.close(machine.cpu);
    const { table } = machine.api.translatedDevice(machine.device)!.domain;
    for (const { pages } of receiver.taken)
      for (const { address } of pages) expect(table.lookup(address / 4096)).toBe(-1);
    const { frames, counters } = machine;
    const idle = new Receiver({ contiguous });
    idle.ring.close(idle.machine.cpu);
    const left = (of: typeof machine): number => of.frames.freePages + of.counters.get('tablePagesAllocated');
    expect(frames.freePages + counters.get('tablePagesAllocated')).toBe(left(idle.machine));
  });
});
