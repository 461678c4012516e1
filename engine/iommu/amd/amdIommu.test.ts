/** AMD's hardware side, bit by bit (AMD specification 48882, 2.2.2.1 device table entries, 2.4 commands). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { EventLog } from '../../metrics/eventLog.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import { AmdCommandBuffer } from './amdCommandBuffer.ts';
import { invalidateDeviceEntry, invalidateDomain, invalidatePages } from './amdCommands.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { allocateDeviceTable, writeDeviceTableEntry } from './amdDeviceTable.ts';
import { DeviceTableReader } from './deviceTableReader.ts';
import { AMD_V1 } from '../formats/amdV1.ts';
import { FAULT_CONTEXT_NOT_PRESENT } from '../faults.ts';
import { Iommu } from '../iommu.ts';
import { readEntry, writeEntry } from '../formats/naiveTables.ts';
import { GenericPageTable } from '../tables/tableOperationsGeneric.ts';

const DEVICE = 0x1_23;
const DOMAIN = 0xabc;
const FREE = picoseconds(0);

function machine() {
  const memory = new PhysicalMemory(2 ** 33);
  const frames = new FrameAllocator(memory, 1, 2 ** 21 - 1);
  const counters = new Counters();
  const log = new EventLog();
  const iommu = new Iommu({
    name: 'iommu0',
    memory,
    frames,
    counters,
    log,
    vendor: 'amd',
    geometry: {
      iotlb: { entries4K: 128, entries2M: 32, entries1G: 16, ways: 16 },
      pagingCache: { entries512G: 8, entries1G: 16, entries2M: 64 },
      contextCacheEntries: 16,
      walkers: 2,
    },
    costs: {
      iotlbHit: FREE,
      contextCacheHit: FREE,
      pagingCacheLookup: FREE,
      tableRead: FREE,
      walkOverhead: FREE,
      invalidationWait: nanoseconds(900),
      invalidationService: nanoseconds(350),
      invalidationDescriptor: nanoseconds(60),
    },
  });
  const deviceTable = allocateDeviceTable(memory, frames);
  iommu.setRootTable(deviceTable);
  const attach = (): void => {
    writeDeviceTableEntry(memory, deviceTable, DEVICE, {
      domainId: DOMAIN,
      tablePage: table.rootPage,
      levels: table.levels,
    });
  };
  const table = new GenericPageTable(memory, frames, AMD_V1, 3, counters, {
    topChanged: attach,
    tablesReplaced: () => undefined,
    rangeUnmapped: () => undefined,
    alreadyMapped: () => undefined,
  });
  attach();
  const see = (page: number, write = false, sourceId = DEVICE): number | null =>
    iommu.translate(sourceId, page, write, 1, FREE) ? iommu.physPage : null;
  const submit = (...words: number[]): void => {
    iommu.invalidationQueue.submit(new Uint32Array(words), words.length / 4, FREE);
  };
  return { memory, frames, counters, log, iommu, deviceTable, table, attach, see, submit };
}

/** The 256 bits of a device's entry, low quarter first. */
function deviceEntry(memory: PhysicalMemory, base: number, sourceId: number): bigint[] {
  const page = base + Math.floor(sourceId / 128);
  return [0, 1, 2, 3].map((quarter) => readEntry(memory, page, (sourceId % 128) * 4 + quarter));
}

describe('the device table', () => {
  test('an entry: V, TV, mode, root, IR and IW, domain (2.2.2.1)', () => {
    const { memory, deviceTable } = machine();
    writeDeviceTableEntry(memory, deviceTable, 0xffff, { domainId: 0x1234, tablePage: 0x98_7654_3210, levels: 4 });
    expect(deviceEntry(memory, deviceTable, 0xffff).map((word) => word.toString(16))).toEqual([
      '6009876543210803',
      '1234',
      '0',
      '0',
    ]);
    const reader = new DeviceTableReader(memory);
    expect(reader.read(deviceTable, 0xffff, NO_PASID)).toBe(true);
    const { domainId, tablePage, levels, passthrough } = reader;
    expect({ domainId, tablePage, levels, passthrough }).toEqual({
      domainId: 0x1234,
      tablePage: 0x98_7654_3210,
      levels: 4,
      passthrough: false,
    });
  });

  test('every entry of a new table is valid and allows nothing, so that no device gets through', () => {
    const { memory, frames, see, log } = machine();
    const fresh = allocateDeviceTable(memory, frames);
    expect(fresh % 512).toBe(0);
    for (const sourceId of [0, 1, 127, 128, 0x8000, 0xffff]) {
      expect(deviceEntry(memory, fresh, sourceId)).toEqual([3n, 0n, 0n, 0n]);
    }
    expect(see(5, false, 0x77)).toBe(null);
    expect(log.entries()[0]?.message).toContain('DMA read by 00:0e.7 at 0x5000 refused');
  });

  test('without V a device is not translated at all; without TV, or with nothing allowed, it is refused', () => {
    const { memory, deviceTable } = machine();
    const reader = new DeviceTableReader(memory);
    const read = (entry: bigint): string => {
      writeEntry(memory, deviceTable, 7 * 4, entry);
      if (!reader.read(deviceTable, 7, NO_PASID))
        return reader.fault === FAULT_CONTEXT_NOT_PRESENT ? 'refused' : 'other';
      return reader.passthrough ? 'passes' : `walks ${reader.levels} from ${reader.tablePage}`;
    };
    const allowed = 3n << 61n;
    expect(read(0n)).toBe('passes');
    expect(read(2n | allowed)).toBe('passes');
    expect(read(1n | allowed)).toBe('refused');
    expect(read(3n)).toBe('refused');
    expect(read(3n | allowed)).toBe('passes');
    expect(read(3n | (5n << 9n) | (77n << 12n) | allowed)).toBe('walks 5 from 77');
  });
});

