/** What hardware does about accessed and dirty bits, in each format that has them; and what hints, skips and widths do to a walk. */
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_READ_NOT_ALLOWED, FAULT_RESERVED_BITS, NO_FAULT } from '../faults.ts';
import { AMD_V1 } from '../formats/amdV1.ts';
import { AMD_V2, AMD_V2_WITHOUT_PASID } from '../formats/amdV2.ts';
import { ARM_STAGE1_16K, ARM_STAGE1_4K, ARM_STAGE1_64K } from '../formats/armStage1.ts';
import { ARM_STAGE2_4K } from '../formats/armStage2.ts';
import { READ, READ_WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { VTD_FIRST_STAGE } from '../formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import type { AccessBits } from './accessBits.ts';
import { Walker } from './walker.ts';

const ROOT = 16;
const GIB_PAGES = 2 ** 18;

/** Three levels of tables at pages 16, 32 and 48, in which address 0 leads down to a leaf. */
function tables(format: PageTableFormat, leafLow: bigint, tableBits = 0n, levels = 3) {
  const memory = new PhysicalMemory(2 ** 30);
  const write = (page: number, entry: bigint, index = 0): void => {
    memory.writeWord(page, index * 2, Number(entry & 0xffff_ffffn));
    memory.writeWord(page, index * 2 + 1, Number(entry >> 32n));
  };
  const entry = (page: number): string =>
    (BigInt(memory.readWord(page, 0)) | (BigInt(memory.readWord(page, 1)) << 32n)).toString(16);
  for (let level = levels - 1; level > 0; level -= 1) {
    const page = ROOT * (levels - level);
    const low = BigInt(format.tableLow(page + ROOT, level)) & ~tableBits;
    write(page, low | (BigInt(format.tableHigh(page + ROOT)) << 32n));
  }
  const leafTable = ROOT * levels;
  write(leafTable, leafLow);
  const walk = (accessBits: AccessBits, page: number, forWrite: boolean): Walker => {
    const walker = new Walker(memory, format, accessBits);
    walker.walkFromRoot(1, page, forWrite, ROOT, levels);
    return walker;
  };
  return { memory, write, entry, leafTable, walk };
}

describe('accessed and dirty bits', () => {
  it('RISC-V: an access without them faults, or sets them; a read does not let later writes pass (12.3.2)', () => {
    const { walk, entry, leafTable } = tables(RISCV_SV, 0x17n);
    expect(walk('checked', 0, false).fault).toBe(FAULT_READ_NOT_ALLOWED);
    expect(walk('updated', 0, false)).toMatchObject({ fault: NO_FAULT, permissions: READ });
    expect(entry(leafTable)).toBe('57');
    expect(walk('checked', 0, false).fault).toBe(NO_FAULT);
    expect(walk('checked', 0, true).fault).not.toBe(NO_FAULT);
    expect(walk('updated', 0, true)).toMatchObject({ fault: NO_FAULT, permissions: READ_WRITE });
    expect(entry(leafTable)).toBe('d7');
  });

  it('VT-d first stage: tables and leaf are marked (3.6.2)', () => {
    const { walk, entry, leafTable } = tables(VTD_FIRST_STAGE, 0x7007n, 0x20n, 4);
    walk('updated', 0, true);
    expect([ROOT, 2 * ROOT, 3 * ROOT].map(entry)).toEqual(['20027', '30027', '40027']);
    expect(entry(leafTable)).toBe('7067');
  });

  it('VT-d second stage: bits 8 and 9 (3.7.2)', () => {
    const { walk, entry, leafTable } = tables(VTD_SECOND_STAGE, 0x7003n);
    walk('updated', 0, false);
    expect([entry(ROOT), entry(leafTable)]).toEqual(['20103', '7103']);
    walk('updated', 0, true);
    expect(entry(leafTable)).toBe('7303');
  });

  it('AMD: bits 5 and 6 of the leaf', () => {
    const { walk, entry, leafTable } = tables(AMD_V1, 0x6000_0000_0000_7001n);
    walk('updated', 0, true);
    expect(entry(leafTable)).toBe('6000000000007061');
  });

  it('Arm stage 1: the access flag, and with DBM a page that says read-only until it is written (D8.4.6)', () => {
    const clean = (1n << 51n) | 0x70c3n;
    const { walk, entry, leafTable } = tables(ARM_STAGE1_4K, clean);
    expect(walk('checked', 0, false).fault).toBe(FAULT_READ_NOT_ALLOWED);
    expect(walk('updated', 0, false)).toMatchObject({ fault: NO_FAULT, permissions: READ });
    expect(entry(leafTable)).toBe((clean | 0x400n).toString(16));
    expect(walk('checked', 0, true).fault).not.toBe(NO_FAULT);
    expect(walk('updated', 0, true)).toMatchObject({ fault: NO_FAULT, permissions: READ_WRITE });
    expect(entry(leafTable)).toBe(((1n << 51n) | 0x7443n).toString(16));
  });

  it('Arm stage 1: without DBM, or under a table that forbids writes, read-only stays so', () => {
    const plain = tables(ARM_STAGE1_4K, 0x70c3n);
    expect(plain.walk('updated', 0, true).fault).not.toBe(NO_FAULT);
    const below = tables(ARM_STAGE1_4K, (1n << 51n) | 0x70c3n);
    below.write(ROOT, (1n << 62n) | BigInt(ARM_STAGE1_4K.tableLow(2 * ROOT, 2)));
    expect(below.walk('updated', 0, true).fault).not.toBe(NO_FAULT);
    expect(below.entry(below.leafTable)).toBe(((1n << 51n) | 0x70c3n).toString(16));
  });

  it('Arm stage 2: with DBM the first write sets S2AP[1]', () => {
    const { walk, entry, leafTable } = tables(ARM_STAGE2_4K, (1n << 51n) | 0x7443n);
    expect(walk('updated', 0, true).fault).toBe(NO_FAULT);
    expect(entry(leafTable)).toBe(((1n << 51n) | 0x74c3n).toString(16));
  });
});

describe('Arm’s contiguous hint', () => {
  const hint = 1n << 52n;
  const leaf = (page: bigint): bigint => (page << 12n) | hint | 0x443n;

  it('makes one translation of a group: 64 KiB of 4 KiB pages, 2 MiB of 16 and of 64 KiB', () => {
    const small = tables(ARM_STAGE1_4K, leaf(0x30n)).walk('checked', 0, false);
    expect([small.coveredPages, small.level, small.physPage(0)]).toEqual([16, 0, 0x30]);
    const middle = tables(ARM_STAGE1_16K, leaf(0x400n)).walk('checked', 3, false);
    expect([middle.coveredPages, middle.level, middle.physPage(3)]).toEqual([512, 1, 0x403]);
    const large = tables(ARM_STAGE1_64K, leaf(0x600n)).walk('checked', 15, false);
    expect([large.coveredPages, large.level, large.physPage(15)]).toEqual([512, 1, 0x60f]);
  });

  it('counts for nothing where the entry has another place in its group than the address', () => {
    const walker = tables(ARM_STAGE1_4K, leaf(0x31n)).walk('checked', 0, false);
    expect([walker.coveredPages, walker.physPage(0)]).toEqual([1, 0x31]);
  });
});

describe('other ways of a walk', () => {
  it('AMD: a pointer may skip levels, for addresses whose bits there are zero (2.2.3)', () => {
    const { write, walk, leafTable } = tables(AMD_V1, 0x6000_0000_0000_7001n, 0n, 4);
    // from the root, level 4, to a table of level 1
    write(ROOT, (0x6000_0000n << 32n) | BigInt(leafTable * 4096) | (1n << 9n) | 1n);
    const walker = walk('ignored', 0, true);
    expect([walker.fault, walker.reads, walker.physPage(0)]).toEqual([NO_FAULT, 2, 7]);
    expect(walk('ignored', 512, false).fault).toBe(FAULT_READ_NOT_ALLOWED);
    expect(walk('ignored', GIB_PAGES, false).fault).toBe(FAULT_READ_NOT_ALLOWED);
  });

  it('AMD v2: addresses are signed with a PASID, and end with the lower half without one', () => {
    const upper = 2 ** 52 - 2 ** 35;
    const { memory } = tables(AMD_V2, 0x7067n, 0n, 4);
    const withPasid = new Walker(memory, AMD_V2);
    const without = new Walker(memory, AMD_V2_WITHOUT_PASID);
    expect(withPasid.walkFromRoot(1, upper, false, ROOT, 4)).toBe(false);
    expect([withPasid.fault, withPasid.reads]).toEqual([FAULT_READ_NOT_ALLOWED, 1]);
    expect(without.walkFromRoot(1, upper, false, ROOT, 4)).toBe(false);
    expect([without.fault, without.reads]).toEqual([FAULT_ADDRESS_BEYOND_WIDTH, 0]);
  });

  it('address bits above the width of the host are reserved', () => {
    const { memory } = tables(VTD_SECOND_STAGE, (1n << 40n) | 3n);
    const narrow = new Walker(memory, VTD_SECOND_STAGE, 'ignored', 39);
    expect(narrow.walkFromRoot(1, 0, false, ROOT, 3)).toBe(false);
    expect(narrow.fault).toBe(FAULT_RESERVED_BITS);
    expect(new Walker(memory, VTD_SECOND_STAGE, 'ignored', 41).walkFromRoot(1, 0, false, ROOT, 3)).toBe(true);
  });
});
