import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Iotlb } from './caches/iotlb.ts';
import { GenericPageTable } from './tables/tableOperationsGeneric.ts';
import { LegacyPageTable } from './tables/tableOperationsLegacy.ts';
import { VTD_SECOND_STAGE } from './formats/vtdSecondStage.ts';

const READ = 1;
const WRITE = 2;

describe('an IOTLB that is emptied when full (QEMU hw/i386/intel_iommu.c, vtd_update_iotlb)', () => {
  const geometry = { entries4K: 4, entries2M: 4, entries1G: 4, ways: 4, emptiedAt: 4 };

  test('keeps every entry up to its size, then only the new one', () => {
    const iotlb = new Iotlb(geometry);
    for (let page = 1; page <= 4; page += 1) iotlb.fill(1, page, 0, page, READ, 0, 0);
    expect([1, 2, 3, 4].map((page) => iotlb.find(1, page))).toEqual([true, true, true, true]);
    iotlb.fill(1, 5, 0, 5, READ, 0, 0);
    expect([1, 2, 3, 4, 5].map((page) => iotlb.find(1, page))).toEqual([false, false, false, false, true]);
  });

  test('counts entries of all sizes together', () => {
    const iotlb = new Iotlb(geometry);
    iotlb.fill(1, 1, 0, 1, READ, 0, 0);
    iotlb.fill(1, 2, 0, 2, READ, 0, 0);
    iotlb.fill(1, 512, 1, 512, READ, 0, 0);
    iotlb.fill(1, 1024, 1, 1024, READ, 0, 0);
    iotlb.fill(1, 3, 0, 3, READ, 0, 0);
    expect(iotlb.occupancy()).toEqual([1, 0, 0]);
  });
});

describe('a leaf that only the device writes', () => {
  test.each([
    // `DMA_FL_PTE_PRESENT` in drivers/iommu/intel/iommu.c `__domain_mapping`; device logs of 6.12 show ...003.
    ['is readable too where the older code made it', LegacyPageTable, READ | WRITE],
    // Device logs of 7.3 show ...002.
    ['is not readable where generic_pt made it', GenericPageTable, WRITE],
  ] as const)('%s', (_what, Code, expected) => {
    const memory = new PhysicalMemory(2 ** 24);
    const frames = new FrameAllocator(memory, 1, 2 ** 12 - 1);
    const table = new Code(memory, frames, VTD_SECOND_STAGE, 4, new Counters(), {
      topChanged: () => undefined,
      tablesReplaced: () => undefined,
      rangeUnmapped: () => undefined,
      alreadyMapped: () => undefined,
    });
    table.map(0xfffdf, 0x10607, 1, WRITE);
    let page = table.rootPage;
    for (let level = 3; level >= 0; level -= 1) {
      const word = memory.readWord(page, (Math.floor(0xfffdf / 512 ** level) % 512) * 2);
      if (level === 0) expect(word % 4).toBe(expected);
      page = Math.floor(word / 4096);
    }
  });
});
