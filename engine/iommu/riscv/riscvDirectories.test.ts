/**
 * Device and process directories against readers written bit by bit from the tables of the specification, on entries of random bits
 * (RISC-V IOMMU specification 1.0, 2.1 to 2.3).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { DeviceDirectoryReader, writeDeviceContext, type DirectoryLayout } from './deviceDirectory.ts';
import { ProcessDirectoryReader, writeProcessContext } from './processDirectory.ts';
import {
  ALL_DISALLOWED,
  DDT_ENTRY_MISCONFIGURED,
  DDT_ENTRY_NOT_VALID,
  PDT_ENTRY_MISCONFIGURED,
  PDT_ENTRY_NOT_VALID,
  TYPE_DISALLOWED,
} from './riscvCauses.ts';

const PAGES = 2 ** 14;

function memoryAndFrames() {
  const memory = new PhysicalMemory(PAGES * 4096);
  return { memory, frames: new FrameAllocator(memory, 1, PAGES - 1) };
}

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
    memory.writeWord(Number(at >> 12n), Number(at & 0xfffn) / 4, Number((value >> BigInt(offset * 8)) & 0xffff_ffffn));
  }
}

function bits(value: bigint, high: number, low: number): bigint {
  return (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
}

/** DDI[0], DDI[1], DDI[2] of the two sizes of context. */
function naiveDeviceAddress(
  memory: PhysicalMemory,
  root: bigint,
  layout: DirectoryLayout,
  id: bigint,
): bigint | number {
  const widths = layout.extended ? [6, 9, 9] : [7, 9, 8];
  const shifts = [0, widths[0]!, widths[0]! + widths[1]!];
  const total = widths.slice(0, layout.levels).reduce((sum, width) => sum + width, 0);
  if (id >> BigInt(total) !== 0n) return TYPE_DISALLOWED;
  let table = root;
  for (let level = layout.levels - 1; level > 0; level -= 1) {
    const index = (id >> BigInt(shifts[level]!)) & ((1n << BigInt(widths[level]!)) - 1n);
    const entry = read(memory, table + index * 8n, 8);
    if (bits(entry, 0, 0) === 0n) return DDT_ENTRY_NOT_VALID;
    if (bits(entry, 9, 1) !== 0n || bits(entry, 63, 54) !== 0n) return DDT_ENTRY_MISCONFIGURED;
    table = bits(entry, 53, 10) << 12n;
  }
  return table + (id & ((1n << BigInt(widths[0]!)) - 1n)) * (layout.extended ? 64n : 32n);
}

function naiveContext(context: bigint) {
  if (bits(context, 0, 0) === 0n) return { cause: DDT_ENTRY_NOT_VALID };
  const flag = (place: number): boolean => bits(context, place, place) === 1n;
  const mode = Number(bits(context, 255, 252));
  const second = Number(bits(context, 127, 124));
  const staged = (value: number): boolean => value === 0 || (value >= 8 && value <= 10);
  const wrong =
    // reserved, and byte orders and widths that are not there
    bits(context, 63, 10) !== 0n ||
    bits(context, 139, 128) !== 0n ||
    bits(context, 191, 160) !== 0n ||
    bits(context, 251, 236) !== 0n ||
    !staged(second) ||
    (second !== 0 && bits(context, 65, 64) !== 0n) ||
    !(flag(5) ? mode <= 3 : staged(mode)) ||
    (!flag(1) && (flag(2) || flag(3))) ||
    (!flag(2) && flag(6)) ||
    (flag(3) && second === 0) ||
    (flag(9) && !flag(5));
  if (wrong) return { cause: DDT_ENTRY_MISCONFIGURED };
  return {
    ats: flag(1),
    processes: flag(5),
    updates: [flag(8), flag(7)],
    byDefault: flag(9),
    second: [second === 0 ? 0 : second - 5, Number(bits(context, 107, 64)), Number(bits(context, 123, 108))],
    pscid: Number(bits(context, 159, 140)),
    first: [flag(5) || mode === 0 ? mode : mode - 5, Number(bits(context, 235, 192))],
  };
}

function readContext(reader: DeviceDirectoryReader, root: number, id: number) {
  if (!reader.read(root, id)) return { cause: reader.cause };
  return {
    ats: reader.atsEnabled,
    processes: reader.processDirectory,
    updates: [reader.firstUpdates, reader.secondUpdates],
    byDefault: reader.processZeroByDefault,
    second: [reader.secondLevels, reader.secondTablePage, reader.gscid],
    pscid: reader.pscid,
    first: [reader.firstLevels, reader.firstPage],
  };
}

const LAYOUTS: readonly DirectoryLayout[] = ([1, 2, 3] as const).flatMap((levels) => [
  { levels, extended: false },
  { levels, extended: true },
]);

