import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { PageKinds } from '../memory/pageKinds.ts';
import {
  DMA_ATTR_CC_SHARED,
  DMA_ATTR_MMIO,
  DMA_ATTR_REQUIRE_COHERENT,
  DMA_ATTR_SKIP_CPU_SYNC,
  DMA_BIDIRECTIONAL,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
} from './attributes.ts';
import { EIO } from './errno.ts';
import { ScatterList } from './scatterList.ts';
import { BOUNCE_POOL, TestMachine, type TestMachineOptions } from './testMachine.ts';

const PAGE = 4096;
const BUFFER = 0x1000_0000;

function untrusted(options: TestMachineOptions = {}): TestMachine {
  const device = { untrusted: true, minAlignMask: PAGE - 1, ...options.device };
  return new TestMachine({ swiotlbSlots: 1024, ...options, device });
}

function events(machine: TestMachine): string[] {
  return machine.takeEvents().filter((event) => !event.startsWith('dma_'));
}

/** Where the device finds the byte behind a bus address. */
function behind(machine: TestMachine, address: number): number {
  const page = machine.deviceSees(address) ?? machine.deviceSees(address, true);
  if (page === null) throw new Error(`nothing behind ${address.toString(16)}`);
  return page * PAGE + (address % PAGE);
}