describe('translation', () => {
  test('addresses of 64 bits, by tables that grew: the device sees what was mapped before and after', () => {
    const { table, see, submit, deviceTable, memory } = machine();
    table.map(5, 50, 1, 3);
    expect(see(5)).toBe(50);
    table.map(2 ** 52 - 1, 60, 1, 3);
    // the old mode is still cached: the new address lies beyond it
    expect(see(2 ** 52 - 1)).toBe(null);
    submit(DEVICE, 0x2000_0000, 0, 0);
    expect([see(2 ** 52 - 1), see(5)]).toEqual([60, 50]);
    expect((deviceEntry(memory, deviceTable, DEVICE)[0]! >> 9n) & 7n).toBe(6n);
  });

  test('every page of leaves of every size, against the tables', () => {
    const { table, see } = machine();
    let at = 0;
    for (let bits = 0; bits < 22; bits += 1) {
      const pages = 2 ** bits;
      at = Math.ceil((at + 1) / pages) * pages;
      const phys = 2 ** 30 + pages * 3;
      expect(table.map(at, phys, pages, 3)).toBe(pages);
      for (const inside of [0, 1, pages - 1, pages >> 1]) {
        if (inside < pages) expect(see(at + inside)).toBe(phys + inside);
      }
      at += pages;
    }
  });

  test('a write needs IW on the whole way', () => {
    const { table, see, log } = machine();
    table.map(1, 10, 1, 1);
    table.map(2, 20, 1, 2);
    expect([see(1), see(1, true), see(2), see(2, true)]).toEqual([10, null, null, 20]);
    expect(log.entries()).toHaveLength(2);
  });

  test('what was cached is used after its entry is gone, until the command; then the device faults', () => {
    const { table, see, iommu, counters } = machine();
    table.map(0x100, 7, 4, 3);
    for (let page = 0x100; page < 0x104; page += 1) see(page);
    table.unmap(0x100, 4);
    expect(see(0x102)).toBe(9);
    expect(counters.get('staleWindowAccesses')).toBe(1);
    const command = new Uint32Array(4);
    invalidatePages(command, 0, DOMAIN, 0x101, 0x102);
    iommu.invalidationQueue.submit(command, 1, FREE);
    expect([0x100, 0x101, 0x102, 0x103].map((page) => see(page))).toEqual([null, null, null, null]);
  });
});

/** `address`, S and PDE of a command, and where it belongs. */
function fields(command: Uint32Array): { opcode: number; domain: number; address: bigint; s: number; pde: number } {
  const first = BigInt(command[0]!) | (BigInt(command[1]!) << 32n);
  const second = BigInt(command[2]!) | (BigInt(command[3]!) << 32n);
  return {
    opcode: Number(first >> 60n),
    domain: Number((first >> 32n) & 0xffffn),
    address: second & ~0xfffn,
    s: Number(second & 1n),
    pde: Number((second >> 1n) & 1n),
  };
}

