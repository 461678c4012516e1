/** A look says what the walker says, in every format: same end, same page, same entries, and nothing in memory has changed. */
import { describe, expect, it } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { RandomStream } from '../../time/random.ts';
import { AMD_V1 } from '../formats/amdV1.ts';
import { ARM_STAGE1_16K, ARM_STAGE1_4K, ARM_STAGE1_64K } from '../formats/armStage1.ts';
import { ARM_STAGE2_16K, ARM_STAGE2_4K, ARM_STAGE2_64K } from '../formats/armStage2.ts';
import { entryIndex, READ, READ_WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { RISCV_SVX4 } from '../formats/riscvSvx4.ts';
import { VTD_FIRST_STAGE } from '../formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import type { AccessBits } from '../walk/accessBits.ts';
import { Walker } from '../walk/walker.ts';
import { lookWalk } from './walkLook.ts';

const FORMATS = [
  VTD_SECOND_STAGE,
  VTD_FIRST_STAGE,
  AMD_V1,
  ARM_STAGE1_4K,
  ARM_STAGE1_16K,
  ARM_STAGE1_64K,
  ARM_STAGE2_4K,
  ARM_STAGE2_16K,
  ARM_STAGE2_64K,
  RISCV_SV,
  RISCV_SVX4,
];
const PAGE_BYTES = 4096;
const MEMORY_PAGES = 1 << 14;

/** Tables for one page, whose leaf may lie at any level that has leaves; a bit of an entry on the way may be wrong. */
function build(format: PageTableFormat, levels: number, iovaPage: number, random: RandomStream) {
  const memory = new PhysicalMemory(MEMORY_PAGES * PAGE_BYTES);
  const frames = new FrameAllocator(memory, 1, MEMORY_PAGES - 1);
  const { granulePages, rootTables, leafSizes, pagesPerEntry } = format;
  const newTable = (tables: number): number => frames.allocateContiguous(granulePages * tables, granulePages * tables);
  const root = newTable(rootTables);
  const leafLevel = leafSizes.length > 1 && random.below(3) === 0 ? 1 : 0;
  const turned = random.below(2) === 0 ? random.below(levels) : -1;
  let table = root;
  for (let level = levels - 1; level >= leafLevel; level -= 1) {
    const byte = entryIndex(format, iovaPage, level, level === levels - 1) * 8;
    const page = table + Math.floor(byte / PAGE_BYTES);
    const word = (byte % PAGE_BYTES) / 4;
    const span = pagesPerEntry[level]!;
    const permissions = random.below(2) === 0 ? READ : READ_WRITE;
    const next = level === leafLevel ? -1 : newTable(1);
    const physPage = span * (1 + random.below(100));
    let low = next < 0 ? format.leafLow(physPage, level, span, permissions) : format.tableLow(next, level);
    const high = next < 0 ? format.leafHigh(physPage, level, span, permissions) : format.tableHigh(next);
    if (level === turned) low = (low ^ (1 << random.below(12))) >>> 0;
    memory.writeWord(page, word, low);
    memory.writeWord(page, word + 1, high);
    table = next;
  }
  return { memory, root };
}

describe.each(FORMATS.map((format) => [format.name, format] as const))('%s', (_name, format) => {
  // processors' tables and AMD's have bits that hardware sets or leaves alone, and never asks for
  const refuses = format.name.startsWith('arm') || format.name.startsWith('riscv');
  const modes: readonly AccessBits[] = refuses ? ['ignored', 'checked', 'updated'] : ['ignored', 'updated'];
  it.each(modes)('with access bits %s', (accessBits) => {
    const random = new RandomStream(11);
    let found = 0;
    for (let round = 0; round < 150; round += 1) {
      const levels = format.levels[random.below(format.levels.length)]!;
      const iovaPage = random.below(Math.min(2 ** 31, format.pageLimit(levels)));
      const { memory, root } = build(format, levels, iovaPage, random);
      const walker = new Walker(memory, format, accessBits);
      for (const page of [iovaPage, (iovaPage ^ 1) >>> 0]) {
        for (const write of [false, true]) {
          const looked = lookWalk(memory, walker, root, levels, page, write);
          const allowed = walker.walkFromRoot(1, page, write, root, levels);
          expect(looked.fault).toBe(walker.fault);
          expect(looked.entries).toHaveLength(walker.reads);
          if (!allowed) continue;
          found += 1;
          expect(looked.physPage).toBe(walker.physPage(page));
          expect(looked.permissions).toBe(walker.permissions);
        }
      }
    }
    expect(found).toBeGreaterThan(40);
  });
});
