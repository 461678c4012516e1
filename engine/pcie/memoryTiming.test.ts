/** What data takes at its place in memory, seen by a device: reads wait for it, and interrupts stay behind writes (PCI Express 2.4). */
import { describe, expect, it } from 'vitest';
import { dmaAddr } from '../memory/addresses.ts';
import { LastLevelCache } from '../memory/lastLevelCache.ts';
import { MemorySystem } from '../memory/memorySystem.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { Fabric } from './fabric.ts';

const NODE_BYTES = 2 ** 24;
const NEAR = 0x4000;
const FAR = NODE_BYTES + 0x4000;
const COSTS = {
  tableRead: nanoseconds(75),
  dramTableRead: nanoseconds(130),
  memoryRead: nanoseconds(65),
  cachedRead: nanoseconds(5),
  remoteSocket: nanoseconds(106),
  socketLinkPerLine: nanoseconds(3),
  rootComplex: nanoseconds(90),
  mmioWrite: nanoseconds(0),
};

/** A device on the first of two sockets; times of its reads, and of an interrupt behind a write. */
function machine(deviceWays: number) {
  const memory = new PhysicalMemory(2 * NODE_BYTES);
  const counters = new Counters();
  const events = new EventQueue();
  const nodes = [0, 1].map(() => ({
    pages: NODE_BYTES / 4096,
    cache: new LastLevelCache({ bytes: 2 ** 20, ways: 16, deviceWays }),
  }));
  const system = new MemorySystem(nodes, COSTS, counters);
  const fabric = new Fabric({
    events,
    memory,
    translator: null,
    costs: COSTS,
    counters,
    memoryTiming: system.seenFrom(0),
  });
  const port = fabric
    .addRootPort({
      generation: 3,
      lanes: 8,
      maxPayloadSize: 256,
      maxReadRequestSize: 512,
      propagation: nanoseconds(100),
    })
    .addFunction(0x100);
  const bytes = new Uint8Array(4096);
  const timed = (start: (done: { handleEvent: () => void }) => void): number => {
    const begun = events.now;
    let ended = -1;
    start({ handleEvent: () => (ended = events.now) });
    while (events.step());
    return ended - begun;
  };
  return {
    system,
    read: (address: number, length = 64) => timed((done) => port.read(dmaAddr(address), length, bytes, 0, done, 0, 0)),
    interruptBehindWrite: (address: number) =>
      timed((done) => {
        port.write(dmaAddr(address), 64, bytes, 0, { handleEvent: () => undefined }, 0, 0);
        port.raiseInterrupt(done, 0, 0);
      }),
  };
}

describe('data in memory, seen by a device', () => {
  it('takes the way to another socket, and DRAM or cache there', () => {
    const { system, read } = machine(2);
    const dram = read(NEAR);
    expect(read(FAR) - dram).toBe(COSTS.remoteSocket + COSTS.socketLinkPerLine);
    system.cpuWrite(0, NEAR, 64);
    expect(dram - read(NEAR)).toBe(COSTS.memoryRead - COSTS.cachedRead);
    system.cpuWrite(1, FAR, 64);
    expect(read(FAR) - read(NEAR)).toBe(COSTS.remoteSocket + COSTS.socketLinkPerLine);
  });

  it('is there for the next read of a device that wrote it, unless DDIO is off', () => {
    const gains = [2, 0].map((deviceWays) => {
      const { read, interruptBehindWrite } = machine(deviceWays);
      const before = read(NEAR);
      interruptBehindWrite(NEAR);
      return before - read(NEAR);
    });
    expect(gains).toEqual([COSTS.memoryRead - COSTS.cachedRead, 0]);
  });

  it('keeps an interrupt waiting until a write to another socket is visible there, which with DDIO is at once', () => {
    const waits = [0, 2].map((deviceWays) => {
      const { interruptBehindWrite } = machine(deviceWays);
      const near = interruptBehindWrite(NEAR);
      return interruptBehindWrite(FAR) - near;
    });
    expect(waits[0]).toBeGreaterThan(0);
    expect(waits[0]).toBeLessThanOrEqual(COSTS.remoteSocket / 2 + COSTS.socketLinkPerLine);
    expect(waits[1]).toBe(0);
  });
});