describe('commands', () => {
  test('INVALIDATE_IOMMU_PAGES names one page without S, and the smallest aligned range with it (2.4.3)', () => {
    const command = new Uint32Array(4);
    const page = fc.oneof(
      fc.nat(5000),
      fc.nat(2 ** 31 - 1),
      fc.maxSafeInteger().map((value) => Math.abs(value) % 2 ** 52),
    );
    fc.assert(
      fc.property(page, fc.oneof(fc.nat(700), fc.nat(2 ** 31 - 1)), (first, more) => {
        const last = Math.min(first + more, 2 ** 52 - 1);
        invalidatePages(command, 0, DOMAIN, first, last);
        const { opcode, domain, address, s, pde } = fields(command);
        expect([opcode, domain, pde]).toEqual([3, DOMAIN, 1]);
        let bits = 12n;
        if (s === 1) {
          while ((address >> bits) % 2n === 1n) bits += 1n;
          bits += 1n;
        }
        const start = (address >> bits) << bits;
        expect(start <= BigInt(first) << 12n).toBe(true);
        expect(start + (1n << bits) > BigInt(last) << 12n).toBe(true);
        // no smaller aligned range would hold both
        if (bits > 12n && bits < 64n) {
          const half = bits - 1n;
          expect((BigInt(first) << 12n) >> half).not.toBe((BigInt(last) << 12n) >> half);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('all pages of a domain: 0x7ffffffffffff in the address (CMD_INV_IOMMU_ALL_PAGES_ADDRESS)', () => {
    const command = new Uint32Array(4);
    invalidateDomain(command, 0, DOMAIN);
    expect([...command].map((word) => word.toString(16))).toEqual(['0', '30000abc', 'fffff003', '7fffffff']);
    invalidatePages(command, 0, DOMAIN, 0, 2 ** 52 - 1);
    expect(command[3]).toBe(0x7fff_ffff);
    invalidateDeviceEntry(command, 0, DEVICE);
    expect([...command]).toEqual([DEVICE, 0x2000_0000, 0, 0]);
  });

  test('the hardware drops exactly the range that the bits name, of this domain only', () => {
    const range = fc.record({ first: fc.nat(300), last: fc.nat(300) });
    fc.assert(
      fc.property(range, ({ first, last }) => {
        const { iommu } = machine();
        const [low, high] = [Math.min(first, last), Math.max(first, last)];
        const command = new Uint32Array(4);
        for (const page of [low - 1, low, high, high + 1]) {
          for (const domain of [DOMAIN, DOMAIN + 1]) iommu.iotlb.fill(domain, page + 512, 0, 1, 3, -1, 0);
        }
        invalidatePages(command, 0, DOMAIN, low + 512, high + 512);
        iommu.invalidationQueue.submit(command, 1, FREE);
        let span = 1;
        while (Math.floor((low + 512) / span) !== Math.floor((high + 512) / span)) span *= 2;
        const start = Math.floor((low + 512) / span) * span;
        for (const page of [low + 511, low + 512, high + 512, high + 513]) {
          expect(iommu.iotlb.find(DOMAIN, page)).toBe(page < start || page >= start + span);
          expect(iommu.iotlb.find(DOMAIN + 1, page)).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('without PDE the upper levels stay cached, with it they are read again', () => {
    const { table, see, submit, counters } = machine();
    table.map(0x100, 7, 1, 3);
    see(0x100);
    const reads = (pde: number): number => {
      submit(0, 0x3000_0000 | DOMAIN, 0x10_0000 | pde, 0);
      const before = counters.get('tableReads');
      see(0x100);
      return counters.get('tableReads') - before;
    };
    expect([reads(0), reads(2)]).toEqual([1, 3]);
  });

  test('INVALIDATE_DEVTAB_ENTRY makes the hardware read the entry of one device again (2.4.2)', () => {
    const { memory, deviceTable, table, see, submit } = machine();
    table.map(5, 50, 1, 3);
    see(5);
    writeDeviceTableEntry(memory, deviceTable, DEVICE, { domainId: 1, tablePage: 0, levels: 0 });
    submit(DEVICE + 1, 0x2000_0000, 0, 0);
    expect(see(5)).toBe(50);
    submit(DEVICE, 0x2000_0000, 0, 0);
    expect(see(5)).toBe(5);
  });

  test('INVALIDATE_IOMMU_ALL empties every cache (2.4.8)', () => {
    const { table, see, submit, iommu, counters } = machine();
    table.map(5, 50, 1, 3);
    see(5);
    submit(0, 0x8000_0000, 0, 0);
    expect(iommu.iotlb.occupancy()).toEqual([0, 0, 0]);
    expect(iommu.contextCache.find(DEVICE, NO_PASID)).toBe(false);
    expect(counters.get('invalidationsGlobal')).toBe(1);
  });

  test('COMPLETION_WAIT stores all 64 bits of its data where its address says, only with S (2.4.1)', () => {
    const { memory, frames, submit } = machine();
    const page = frames.allocatePage();
    const low = (page * 4096 + 0x238) % 2 ** 32;
    const high = Math.floor((page * 4096) / 2 ** 32);
    submit(low, 0x1000_0000 | high, 0x1111_1111, 0x2222_2222);
    expect(readEntry(memory, page, 0x238 / 8)).toBe(0n);
    submit(low + 1, 0x1000_0000 | high, 0x1111_1111, 0x2222_2222);
    expect(readEntry(memory, page, 0x238 / 8)).toBe(0x2222_2222_1111_1111n);
  });

  test('the ring wraps, every command is answered, and CPUs queue behind each other', () => {
    const { iommu, memory, counters } = machine();
    const queue = iommu.invalidationQueue;
    const command = new Uint32Array(4);
    invalidatePages(command, 0, DOMAIN, 1, 1);
    for (let round = 0; round < 300; round += 1) queue.submit(command, 1, FREE);
    expect(counters.get('invalidationsPage')).toBe(300);
    expect(counters.get('invalidationWaits')).toBe(300);
    const opcodes = Array.from({ length: 256 }, (_, slot) => memory.readWord(queue.ringPage, slot * 4 + 1) >>> 28);
    expect(new Set(opcodes)).toEqual(new Set([1, 3]));
    expect(queue).toBeInstanceOf(AmdCommandBuffer);
    const free = 300 * 350;
    expect(queue.submit(command, 1, nanoseconds(free))).toBe(nanoseconds(free + 900));
    expect(queue.submit(command, 1, nanoseconds(free))).toBe(nanoseconds(free + 350 + 900));
  });
});
