/**
 * Situations that people argue about when they talk of mapping schemes, each with what a kernel does in numbers. Fresh caches,
 * a coherent device, pages of 4 KiB.
 */
import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { DMA_FROM_DEVICE } from './attributes.ts';
import type { KernelProfileName } from './kernels/profiles.ts';
import { ScatterList } from './scatterList.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';
import { takeWork, work } from './testMeter.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;
const PAGES = 32;
const SIZE = PAGES * PAGE;
/** 128 KiB in pages that nowhere follow each other. */
const SCATTERED = Array.from({ length: PAGES }, (_, index) => 0x1_2000_0000 + index * 2 * PAGE);

function machineOf(profile: KernelProfileName, options: TestMachineOptions = {}): TestMachine {
  // as the NVMe driver sets itself up
  return new TestMachine({ profile, ...options, device: { maxSegmentSize: 2 ** 32 - 1, minAlignMask: 4095 } });
}

function twoStepMap(machine: TestMachine, state: DmaIovaState): void {
  const { api, cpu, device } = machine;
  expect(api.dmaIovaTryAlloc(cpu, device, state, 0, SIZE)).toBe(true);
  for (const [index, phys] of SCATTERED.entries()) {
    expect(api.dmaIovaLink(cpu, device, state, phys, index * PAGE, PAGE, DMA_FROM_DEVICE, 0)).toBe(0);
  }
  expect(api.dmaIovaSync(cpu, device, state, 0, SIZE)).toBe(0);
}

describe('128 KiB of scattered pages through dma_map_phys, page by page', () => {
  test.each(['7.2', '7.3', 'ideal'] as const)(
    '%s, lazy: 32 of everything, and 32 entries in the flush queue',
    (profile) => {
      const machine = machineOf(profile, { domain: 'lazy' });
      const addresses = mapEach(machine);
      expect(takeWork(machine)).toEqual(work({ iovaAllocations: 32, maps: 32 }));
      unmapEach(machine, addresses);
      expect(takeWork(machine)).toEqual(work({ unmaps: 32, queueEntries: 32 }));
    },
  );

  test.each(['6.12', '7.2', '7.3', 'ideal'] as const)('%s, strict: 32 flushes that the CPU waits for', (profile) => {
    const machine = machineOf(profile);
    const addresses = mapEach(machine);
    takeWork(machine);
    unmapEach(machine, addresses);
    expect(takeWork(machine)).toEqual(work({ unmaps: 32, flushes: 32, iovaFrees: 32 }));
  });

  test('7.3, caching mode: every map flushes, where two-step flushes once for all', () => {
    const machine = machineOf('7.3', { cachingMode: true });
    mapEach(machine);
    expect(takeWork(machine)).toEqual(work({ iovaAllocations: 32, maps: 32, flushesAfterMap: 32 }));
    twoStepMap(machine, new DmaIovaState());
    expect(takeWork(machine)).toEqual(work({ iovaAllocations: 1, maps: 32, syncs: 1, flushesAfterMap: 1 }));
  });

  function mapEach(machine: TestMachine): number[] {
    const { api, cpu, device } = machine;
    return SCATTERED.map((phys) => api.dmaMapPhys(cpu, device, phys, PAGE, DMA_FROM_DEVICE, 0));
  }

  function unmapEach(machine: TestMachine, addresses: readonly number[]): void {
    const { api, cpu, device } = machine;
    for (const address of addresses) api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_FROM_DEVICE, 0);
  }
});

