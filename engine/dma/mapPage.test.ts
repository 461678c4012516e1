import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { DMA_ATTR_MMIO, DMA_FROM_DEVICE } from './attributes.ts';
import { dmaMapPage } from './mapPage.ts';
import { TestMachine } from './testMachine.ts';

describe('dma_map_page_attrs (kernel/dma/mapping.c)', () => {
  test.each(['7.2', '7.3'] as const)('%s refuses what is no memory before anything is reserved', (profile) => {
    const { api, cpu, device, events } = new TestMachine({ profile });
    expect(dmaMapPage(cpu, api, device, 0x1000, 4096, DMA_FROM_DEVICE, DMA_ATTR_MMIO)).toBe(DMA_MAPPING_ERROR);
    expect(events).toEqual([]);
  });

  test.each(['6.12', '6.17'] as const)('%s knows no such attribute', (profile) => {
    const { api, cpu, device } = new TestMachine({ profile });
    expect(dmaMapPage(cpu, api, device, 0x1000, 4096, DMA_FROM_DEVICE, DMA_ATTR_MMIO)).toBe(0xffff_f000);
  });
});
