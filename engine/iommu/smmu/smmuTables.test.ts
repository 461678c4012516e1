/**
 * Stream table and context descriptors against readers written bit by bit from the tables of the specification (Arm SMMUv3
 * specification IHI 0070, 5.1 to 5.4), on entries of random bits.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { allocateContextTable, ContextDescriptorReader, writeContextDescriptor } from './contextDescriptor.ts';
import {
  C_BAD_CD,
  C_BAD_STE,
  C_BAD_STREAMID,
  C_BAD_SUBSTREAMID,
  F_STE_FETCH,
  F_STREAM_DISABLED,
  F_TRANSLATION,
  NO_SUBSTREAM,
} from './smmuEvents.ts';
import {
  allocateStreamTable,
  CONFIG_BYPASS,
  CONFIG_NESTED,
  CONFIG_STAGE_1,
  LINUX_STREAM_TABLE,
  StreamTableReader,
  writeStreamTableEntry,
  type StreamTableLayout,
} from './streamTable.ts';

const PAGES = 2 ** 16;

function memoryAndFrames() {
  const memory = new PhysicalMemory(PAGES * 4096);
  return { memory, frames: new FrameAllocator(memory, 1, PAGES - 1) };
}

/** `bytes` bytes at an address, as one number. */
function read(memory: PhysicalMemory, address: bigint, bytes: number): bigint {
  let value = 0n;
  for (let offset = bytes - 4; offset >= 0; offset -= 4) {
    const at = address + BigInt(offset);
    value = (value << 32n) | BigInt(memory.readWord(Number(at >> 12n), Number(at & 0xfffn) / 4));
  }
  return value;
}

function write(memory: PhysicalMemory, address: bigint, value: bigint, bytes: number): void {
  for (let offset = 0; offset < bytes; offset += 4) {
    const at = address + BigInt(offset);
    const word = Number((value >> BigInt(offset * 8)) & 0xffff_ffffn);
    memory.writeWord(Number(at >> 12n), Number(at & 0xfffn) / 4, word);
  }
}

