import { describe, expect, test } from 'vitest';
import { picoseconds } from '../time/picoseconds.ts';
import { DMA_TO_DEVICE } from './attributes.ts';
import { ScatterList } from './scatterList.ts';
import { TestMachine } from './testMachine.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;

/** Only the flushes after a map, and their descriptors. */
function flushes(machine: TestMachine): string[] {
  return machine.takeEvents().filter((event) => event.startsWith('flush_np') || event.startsWith('qi'));
}

describe('caching mode (VT-d specification 6.1; drivers/iommu/intel/cache.c, cache_tag_flush_range_np)', () => {
  test('one flush for a mapping, whatever its size, without a hint', () => {
    const machine = new TestMachine({ cachingMode: true });
    const { api, cpu, device } = machine;
    api.dmaMapPhys(cpu, device, 0x10_0000, 3 * PAGE, DMA_TO_DEVICE, 0);
    expect(flushes(machine)).toEqual(['flush_np ffffc000-ffffefff ffffc000 mask 2', 'qi page ffffc000 2']);
    expect(machine.counters.get('iotlbSyncs')).toBe(1);
  });

  test('one flush for a list of many runs, and one for coherent memory', () => {
    const machine = new TestMachine({ cachingMode: true });
    const { api, cpu, device } = machine;
    const list = new ScatterList();
    for (const phys of [0x10_0000, 0x20_0000, 0x30_0000]) list.add(phys, PAGE);
    api.dmaMapSg(cpu, device, list, DMA_TO_DEVICE, 0);
    expect(flushes(machine)).toEqual(['flush_np ffffc000-ffffefff ffffc000 mask 2', 'qi page ffffc000 2']);
    api.dmaAllocCoherent(cpu, device, PAGE);
    expect(flushes(machine)).toEqual(['flush_np ffffb000-ffffbfff ffffb000 mask 0', 'qi page ffffb000 0']);
  });

  test('links flush nothing, their sync all of the range, widened to pages', () => {
    const machine = new TestMachine({ cachingMode: true });
    const { api, cpu, device } = machine;
    const state = new DmaIovaState();
    api.dmaIovaTryAlloc(cpu, device, state, 0x200, 2 * PAGE);
    for (const [phys, offset, size] of [
      [0x10_0200, 0, PAGE - 0x200],
      [0x20_0000, PAGE - 0x200, PAGE],
    ] as const) {
      api.dmaIovaLink(cpu, device, state, phys, offset, size, DMA_TO_DEVICE, 0);
    }
    expect(flushes(machine)).toEqual([]);
    api.dmaIovaSync(cpu, device, state, 0, 2 * PAGE - 0x200);
    expect(flushes(machine)).toEqual(['flush_np ffffc000-ffffdfff ffffc000 mask 1', 'qi page ffffc000 1']);
  });

  test('a map that fails flushes nothing after it', () => {
    const machine = new TestMachine({ cachingMode: true, device: { dmaMask: 0xfff } });
    const { api, cpu, device } = machine;
    api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(flushes(machine)).toEqual([]);
  });

  test('without it no map flushes', () => {
    const machine = new TestMachine();
    const { api, cpu, device } = machine;
    api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(flushes(machine)).toEqual([]);
  });
});

describe('the invalidation hint (VT-d specification 6.5.2.3)', () => {
  test.each([
    [true, 'qi page fffff000 0 hint'],
    [false, 'qi page fffff000 0'],
  ])('is given only by a kernel that gives it: %s', (givesInvalidationHint, descriptor) => {
    const machine = new TestMachine({ behaviour: { givesInvalidationHint } });
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect(flushes(machine)).toEqual([descriptor]);
  });
});

describe('caching mode seen from the device (VT-d specification 6.1: what was not present is cached too)', () => {
  test.each([
    [true, null],
    [false, 0x100],
  ])('a device that looked before the map and was not told stays outside: caching %s', (cachingMode, found) => {
    const machine = new TestMachine({ cachingMode });
    const { api, cpu, device } = machine;
    const state = new DmaIovaState();
    api.dmaIovaTryAlloc(cpu, device, state, 0, 2 * PAGE);
    expect(machine.deviceSees(state.address)).toBe(null);
    api.dmaIovaLink(cpu, device, state, 0x10_0000, 0, 2 * PAGE, DMA_TO_DEVICE, 0);
    // the driver forgot dma_iova_sync
    expect(machine.deviceSees(state.address)).toBe(found);
    expect(machine.deviceSees(state.address + PAGE)).toBe(0x101);
    api.dmaIovaSync(cpu, device, state, 0, 2 * PAGE);
    expect(machine.deviceSees(state.address)).toBe(0x100);
  });

  test('one-shot mappings flush by themselves, and a fault is not remembered beyond them', () => {
    const machine = new TestMachine({ cachingMode: true });
    const { api, cpu, device } = machine;
    const first = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(first - PAGE)).toBe(null);
    const second = api.dmaMapPhys(cpu, device, 0x20_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(second).toBe(first - PAGE);
    expect(machine.deviceSees(second)).toBe(0x200);
  });

  test('a write that is not allowed is no missing page: reading goes on', () => {
    const machine = new TestMachine({ cachingMode: true });
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect([machine.deviceSees(address, true), machine.deviceSees(address)]).toEqual([null, 0x100]);
  });

  test('a timed access that faults again counts as a hit of what is absent, and as a fault', () => {
    const machine = new TestMachine({ cachingMode: true });
    const { iommu, device, counters } = machine;
    for (const at of [0, 10]) expect(iommu.translate(device.sourceId, 5, false, 2, picoseconds(at))).toBe(false);
    expect([counters.get('iotlbMissesFaulted'), counters.get('iotlbHits4K'), counters.get('faults')]).toEqual([
      2, 2, 2,
    ]);
  });
});

describe('CAP.MAMV, the largest range of one descriptor (VT-d specification 6.5.2.3)', () => {
  test('a larger range takes the whole domain', () => {
    const machine = new TestMachine({ maximumAddressMask: 4 });
    const { api, cpu, device } = machine;
    for (const pages of [16, 17]) {
      const address = api.dmaMapPhys(cpu, device, 0x100_0000, pages * PAGE, DMA_TO_DEVICE, 0);
      api.dmaUnmapPhys(cpu, device, address, pages * PAGE, DMA_TO_DEVICE, 0);
    }
    expect(machine.takeEvents().filter((event) => /^(flush|qi)/.test(event))).toEqual([
      'flush ffff0000-ffffffff ffff0000 mask 4',
      'qi page ffff0000 4 hint',
      'flush fffc0000-fffd0fff fffc0000 mask 5',
      'qi domain 0 0',
    ]);
  });
});