describe('128 KiB of scattered pages through dma_map_sg', () => {
  function listOf(): ScatterList {
    const list = new ScatterList();
    for (const phys of SCATTERED) list.add(phys, PAGE);
    return list;
  }

  test.each(['6.12', '7.2', '7.3', 'ideal'] as const)('%s, lazy: one range, one segment, one unmap', (profile) => {
    const machine = machineOf(profile, { domain: 'lazy' });
    const { api, cpu, device } = machine;
    const list = listOf();
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(1);
    expect(takeWork(machine)).toEqual(work({ iovaAllocations: 1, maps: 32 }));
    api.dmaUnmapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    expect(takeWork(machine)).toEqual(work({ unmaps: 1, queueEntries: 1 }));
  });

  test('7.3: as many segments as the device’s longest segment makes of it', () => {
    const machine = new TestMachine({ profile: '7.3' });
    expect(machine.api.dmaMapSg(machine.cpu, machine.device, listOf(), DMA_FROM_DEVICE, 0)).toBe(2);
  });
});

describe('128 KiB of scattered pages without translation', () => {
  test.each(['passthrough', 'none'] as const)(
    '7.3, %s: no range of IOVA, physical addresses, nothing to unmap',
    (domain) => {
      const machine = machineOf('7.3', { domain, iommu: domain === 'passthrough' });
      const { api, cpu, device } = machine;
      expect(api.dmaIovaTryAlloc(cpu, device, new DmaIovaState(), 0, SIZE)).toBe(false);
      const addresses = SCATTERED.map((phys) => api.dmaMapPhys(cpu, device, phys, PAGE, DMA_FROM_DEVICE, 0));
      expect(addresses).toEqual(SCATTERED);
      expect(api.dmaNeedUnmap(device)).toBe(false);
      expect(takeWork(machine)).toEqual(work());
    },
  );
});

describe('the flush queue of one CPU fills up within its 10 ms', () => {
  function destroyOne(machine: TestMachine): void {
    const { api, cpu, device } = machine;
    const state = new DmaIovaState();
    api.dmaIovaTryAlloc(cpu, device, state, 0, PAGE);
    api.dmaIovaLink(cpu, device, state, 0x5000_0000, 0, PAGE, DMA_FROM_DEVICE, 0);
    takeWork(machine);
    api.dmaIovaDestroy(cpu, device, state, PAGE, DMA_FROM_DEVICE, 0);
  }

  test.each(['6.17', '7.2', 'ideal'] as const)(
    '%s: the 256th destroy flushes the domain and frees 255 ranges',
    (profile) => {
      const machine = machineOf(profile, { domain: 'lazy' });
      for (let count = 1; count <= 255; count += 1) {
        destroyOne(machine);
        expect(takeWork(machine)).toEqual(work({ unmaps: 1, queueEntries: 1 }));
      }
      destroyOne(machine);
      expect(takeWork(machine)).toEqual(work({ unmaps: 1, queueEntries: 1, domainFlushes: 1, iovaFrees: 255 }));
    },
  );

  test('7.3: a destroy never waits in the queue, it flushes its own range', () => {
    const machine = machineOf('7.3', { domain: 'lazy' });
    for (let count = 1; count <= 256; count += 1) {
      destroyOne(machine);
      expect(takeWork(machine)).toEqual(work({ unmaps: 1, flushes: 1, iovaFrees: 1 }));
    }
  });

  test('7.3: dma_unmap_phys still does', () => {
    const machine = machineOf('7.3', { domain: 'lazy' });
    const { api, cpu, device } = machine;
    const mapped = Array.from({ length: 256 }, () =>
      api.dmaMapPhys(cpu, device, 0x5000_0000, PAGE, DMA_FROM_DEVICE, 0),
    );
    expect(mapped).not.toContain(DMA_MAPPING_ERROR);
    for (const address of mapped.slice(1)) api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_FROM_DEVICE, 0);
    takeWork(machine);
    api.dmaUnmapPhys(cpu, device, mapped[0]!, PAGE, DMA_FROM_DEVICE, 0);
    expect(takeWork(machine)).toEqual(work({ unmaps: 1, queueEntries: 1, domainFlushes: 1, iovaFrees: 255 }));
  });
});