function bits(value: bigint, high: number, low: number): bigint {
  return (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
}

function naiveStream(memory: PhysicalMemory, base: bigint, layout: StreamTableLayout, streamId: number) {
  if (streamId >= 2 ** layout.log2Size) return { event: C_BAD_STREAMID };
  let address = base + BigInt(streamId) * 64n;
  if (layout.split !== null) {
    const descriptor = read(memory, base + BigInt(streamId >> layout.split) * 8n, 8);
    const span = bits(descriptor, 4, 0);
    const inside = BigInt(streamId) & ((1n << BigInt(layout.split)) - 1n);
    if (span === 0n || inside >= 1n << (span - 1n)) return { event: C_BAD_STREAMID };
    address = (bits(descriptor, 51, 12) << 12n) + inside * 64n;
  }
  const entry = read(memory, address, 64);
  if (bits(entry, 0, 0) === 0n) return { event: C_BAD_STE };
  const config = Number(bits(entry, 3, 1));
  if (config < 4) return { config: 0 };
  const stage1 = config === 5 || config === 7;
  const stage2 = config === 6 || config === 7;
  const cdMax = bits(entry, 63, 59);
  if (stage1 && cdMax > 0n && (bits(entry, 5, 4) === 3n || bits(entry, 65, 64) === 3n)) return { event: C_BAD_STE };
  if (stage2 && (bits(entry, 179, 179) === 0n || bits(entry, 175, 174) === 3n || bits(entry, 167, 166) === 3n)) {
    return { event: C_BAD_STE };
  }
  const first = {
    format: Number(bits(entry, 5, 4)),
    pointer: bits(entry, 51, 6) << 6n,
    log2Contexts: Number(cdMax),
    without: Number(bits(entry, 65, 64)),
    stallDisabled: bits(entry, 91, 91) === 1n,
  };
  const second = {
    vmid: Number(bits(entry, 143, 128)),
    bits: 64 - Number(bits(entry, 165, 160)),
    start: Number(bits(entry, 167, 166)),
    granule: Number(bits(entry, 175, 174)),
    updates: bits(entry, 184, 184) === 1n,
    stalls: bits(entry, 185, 185) === 1n,
    table: Number(bits(entry, 243, 204)),
  };
  const ats = bits(entry, 93, 92) === 1n;
  return { config, ats, ...(stage1 ? { first } : {}), ...(stage2 ? { second } : {}) };
}

function readStream(reader: StreamTableReader, base: number, streamId: number) {
  if (!reader.read(base, streamId)) return { event: reader.event };
  if (reader.config === 0) return { config: 0 };
  const first = {
    format: reader.contextFormat,
    pointer: BigInt(reader.contextPage) * 4096n + BigInt(reader.contextOffset),
    log2Contexts: reader.log2Contexts,
    without: reader.withoutSubstream,
    stallDisabled: reader.stallDisabled,
  };
  const second = {
    vmid: reader.vmid,
    bits: reader.secondAddressBits,
    start: reader.secondStart,
    granule: reader.secondGranule,
    updates: reader.secondSetsAccessFlag,
    stalls: reader.secondStalls,
    table: reader.secondTablePage,
  };
  const ats = reader.atsEnabled;
  return {
    config: reader.config,
    ats,
    ...(reader.hasStage1 ? { first } : {}),
    ...(reader.hasStage2 ? { second } : {}),
  };
}

const entryBits = fc.bigInt({ min: 0n, max: (1n << 512n) - 1n });

describe('the stream table', () => {
  test('random entries in linear and two-level tables are read as the bit table says', () => {
    const layouts: StreamTableLayout[] = [
      { log2Size: 7, split: null },
      { log2Size: 10, split: 6 },
      { log2Size: 12, split: 8 },
      { log2Size: 12, split: 10 },
    ];
    for (const layout of layouts) {
      const { memory, frames } = memoryAndFrames();
      const base = allocateStreamTable(frames, layout);
      const reader = new StreamTableReader(memory, layout);
      const seconds = frames.allocateContiguous(16, 16);
      fc.assert(
        fc.property(
          fc.nat({ max: 2 ** layout.log2Size + 3 }),
          entryBits,
          fc.nat({ max: 12 }),
          (streamId, entry, span) => {
            // a valid entry with legal stage 2 half the time, or nothing would ever get through
            const shaped = entry | 1n | (bits(entry, 500, 500) << 179n);
            const value = bits(entry, 501, 501) === 1n ? entry : shaped & ~(1n << 175n) & ~(1n << 167n);
            if (layout.split === null) write(memory, BigInt(base) * 4096n + BigInt(streamId % 128) * 64n, value, 64);
            else {
              const at = BigInt(base) * 4096n + BigInt((streamId % 2 ** layout.log2Size) >> layout.split) * 8n;
              write(memory, at, (BigInt(seconds) << 12n) | BigInt(span), 8);
              write(memory, BigInt(seconds) * 4096n + BigInt(streamId % 2 ** layout.split) * 64n, value, 64);
            }
            const expected = naiveStream(memory, BigInt(base) * 4096n, layout, streamId);
            expect(readStream(reader, base, streamId)).toEqual(expected);
          },
        ),
        { seed: 5, numRuns: 400 },
      );
    }
  });

  test('what software writes is what the bit table says, and no other stream is touched (5.2)', () => {
    const { memory, frames } = memoryAndFrames();
    const base = allocateStreamTable(frames, LINUX_STREAM_TABLE);
    writeStreamTableEntry(memory, frames, base, LINUX_STREAM_TABLE, 0x1_23, {
      config: CONFIG_NESTED,
      ats: true,
      stage1: { contextPage: 0x1234, format: 1, log2Contexts: 20, withoutSubstream: 1, stallDisabled: true },
      stage2: { vmid: 0xbeef, tablePage: 0x8_7650, addressBits: 40, startLevel: 1, granule: 0, stalls: true },
    });
    const first = bits(read(memory, BigInt(base) * 4096n + 8n, 8), 51, 12) << 12n;
    const entry = read(memory, first + 0x23n * 64n, 64);
    expect(read(memory, BigInt(base) * 4096n + 8n, 8) & 0x1fn).toBe(9n);
    expect([3, 2, 1, 0].map((quarter) => bits(entry, quarter * 64 + 63, quarter * 64).toString(16))).toEqual([
      '87650000',
      (0xbeefn | (24n << 32n) | (1n << 38n) | (1n << 51n) | (1n << 57n) | (1n << 58n)).toString(16),
      (1n | (1n << 27n) | (1n << 28n)).toString(16),
      (1n | (7n << 1n) | (1n << 4n) | (0x1234n << 12n) | (20n << 59n)).toString(16),
    ]);
    const reader = new StreamTableReader(memory, LINUX_STREAM_TABLE);
    expect([reader.read(base, 0x122), reader.event]).toEqual([false, C_BAD_STE]);
    expect([reader.read(base, 0x223), reader.event]).toEqual([false, C_BAD_STREAMID]);
    expect([reader.read(base, 0x1_0000), reader.event]).toEqual([false, C_BAD_STREAMID]);
    writeStreamTableEntry(memory, frames, base, LINUX_STREAM_TABLE, 0x123, { config: CONFIG_BYPASS });
    expect([reader.read(base, 0x123), reader.config, reader.reads]).toEqual([true, CONFIG_BYPASS, 2]);
  });
});

describe('context descriptors', () => {
  test.each([0, 1, 2] as const)(
    'format %i: every substream has its own, and random bits are read as they are',
    (format) => {
      const log2Contexts = format === 0 ? 6 : 12;
      const { memory, frames } = memoryAndFrames();
      const base = allocateStreamTable(frames, LINUX_STREAM_TABLE);
      const table = allocateContextTable(frames, format, log2Contexts);
      writeStreamTableEntry(memory, frames, base, LINUX_STREAM_TABLE, 8, {
        config: CONFIG_STAGE_1,
        stage1: { contextPage: table.page, format, log2Contexts },
      });
      const stream = new StreamTableReader(memory, LINUX_STREAM_TABLE);
      const reader = new ContextDescriptorReader(memory);
      stream.read(base, 8);
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 2 ** log2Contexts - 1 }), entryBits, (substreamId, random) => {
          writeContextDescriptor(memory, frames, table, substreamId, {
            asid: 1,
            tablePage: 2,
            addressBits: 48,
            granule: 0,
          });
          const leafBits = [0, 6, 10][format]!;
          let address = BigInt(table.page) * 4096n + BigInt(substreamId) * 64n;
          if (format !== 0) {
            const pointer = read(memory, BigInt(table.page) * 4096n + BigInt(substreamId >> leafBits) * 8n, 8);
            expect(pointer & 1n).toBe(1n);
            address = (bits(pointer, 51, 12) << 12n) + BigInt(substreamId % 2 ** leafBits) * 64n;
          }
          const descriptor = bits(random, 500, 500) === 1n ? random : random | (1n << 31n) | (1n << 41n);
          write(memory, address, descriptor, 64);
          const legal =
            bits(descriptor, 31, 31) === 1n &&
            bits(descriptor, 41, 41) === 1n &&
            bits(descriptor, 14, 14) === 0n &&
            bits(descriptor, 7, 6) !== 3n;
          expect(reader.read(stream, substreamId, null)).toBe(legal);
          if (!legal) {
            expect(reader.event).toBe(C_BAD_CD);
            return;
          }
          const { asid, tablePage, addressBits, granule, setsAccessFlag, setsDirtyState, stalls, recordsFaults } =
            reader;
          expect({ asid, tablePage, addressBits, granule }).toEqual({
            asid: Number(bits(descriptor, 63, 48)),
            tablePage: Number(bits(descriptor, 115, 76)),
            addressBits: 64 - Number(bits(descriptor, 5, 0)),
            granule: Number(bits(descriptor, 7, 6)),
          });
          expect([setsDirtyState, setsAccessFlag, stalls, recordsFaults]).toEqual(
            [42, 43, 44, 45].map((place) => bits(descriptor, place, place) === 1n),
          );
        }),
        { seed: 9, numRuns: 300 },
      );
      expect([reader.read(stream, 2 ** log2Contexts, null), reader.event]).toEqual([false, C_BAD_SUBSTREAMID]);
      // with S1DSS 2 descriptor 0 belongs to transactions without a substream
      expect([reader.read(stream, 0, null), reader.event]).toEqual([false, C_BAD_SUBSTREAMID]);
    },
  );

  test('without a substream S1DSS decides: end, pass stage 1 by, or descriptor 0 (5.2)', () => {
    const { memory, frames } = memoryAndFrames();
    const base = allocateStreamTable(frames, LINUX_STREAM_TABLE);
    const table = allocateContextTable(frames, 0, 4);
    writeContextDescriptor(memory, frames, table, 0, { asid: 77, tablePage: 5, addressBits: 39, granule: 0 });
    const stream = new StreamTableReader(memory, LINUX_STREAM_TABLE);
    const reader = new ContextDescriptorReader(memory);
    const results = [0, 1, 2].map((withoutSubstream) => {
      writeStreamTableEntry(memory, frames, base, LINUX_STREAM_TABLE, 8, {
        config: CONFIG_STAGE_1,
        stage1: { contextPage: table.page, format: 0, log2Contexts: 4, withoutSubstream },
      });
      stream.read(base, 8);
      const found = reader.read(stream, NO_SUBSTREAM, null);
      return [found, found ? reader.bypass : reader.event];
    });
    expect(results).toEqual([
      [false, F_STREAM_DISABLED],
      [true, true],
      [true, false],
    ]);
    expect(reader.asid).toBe(77);
  });

  test('behind stage 2 the descriptors lie at intermediate addresses, and where it has no page the fault is its own (7.3)', () => {
    const { memory, frames } = memoryAndFrames();
    const base = allocateStreamTable(frames, LINUX_STREAM_TABLE);
    const table = allocateContextTable(frames, 1, 8);
    writeContextDescriptor(memory, frames, table, 100, { asid: 3, tablePage: 5, addressBits: 48, granule: 0 });
    const leaf = Number(bits(read(memory, BigInt(table.page) * 4096n + 8n, 8), 51, 12));
    writeStreamTableEntry(memory, frames, base, LINUX_STREAM_TABLE, 8, {
      config: CONFIG_STAGE_1,
      stage1: { contextPage: 0x9_0000, format: 1, log2Contexts: 8 },
    });
    const stream = new StreamTableReader(memory, LINUX_STREAM_TABLE);
    const reader = new ContextDescriptorReader(memory);
    stream.read(base, 8);
    const known = new Map([
      [0x9_0000, table.page],
      [leaf, leaf],
    ]);
    const stageTwo = (page: number): number => known.get(page) ?? -1;
    expect([reader.read(stream, 100, stageTwo), reader.asid, reader.reads]).toEqual([true, 3, 2]);
    known.delete(leaf);
    expect([reader.read(stream, 100, stageTwo), reader.event, reader.stage2]).toEqual([false, F_TRANSLATION, true]);
  });
});

test('an entry outside the memory cannot be fetched (F_STE_FETCH)', () => {
  const { memory } = memoryAndFrames();
  const reader = new StreamTableReader(memory, { log2Size: 8, split: null });
  expect([reader.read(PAGES - 1, 63), reader.event]).toEqual([false, C_BAD_STE]);
  expect([reader.read(PAGES - 1, 64), reader.event]).toEqual([false, F_STE_FETCH]);
});
