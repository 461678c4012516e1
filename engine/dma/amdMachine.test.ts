/** The DMA API over AMD's IOMMU, seen from the device (drivers/iommu/amd/iommu.c; AMD specification 48882, 2.2 and 2.4). */
import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE } from './attributes.ts';
import { createDmaDevice } from './device.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;

function amd(options: TestMachineOptions = {}): TestMachine {
  return new TestMachine({ vendor: 'amd', ...options });
}

describe("a machine with AMD's IOMMU", () => {
  test('strict: the device reaches what is mapped, and faults as soon as unmap returned', () => {
    const machine = amd();
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, 5 * PAGE, DMA_BIDIRECTIONAL, 0);
    expect([0, 1, 4, 5].map((page) => machine.deviceSees(address + page * PAGE))).toEqual([0x100, 0x101, 0x104, null]);
    api.dmaUnmapPhys(cpu, device, address, 5 * PAGE, DMA_BIDIRECTIONAL, 0);
    expect([0, 1, 4].map((page) => machine.deviceSees(address + page * PAGE))).toEqual([null, null, null]);
  });

  test('lazy: the device reaches it until the queue is flushed', () => {
    const machine = amd({ domain: 'lazy' });
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBe(0x100);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBe(0x100);
    api.flushQueueTimer(cpu, device);
    expect(machine.deviceSees(address)).toBe(null);
  });

  test('a direction is a permission', () => {
    const machine = amd();
    const { api, cpu, device } = machine;
    const toDevice = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    const fromDevice = api.dmaMapPhys(cpu, device, 0x20_0000, PAGE, DMA_FROM_DEVICE, 0);
    expect([machine.deviceSees(toDevice), machine.deviceSees(toDevice, true)]).toEqual([0x100, null]);
    expect([machine.deviceSees(fromDevice), machine.deviceSees(fromDevice, true)]).toEqual([null, 0x200]);
  });

  test('addresses of 64 bits: tables grow under a device that goes on working', () => {
    const machine = amd({ device: { forceDac: true } });
    const { api, cpu, device } = machine;
    const before = machine.device;
    const { domain } = api.translatedDevice(before)!;
    const low = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(low).toBeGreaterThan(2 ** 40);
    expect(domain.table.levels).toBeGreaterThan(3);
    expect(machine.deviceSees(low)).toBe(0x100);
    api.dmaUnmapPhys(cpu, device, low, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(low)).toBe(null);
  });

  test('passthrough: every address is itself; a device that nobody attached reaches nothing', () => {
    const machine = amd({ domain: 'passthrough' });
    const { api, cpu, device, iommu } = machine;
    expect(api.dmaMapPhys(cpu, device, 0x12_3456, 10, DMA_TO_DEVICE, 0)).toBe(0x12_3456);
    expect(machine.deviceSees(0x12_3456)).toBe(0x123);
    expect(iommu.translateFunctional(0x77, 0x123, false)).toBe(false);
  });

  test('two devices with domains of their own do not see each other', () => {
    const machine = amd();
    const { api, cpu, device, iommu } = machine;
    const other = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20 });
    api.attach(other, 'strict');
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBe(0x100);
    expect(iommu.translateFunctional(other.sourceId, address / PAGE, false)).toBe(false);
    expect(api.dmaMapPhys(cpu, other, 0x20_0000, PAGE, DMA_TO_DEVICE, 0)).toBe(address);
    expect(iommu.translateFunctional(other.sourceId, address / PAGE, false)).toBe(true);
    expect([iommu.physPage, machine.deviceSees(address)]).toEqual([0x200, 0x100]);
  });

  test('two steps in contiguous leaves: 64 KiB, linked in pieces, gone after destroy', () => {
    const machine = amd();
    const { api, cpu, device } = machine;
    const state = new DmaIovaState();
    expect(api.dmaIovaTryAlloc(cpu, device, state, 0, 32 * PAGE)).toBe(true);
    expect(api.dmaIovaLink(cpu, device, state, 0x40_0000, 0, 16 * PAGE, DMA_FROM_DEVICE, 0)).toBe(0);
    expect(api.dmaIovaLink(cpu, device, state, 0x80_3000, 16 * PAGE, 16 * PAGE, DMA_FROM_DEVICE, 0)).toBe(0);
    expect(api.dmaIovaSync(cpu, device, state, 0, 32 * PAGE)).toBe(0);
    const sees = (page: number): number | null => machine.deviceSees(state.address + page * PAGE, true);
    expect([0, 15, 16, 31].map(sees)).toEqual([0x400, 0x40f, 0x803, 0x812]);
    api.dmaIovaDestroy(cpu, device, state, 32 * PAGE, DMA_FROM_DEVICE, 0);
    expect([0, 15, 16, 31].map(sees)).toEqual([null, null, null, null]);
  });

  test('memory beyond the 52 bits of an entry is no mapping', () => {
    const machine = amd();
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, 2 ** 52, PAGE, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
  });
});
