import { describe, expect, test } from 'vitest';
import { dmaAddr } from '../memory/addresses.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { DmaPort } from './dmaPort.ts';
import { Fabric } from './fabric.ts';
import type { Translator } from './translator.ts';

const COSTS = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(10), mmioWrite: nanoseconds(250) };
const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };
/** Gen 3 x8: 7.88 Gb/s a lane. */
const PS_PER_BYTE = 8000 / (7.88 * 8);

/** Adds 0x100 to a page; pages from 0x50 on are not mapped; every answer takes 40 ns. */
class Shifted implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  readonly seen: { page: number; write: boolean; accesses: number; at: number }[] = [];

  translate(_sourceId: number, page: number, write: boolean, accesses: number, at: Picoseconds): boolean {
    this.seen.push({ page, write, accesses, at });
    this.physPage = page + 0x100;
    this.readyAt = picoseconds(at + nanoseconds(40));
    return page < 0x50;
  }
}

class Bench {
  readonly events = new EventQueue();
  readonly memory = new PhysicalMemory(2 ** 24);
  readonly counters = new Counters();
  readonly port: DmaPort;
  readonly finished: { what: number; at: number; status: number }[] = [];

  constructor(translator: Translator | null) {
    const { events, memory, counters } = this;
    this.port = new Fabric({ events, memory, translator, costs: COSTS, counters }).addRootPort(LINK).addFunction(0x18);
  }

  handleEvent(kind: number): void {
    this.finished.push({ what: kind, at: this.events.now, status: this.port.lastStatus });
  }

  run(): void {
    while (this.events.step());
  }
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 3) & 255);
}

describe('data', () => {
  test('a write across pages lands behind the translation of each page, and a read brings it back', () => {
    const translator = new Shifted();
    const bench = new Bench(translator);
    const bytes = pattern(9000);
    bench.port.write(dmaAddr(0x10e00), 9000, bytes, 0, bench, 1, 0);
    bench.run();
    const landed = new Uint8Array(9000);
    bench.memory.readBytes(0x110e00, landed, 0, 9000);
    expect(landed).toEqual(bytes);
    const back = new Uint8Array(9100);
    bench.port.read(dmaAddr(0x10e00), 9000, back, 50, bench, 2, 0);
    bench.run();
    expect(back.subarray(50, 9050)).toEqual(bytes);
    expect(bench.finished.map(({ what, status }) => [what, status])).toEqual([
      [1, 0],
      [2, 0],
    ]);
  });

  test('an access is a TLP: writes by MPS, reads by MRRS, cut at page boundaries', () => {
    const translator = new Shifted();
    const bench = new Bench(translator);
    bench.port.write(dmaAddr(0x10e00), 0x200 + 4096 + 100, pattern(5000), 0, bench, 0, 0);
    bench.run();
    expect(translator.seen.map(({ page, accesses }) => [page, accesses])).toEqual([
      [0x10, 2],
      [0x11, 16],
      [0x12, 1],
    ]);
    translator.seen.length = 0;
    bench.port.read(dmaAddr(0x11000), 4096 + 513, new Uint8Array(5000), 0, bench, 0, 0);
    bench.run();
    expect(translator.seen.map(({ page, accesses }) => [page, accesses])).toEqual([
      [0x11, 8],
      [0x12, 2],
    ]);
  });

  test('a refused write is dropped, a refused read gives zeros, and both say so', () => {
    const bench = new Bench(new Shifted());
    bench.port.write(dmaAddr(0x4f800), 4096, pattern(4096), 0, bench, 1, 0);
    bench.run();
    const landed = new Uint8Array(4096);
    bench.memory.readBytes(0x14f800, landed, 0, 4096);
    expect(landed.subarray(0, 2048)).toEqual(pattern(4096).subarray(0, 2048));
    expect(landed.subarray(2048).every((byte) => byte === 0)).toBe(true);
    const back = new Uint8Array(4096).fill(9);
    bench.port.read(dmaAddr(0x4f800), 4096, back, 0, bench, 2, 0);
    bench.run();
    expect(back.subarray(2048).every((byte) => byte === 0)).toBe(true);
    expect(bench.finished.map(({ status }) => status)).toEqual([1, 1]);
  });

  test('without an IOMMU a bus address is a physical address', () => {
    const bench = new Bench(null);
    bench.port.write(dmaAddr(0x3000), 8, pattern(8), 0, bench, 0, 0);
    bench.run();
    expect(bench.memory.readWord(3, 0)).toBe(0x18_11_0a_03);
  });
});

describe('time', () => {
  test('a 64-byte read is two propagations, two passages of the root complex, memory, and the wire', () => {
    const bench = new Bench(null);
    bench.port.read(dmaAddr(0x3000), 64, new Uint8Array(64), 0, bench, 0, 0);
    bench.run();
    const wire = Math.ceil(24 * PS_PER_BYTE) + Math.ceil(84 * PS_PER_BYTE);
    expect(bench.finished[0]?.at).toBe(nanoseconds(2 * 120 + 2 * 90 + 10) + wire);
  });

  test('writes are bound by the wire: 256-byte TLPs with 24 bytes each', () => {
    const bench = new Bench(null);
    for (let write = 0; write < 1000; write += 1) {
      bench.port.write(dmaAddr(0x3000), 4096, pattern(4096), 0, bench, 0, 0);
    }
    bench.run();
    const seconds = bench.finished.at(-1)!.at / 1e12;
    const gigabytes = (1000 * 4096) / 1e9;
    expect(gigabytes / seconds).toBeCloseTo((256 / 280) * 7.88, 1);
    expect(bench.counters.get('linkBytesUpstream')).toBe(1000 * 16 * 280);
    expect(bench.counters.get('tlps')).toBe(16_000);
  });

  test('read completions carry up to MPS each, 20 bytes of overhead with them (PCIe 2.3.1.1)', () => {
    const bench = new Bench(null);
    bench.port.read(dmaAddr(0x3000), 4096, new Uint8Array(4096), 0, bench, 0, 0);
    bench.run();
    expect(bench.counters.get('linkBytesUpstream')).toBe(8 * 24);
    expect(bench.counters.get('linkBytesDownstream')).toBe(16 * 276);
    expect(bench.counters.get('tlps')).toBe(8 + 16);
  });

  test('neither a later write nor an interrupt passes a write that waits for its translation (PCIe 2.4)', () => {
    class Slow extends Shifted {
      override translate(sourceId: number, page: number, write: boolean, accesses: number, at: Picoseconds): boolean {
        const allowed = super.translate(sourceId, page, write, accesses, at);
        if (page === 0x10) this.readyAt = picoseconds(at + nanoseconds(5000));
        return allowed;
      }
    }
    const bench = new Bench(new Slow());
    bench.port.write(dmaAddr(0x10000), 64, pattern(64), 0, bench, 1, 0);
    bench.port.write(dmaAddr(0x20000), 16, pattern(16), 0, bench, 2, 0);
    bench.port.raiseInterrupt(bench, 3, 0);
    bench.run();
    expect(bench.finished.map(({ what }) => what)).toEqual([1, 2, 3]);
    expect(bench.finished[2]!.at).toBeGreaterThanOrEqual(nanoseconds(5000));
  });
});