describe('an untrusted device, and a buffer that begins and ends inside pages', () => {
  const PHYS = 0x1000_0e00;
  const BYTES = 0x2400;
  const HEAD = 0x200;
  const TAIL = 0x200;

  function untrusted(profile: KernelProfileName): TestMachine {
    const device = { untrusted: true, minAlignMask: 4095 };
    return new TestMachine({ profile, swiotlbSlots: 1024, device });
  }

  test.each(['7.2', '7.3', 'ideal'] as const)(
    '%s, two-step: head and tail are bounced, the middle is linked in place, the device sees nothing of the neighbours',
    (profile) => {
      const machine = untrusted(profile);
      const { api, cpu, device } = machine;
      machine.fill(PHYS - 0xe00, 0x4000, 0xaa);
      machine.fill(PHYS, BYTES, 0x11);
      const state = new DmaIovaState();
      expect(api.dmaIovaTryAlloc(cpu, device, state, PHYS, BYTES)).toBe(true);
      expect(api.dmaIovaLink(cpu, device, state, PHYS, 0, BYTES, DMA_FROM_DEVICE, 0)).toBe(0);
      expect(api.dmaIovaSync(cpu, device, state, 0, BYTES)).toBe(0);
      expect(takeWork(machine)).toEqual(work({ iovaAllocations: 1, maps: 3, syncs: 1, bouncedBytes: HEAD + TAIL }));
      expect(state.usesSwiotlb).toBe(true);
      const seen = [0, 1, 2, 3].map((page) => machine.deviceSees(state.address - 0xe00 + page * PAGE, true));
      expect(seen.slice(1, 3)).toEqual([0x10001, 0x10002]);
      // zeros, where memory beside the buffer holds 0xaa
      expect(machine.bytes(seen[0]! * PAGE, 0xe00)).toEqual(new Uint8Array(0xe00));
      expect(machine.bytes(seen[3]! * PAGE + TAIL, PAGE - TAIL)).toEqual(new Uint8Array(PAGE - TAIL));

      for (const [page, offset, length] of [
        [seen[0]!, 0xe00, HEAD],
        [seen[1]!, 0, PAGE],
        [seen[2]!, 0, PAGE],
        [seen[3]!, 0, TAIL],
      ] as const) {
        machine.fill(page * PAGE + offset, length, 0x22);
      }
      expect(machine.bytes(PHYS, HEAD)).toEqual(new Uint8Array(HEAD).fill(0x11));
      api.dmaIovaDestroy(cpu, device, state, BYTES, DMA_FROM_DEVICE, 0);
      expect(machine.bytes(PHYS, BYTES)).toEqual(new Uint8Array(BYTES).fill(0x22));
      expect(machine.bytes(PHYS + BYTES, 0xe00)).toEqual(new Uint8Array(0xe00).fill(0xaa));
      expect(machine.swiotlb!.used).toBe(0);
      expect(takeWork(machine)).toEqual(work({ unmaps: 1, flushes: 1, iovaFrees: 1 }));
    },
  );

  test.each(['6.12', '7.3', 'ideal'] as const)('%s, dma_map: the whole buffer is bounced', (profile) => {
    const machine = untrusted(profile);
    const { api, cpu, device } = machine;
    machine.fill(PHYS, BYTES, 0x11);
    const address = api.dmaMapPhys(cpu, device, PHYS, BYTES, DMA_FROM_DEVICE, 0);
    expect(takeWork(machine)).toEqual(work({ iovaAllocations: 1, maps: 1, bouncedBytes: BYTES }));
    const page = machine.deviceSees(address, true)!;
    machine.fill(page * PAGE + (address % PAGE), 16, 0x22);
    api.dmaUnmapPhys(cpu, device, address, BYTES, DMA_FROM_DEVICE, 0);
    expect(machine.bytes(PHYS, 17)).toEqual(Uint8Array.from([...new Uint8Array(16).fill(0x22), 0x11]));
    expect(machine.swiotlb!.used).toBe(0);
  });
});
