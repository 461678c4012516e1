/** The plain DMA engine: what it moves, and what happens where it may not (QEMU docs/specs/edu.rst, "DMA controller"). */
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Fabric } from '../pcie/fabric.ts';
import type { Translator } from '../pcie/translator.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { EduDevice } from './eduDevice.ts';

const LINK = { generation: 3, lanes: 1, maxPayloadSize: 128, maxReadRequestSize: 128, propagation: nanoseconds(10) };

/** Adds 0x10 to a page; pages from 8 on are not mapped. */
class FewPages implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);

  translate(_sourceId: number, page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.physPage = page + 0x10;
    this.readyAt = at;
    return page < 8;
  }
}

class Bench {
  readonly events = new EventQueue();
  readonly memory = new PhysicalMemory(2 ** 20);
  readonly edu: EduDevice;

  constructor() {
    const costs = { rootComplex: nanoseconds(1), memoryRead: nanoseconds(1), mmioWrite: nanoseconds(1) };
    const { events, memory } = this;
    const fabric = new Fabric({ events, memory, translator: new FewPages(), costs, counters: new Counters() });
    this.edu = new EduDevice(fabric.addRootPort(LINK).addFunction(0x20));
  }

  settle(): void {
    while (this.events.step());
  }
}

describe('a DMA engine with a buffer of its own', () => {
  it('brings bytes from one bus address to another', () => {
    const bench = new Bench();
    const bytes = Uint8Array.from({ length: 300 }, (_, index) => index % 251);
    bench.memory.writeBytes(0x1_1f80, bytes, 0, bytes.length);
    bench.edu.fetch(0x1f80, bytes.length);
    bench.settle();
    bench.edu.store(0x4000, bytes.length);
    bench.settle();
    const moved = new Uint8Array(bytes.length);
    bench.memory.readBytes(0x1_4000, moved, 0, moved.length);
    expect(moved).toEqual(bytes);
    expect(bench.edu.refused).toBe(false);
  });

  it('reads zeros and writes nothing where no translation is, up to the page', () => {
    const bench = new Bench();
    bench.memory.writeBytes(0x1_7ff0, new Uint8Array(64).fill(0x33), 0, 64);
    bench.edu.fetch(0x7ff0, 32);
    bench.settle();
    expect(bench.edu.refused).toBe(true);
    expect([...bench.edu.buffer.subarray(0, 32)]).toEqual([
      ...Array<number>(16).fill(0x33),
      ...Array<number>(16).fill(0),
    ]);
    bench.edu.buffer.fill(0x55);
    bench.edu.store(0x7ff0, 32);
    bench.settle();
    const after = new Uint8Array(32);
    bench.memory.readBytes(0x1_7ff0, after, 0, 32);
    expect([...after]).toEqual([...Array<number>(16).fill(0x55), ...Array<number>(16).fill(0x33)]);
  });

  it('is busy until the transfer has ended, and then not', () => {
    const bench = new Bench();
    bench.edu.fetch(0x1000, 4096);
    expect(bench.edu.busy).toBe(true);
    expect(() => {
      bench.edu.store(0x1000, 1);
    }).toThrow(/while a transfer was under way/);
    bench.settle();
    expect(bench.edu.busy).toBe(false);
  });

  it.each([0, 4097, Number.NaN])('does not begin a transfer of %s bytes', (count) => {
    expect(() => {
      new Bench().edu.fetch(0x1000, count);
    }).toThrow(RangeError);
  });
});