describe('one-shot mappings of an untrusted device (drivers/iommu/dma-iommu.c, iommu_dma_map_swiotlb)', () => {
  test('whole pages are mapped where they are', () => {
    const machine = untrusted();
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, BUFFER, 2 * PAGE, DMA_TO_DEVICE, 0);
    expect(behind(machine, address)).toBe(BUFFER);
    expect(events(machine)).toEqual(['alloc 2 below fffff -> ffffe slow 1 of 2', 'map ffffe000 10000000 8192']);
  });

  test('any other buffer moves as a whole, at the same offset, with zeros around it', () => {
    const machine = untrusted();
    const { api, cpu, device } = machine;
    machine.fill(BOUNCE_POOL, 16 * PAGE, 0x5a);
    machine.fill(BUFFER, 4 * PAGE, 0x11);
    const address = api.dmaMapPhys(cpu, device, BUFFER + 0x200, PAGE, DMA_TO_DEVICE, 0);
    const bounce = behind(machine, address);
    expect(events(machine)).toEqual([
      'bounce 10000200 4096',
      'alloc 2 below fffff -> ffffe slow 1 of 2',
      `map ffffe000 ${(bounce - 0x200).toString(16)} 8192`,
    ]);
    expect(address).toBe(0xffff_e200);
    expect(bounce).toBeGreaterThanOrEqual(BOUNCE_POOL);
    const seen = machine.bytes(bounce - 0x200, 2 * PAGE);
    expect(seen.subarray(0, 0x200).every((byte) => byte === 0)).toBe(true);
    expect(seen.subarray(0x200, 0x200 + PAGE).every((byte) => byte === 0x11)).toBe(true);
    expect(seen.subarray(0x200 + PAGE).every((byte) => byte === 0)).toBe(true);
    expect(machine.bytes(bounce - 0x200 + 2 * PAGE, 1)[0]).toBe(0x5a);
  });

  test('without minAlignMask the offset is lost, and the address is that of the buffer', () => {
    const machine = untrusted({ device: { minAlignMask: 0 } });
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, BUFFER + 0xe00, 0x400, DMA_TO_DEVICE, 0);
    expect(address % PAGE).toBe(0);
    expect(events(machine)[1]).toBe('alloc 1 below fffff -> fffff slow 1 of 1');
  });

  test.each([
    [DMA_FROM_DEVICE, 0, 0x77],
    [DMA_BIDIRECTIONAL, 0, 0x77],
    [DMA_TO_DEVICE, 0, 0x11],
    [DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC, 0x11],
  ] as const)('unmap with direction %i and attributes %i leaves %i in memory', (direction, attributes, expected) => {
    const machine = untrusted();
    const { api, cpu, device } = machine;
    machine.fill(BUFFER, PAGE, 0x11);
    const address = api.dmaMapPhys(cpu, device, BUFFER + 0x10, 0x100, direction, attributes);
    machine.fill(behind(machine, address), 0x100, 0x77);
    api.dmaUnmapPhys(cpu, device, address, 0x100, direction, attributes);
    expect([...machine.bytes(BUFFER + 0xf, 2)]).toEqual([0x11, expected]);
    expect([...machine.bytes(BUFFER + 0x10f, 2)]).toEqual([expected, 0x11]);
    expect(machine.swiotlb!.used).toBe(0);
  });

  test('sync moves bytes while the mapping stays', () => {
    const machine = untrusted();
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, BUFFER + 0x10, 0x100, DMA_BIDIRECTIONAL, 0);
    const bounce = behind(machine, address);
    machine.fill(bounce, 0x100, 0x33);
    api.dmaSyncSingleForCpu(cpu, device, address, 0x80, DMA_BIDIRECTIONAL);
    expect([...machine.bytes(BUFFER + 0x8f, 2)]).toEqual([0x33, 0]);
    machine.fill(BUFFER + 0x10, 0x100, 0x44);
    api.dmaSyncSingleForDevice(cpu, device, address + 0x40, 0x10, DMA_BIDIRECTIONAL);
    expect([...machine.bytes(bounce + 0x3f, 2)]).toEqual([0x33, 0x44]);
    expect([...machine.bytes(bounce + 0x4f, 2)]).toEqual([0x44, 0x33]);
  });

  test('what must not be bounced fails, and so does what finds no slot; nothing is left behind', () => {
    const machine = untrusted({ swiotlbSlots: 128 });
    const { api, cpu, device } = machine;
    for (const attributes of [DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, DMA_ATTR_CC_SHARED]) {
      expect(api.dmaMapPhys(cpu, device, BUFFER + 1, 8, DMA_TO_DEVICE, attributes)).toBe(DMA_MAPPING_ERROR);
    }
    expect(events(machine)).toEqual([]);
    expect(api.dmaMapPhys(cpu, device, BUFFER + 1, 2 ** 18, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect(events(machine)).toEqual(['bounce 10000001 262144']);
    device.dmaMask = 0xfff;
    expect(api.dmaMapPhys(cpu, device, BUFFER + 1, 8, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect(machine.swiotlb!.used).toBe(0);
  });

  test('6.17 maps device registers as a resource, which is never bounced', () => {
    const machine = untrusted({ profile: '6.17' });
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, BUFFER + 1, 8, DMA_TO_DEVICE, DMA_ATTR_MMIO)).toBe(0xffff_f001);
  });

  test('without bounce buffers it fails and says so once', () => {
    const machine = new TestMachine({ device: { untrusted: true } });
    const { api, cpu, device } = machine;
    for (let time = 0; time < 2; time += 1) {
      expect(api.dmaMapPhys(cpu, device, BUFFER + 1, 8, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    }
    expect(machine.log.entries().map(({ message }) => message)).toEqual([
      'DMA bounce buffers are inactive, unable to map unaligned transaction.',
    ]);
  });

  test('a constraint on alignment beyond a page is refused', () => {
    const machine = new TestMachine({ device: { minAlignMask: 2 * PAGE - 1 } });
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, BUFFER, PAGE, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect(machine.log.entries()[0]!.message).toBe('Unsupported alignment constraint');
  });
});

describe('lists of an untrusted device (iommu_dma_map_sg_swiotlb)', () => {
  const list = new ScatterList();

  test('every entry is a mapping of its own, bounced or not', () => {
    const machine = untrusted();
    const { api, cpu, device } = machine;
    machine.fill(BUFFER, 3 * PAGE, 0x11);
    list.reset();
    list.add(BUFFER, PAGE);
    list.add(BUFFER + PAGE, 0x200);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(2);
    expect([...list.dmaAddress.subarray(0, 2)]).toEqual([0xffff_f000, 0xffff_e000]);
    expect(machine.deviceSees(0xffff_f000, true)).toBe(BUFFER / PAGE);
    const bounce = machine.swiotlb!;
    expect(bounce.used).toBe(2);
    const page = machine.deviceSees(0xffff_e000, true)!;
    machine.fill(page * PAGE, 0x200, 0x66);
    api.dmaSyncSgForCpu(cpu, device, list, DMA_FROM_DEVICE);
    expect([...machine.bytes(BUFFER + PAGE + 0x1ff, 2)]).toEqual([0x66, 0x11]);
    api.dmaUnmapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    expect(bounce.used).toBe(0);
    expect(machine.deviceSees(0xffff_f000)).toBeNull();
  });

  test('an entry that cannot be mapped undoes those before it, and copies nothing back', () => {
    const machine = untrusted({ swiotlbSlots: 128 });
    const { api, cpu, device } = machine;
    machine.fill(BUFFER, PAGE, 0x11);
    list.reset();
    list.add(BUFFER, 0x200);
    list.add(BUFFER + PAGE, 2 ** 18 + 1);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(EIO);
    expect(machine.swiotlb!.used).toBe(0);
    expect(machine.deviceSees(0xffff_f000)).toBeNull();
  });
});

describe('a device that is not coherent (dma_kmalloc_needs_bounce)', () => {
  const pageKinds = new PageKinds();
  pageKinds.setKmallocSmall(BUFFER / PAGE, 1, true);

  test.each([
    [BUFFER, DMA_FROM_DEVICE, true],
    [BUFFER, DMA_TO_DEVICE, false],
    [BUFFER + PAGE, DMA_FROM_DEVICE, false],
  ] as const)('memory %i with direction %i: bounced %s', (phys, direction, bounced) => {
    const machine = new TestMachine({ swiotlbSlots: 1024, device: { coherent: false }, pageKinds });
    const { api, cpu, device } = machine;
    api.dmaMapPhys(cpu, device, phys + 0x20, 0x40, direction, 0);
    expect(machine.swiotlb!.used > 0).toBe(bounced);
  });
});
