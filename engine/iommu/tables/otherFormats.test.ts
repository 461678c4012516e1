/** The kernel's page-table code over Arm's and RISC-V's tables: what it writes reads, by the specification's bit table, as what was mapped. */
import { describe, expect, it } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { RandomStream } from '../../time/random.ts';
import { ARM_STAGE1_4K } from '../formats/armStage1.ts';
import { naiveArmWalk, naiveRiscvWalk } from '../formats/naiveWalks.ts';
import { READ, READ_WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { GenericPageTable } from './tableOperationsGeneric.ts';

const LEVELS = 4;

function build(format: PageTableFormat) {
  const memory = new PhysicalMemory(2 ** 32);
  const frames = new FrameAllocator(memory, 2 ** 19, 2 ** 19);
  const table = new GenericPageTable(memory, frames, format, LEVELS, new Counters(), {
    topChanged: () => undefined,
    tablesReplaced: () => undefined,
    rangeUnmapped: () => undefined,
    alreadyMapped: () => undefined,
  });
  const walk = (page: number, write: boolean): bigint | null => {
    const root = BigInt(table.rootPage) << 12n;
    const address = BigInt(page) << 12n;
    return format === RISCV_SV
      ? naiveRiscvWalk(memory, LEVELS, 0n, root, address, write)
      : naiveArmWalk(memory, 1, 12n, LEVELS, 48n, root, address, write);
  };
  return { memory, table, walk };
}

describe.each([ARM_STAGE1_4K, RISCV_SV])('$name', (format) => {
  it('maps and unmaps ranges as a plain map of pages does', () => {
    const random = new RandomStream(5).fork(format.name);
    for (let round = 0; round < 20; round += 1) {
      const { table, walk } = build(format);
      const plain = new Map<number, { phys: number; write: boolean }>();
      const starts: number[] = [];
      for (let call = 0; call < 25; call += 1) {
        const remove = random.below(3) === 0 && starts.length > 0;
        const first = remove ? starts[random.below(starts.length)]! : random.below(8) * 512 + random.below(40) * 8;
        const pages = [1, 2, 16, 40, 512, 700][random.below(6)]!;
        if (remove) {
          const removed = table.unmap(first, pages);
          for (let page = first; page < first + removed; page += 1) expect(plain.delete(page)).toBe(true);
        } else {
          const phys = 2 ** 20 + first + (random.below(2) === 0 ? 0 : 3);
          const write = random.below(3) > 0;
          const mapped = table.map(first, phys, pages, write ? READ_WRITE : READ);
          for (let page = 0; page < mapped; page += 1) {
            expect(plain.has(first + page)).toBe(false);
            plain.set(first + page, { phys: phys + page, write });
          }
          if (mapped > 0) starts.push(first);
        }
        table.releaseTables(table.detachedTables);
        table.detachedTables = [];
        for (let look = 0; look < 30; look += 1) {
          const page = random.below(9 * 512);
          const there = plain.get(page);
          expect(table.lookup(page)).toBe(there?.phys ?? -1);
          expect(walk(page, false)).toBe(there === undefined ? null : BigInt(there.phys) << 12n);
          expect(walk(page, true)).toBe(there?.write === true ? BigInt(there.phys) << 12n : null);
        }
      }
    }
  });
});

describe('what is written for 64 KiB', () => {
  it('RISC-V: sixteen equal entries with N, whose page number ends in 1000 (Svnapot)', () => {
    const { memory, table } = build(RISCV_SV);
    table.map(16, 32, 16, READ_WRITE);
    expect(table.leafWrites).toBe(16);
    expect(table.lookup(31)).toBe(47);
    let page = table.rootPage;
    for (let level = LEVELS - 1; level > 0; level -= 1) {
      page = RISCV_SV.target(memory.readWord(page, 0), memory.readWord(page, 1), level);
    }
    for (let index = 16; index < 32; index += 1) {
      expect([memory.readWord(page, index * 2), memory.readWord(page, index * 2 + 1)]).toEqual([0xa0d7, 0x8000_0000]);
    }
  });

  it('Arm: sixteen entries of their own, without the Contiguous bit, as io-pgtable-arm.c writes them', () => {
    const { memory, table } = build(ARM_STAGE1_4K);
    table.map(16, 32, 16, READ_WRITE);
    let page = table.rootPage;
    for (let level = LEVELS - 1; level > 0; level -= 1) {
      page = ARM_STAGE1_4K.target(memory.readWord(page, 0), memory.readWord(page, 1), level);
    }
    for (let index = 16; index < 32; index += 1) {
      expect(memory.readWord(page, index * 2) >>> 12).toBe(index + 16);
      expect(memory.readWord(page, index * 2 + 1)).toBe(0);
    }
  });
});