describe('the device directory', () => {
  test.each(LAYOUTS)('random contexts and pointers are read as the bit table says: %o', (layout) => {
    const { memory, frames } = memoryAndFrames();
    const root = frames.allocatePage();
    const reader = new DeviceDirectoryReader(memory, layout);
    const most = 2 ** ([0, 7, 16, 24][layout.levels]! - (layout.extended && layout.levels < 3 ? 1 : 0));
    let valid = 0;
    fc.assert(
      fc.property(
        fc.nat({ max: most - 1 }),
        fc.bigInt({ min: 0n, max: (1n << 256n) - 1n }),
        fc.nat({ max: 30 }),
        (id, random, spoil) => {
          writeDeviceContext(memory, frames, root, layout, id, {});
          const address = naiveDeviceAddress(memory, BigInt(root) << 12n, layout, BigInt(id));
          if (typeof address === 'number') throw new Error('the directory does not lead to what was written');
          // most bits cleared where only few are legal
          const known = ~(bits(~0n, 53, 0) << 10n) & ~(bits(~0n, 11, 0) << 128n);
          const tamed = random & known & ~(bits(~0n, 31, 0) << 160n) & ~(bits(~0n, 15, 0) << 236n) & ~(3n << 64n);
          const modes = [0n, 8n, 9n, 10n];
          const withModes =
            (tamed & ~(15n << 124n) & ~(15n << 252n)) |
            (modes[spoil % 4]! << 124n) |
            ((bits(random, 5, 5) === 1n ? BigInt(spoil % 4) : modes[(spoil >> 2) % 4]!) << 252n);
          const value = spoil < 20 ? withModes | 3n : random;
          write(memory, address, value, 32);
          const expected = naiveContext(value);
          expect(readContext(reader, root, id)).toEqual(expected);
          if (expected.cause === undefined) valid += 1;
        },
      ),
      { seed: 11, numRuns: 300 },
    );
    expect(valid).toBeGreaterThan(10);
    expect([reader.read(root, most), reader.cause]).toEqual([false, TYPE_DISALLOWED]);
    expect([reader.read(-1, 0), reader.cause]).toEqual([false, ALL_DISALLOWED]);
  });

  test('every device of a directory has a context of its own, and pointers with reserved bits are refused', () => {
    const layout: DirectoryLayout = { levels: 3, extended: false };
    const { memory, frames } = memoryAndFrames();
    const root = frames.allocatePage();
    const reader = new DeviceDirectoryReader(memory, layout);
    const ids = [0, 1, 127, 128, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0xab_cdef];
    for (const id of ids) {
      writeDeviceContext(memory, frames, root, layout, id, { pscid: id % 2 ** 20, firstLevels: 4, firstPage: id + 1 });
    }
    for (const id of ids) {
      expect([reader.read(root, id), reader.pscid, reader.firstLevels, reader.firstPage, reader.reads]).toEqual([
        true,
        id % 2 ** 20,
        4,
        id + 1,
        3,
      ]);
    }
    expect([reader.read(root, 2), reader.cause]).toEqual([false, DDT_ENTRY_NOT_VALID]);
    memory.writeWord(root, 0, memory.readWord(root, 0) | 2);
    expect([reader.read(root, 0), reader.cause]).toEqual([false, DDT_ENTRY_MISCONFIGURED]);
  });
});

describe('the process directory', () => {
  test.each([1, 2, 3])(
    'of %i levels: every process has its own context; random bits are read as they are',
    (levels) => {
      const { memory, frames } = memoryAndFrames();
      const root = frames.allocatePage();
      const reader = new ProcessDirectoryReader(memory);
      const width = [0, 8, 17, 20][levels]!;
      fc.assert(
        fc.property(fc.nat({ max: 2 ** width - 1 }), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (id, random) => {
          writeProcessContext(memory, frames, root, levels, id, { pscid: id % 2 ** 20, tablePage: id + 7, levels: 4 });
          expect([reader.read(root, levels, id, null), reader.pscid, reader.tablePage, reader.levels]).toEqual([
            true,
            id % 2 ** 20,
            id + 7,
            4,
          ]);
          let table = BigInt(root) << 12n;
          for (const [level, shift, bitsOf] of [
            [2, 17n, 7n],
            [1, 8n, 511n],
          ] as const) {
            if (level < levels)
              table = bits(read(memory, table + ((BigInt(id) >> shift) & bitsOf) * 8n, 8), 53, 10) << 12n;
          }
          const tame = random & ~(bits(~0n, 8, 0) << 3n) & ~(bits(~0n, 31, 0) << 32n) & ~(bits(~0n, 15, 0) << 108n);
          const value = bits(random, 120, 120) === 1n ? random : tame;
          write(memory, table + BigInt(id & 255) * 16n, value, 16);
          const mode = Number(bits(value, 127, 124));
          const found = reader.read(root, levels, id, null);
          if (bits(value, 0, 0) === 0n) expect([found, reader.cause]).toEqual([false, PDT_ENTRY_NOT_VALID]);
          else if (
            bits(value, 11, 3) !== 0n ||
            bits(value, 63, 32) !== 0n ||
            bits(value, 123, 108) !== 0n ||
            ![0, 8, 9, 10].includes(mode)
          ) {
            expect([found, reader.cause]).toEqual([false, PDT_ENTRY_MISCONFIGURED]);
          } else {
            const { pscid, tablePage } = reader;
            expect([found, pscid, tablePage, reader.levels]).toEqual([
              true,
              Number(bits(value, 31, 12)),
              Number(bits(value, 107, 64)),
              mode === 0 ? 0 : mode - 5,
            ]);
          }
        }),
        { seed: 4, numRuns: 200 },
      );
      expect([reader.read(root, levels, 2 ** width, null), reader.cause]).toEqual([false, TYPE_DISALLOWED]);
    },
  );

  test('behind a second stage the directory lies at guest addresses (2.3.2)', () => {
    const { memory, frames } = memoryAndFrames();
    const root = frames.allocatePage();
    const reader = new ProcessDirectoryReader(memory);
    writeProcessContext(memory, frames, root, 1, 3, { pscid: 9, tablePage: 1, levels: 3 });
    const guest = (page: number): number => (page === 0x77 ? root : -1);
    expect([reader.read(0x77, 1, 3, guest), reader.pscid]).toEqual([true, 9]);
    expect([reader.read(0x78, 1, 3, guest), reader.guestFault]).toEqual([false, true]);
  });
});
