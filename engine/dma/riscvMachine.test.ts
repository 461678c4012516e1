/**
 * The DMA API over a RISC-V IOMMU, seen from the device and from the command queue (Linux drivers/iommu/riscv/iommu.c; RISC-V IOMMU
 * specification 1.0, 2 and 4.1).
 */
import { describe, expect, test, vi } from 'vitest';
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE } from './attributes.ts';
import { createDmaDevice } from './device.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;
const MIB = 2 ** 20;

function riscv(options: TestMachineOptions = {}): TestMachine {
  return new TestMachine({ vendor: 'riscv', ...options });
}

/** IOTINVAL.VMA commands from now on, one list a submission: the page, or null for the whole address space. */
function watchCommands(machine: TestMachine): (number | null)[][] {
  const sent: (number | null)[][] = [];
  const { invalidationQueue } = machine.iommu;
  const submit = invalidationQueue.submit.bind(invalidationQueue);
  vi.spyOn(invalidationQueue, 'submit').mockImplementation((commands, count, at) => {
    const batch = Array.from({ length: count }, (_, index) => {
      const [first, second, low, high] = commands.subarray(index * 4, index * 4 + 4);
      // opcode 1, func3 0; PSCV and no GV; PSCID 1
      expect([first! & 0x3ff, second! & 7, first! >>> 12]).toEqual([1, 1, 1]);
      return (first! & (1 << 10)) === 0 ? null : Math.floor(low! / 1024) + high! * 2 ** 22;
    });
    sent.push(batch);
    return submit(commands, count, at);
  });
  return sent;
}

describe('a machine with a RISC-V IOMMU', () => {
  test.each([3, 4, 5])('strict, tables of %i levels: the device faults as soon as unmap returned', (levels) => {
    const machine = riscv({ levels });
    const { api, cpu, device } = machine;
    expect(api.translatedDevice(device)?.domain.table.levels).toBe(levels);
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, 5 * PAGE, DMA_BIDIRECTIONAL, 0);
    const seen = (): (number | null)[] => [0, 1, 4, 5].map((page) => machine.deviceSees(address + page * PAGE));
    expect(seen()).toEqual([0x100, 0x101, 0x104, null]);
    api.dmaUnmapPhys(cpu, device, address, 5 * PAGE, DMA_BIDIRECTIONAL, 0);
    expect(seen()).toEqual([null, null, null, null]);
  });

  test('lazy: the device reaches it until the flush of its whole address space', () => {
    const machine = riscv({ domain: 'lazy' });
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBe(0x100);
    const sent = watchCommands(machine);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect([machine.deviceSees(address), sent.length]).toEqual([0x100, 0]);
    api.flushQueueTimer(cpu, device);
    expect([machine.deviceSees(address), sent]).toEqual([null, [[null]]]);
  });

  test('a direction is a permission, and who may write may read', () => {
    const machine = riscv();
    const { api, cpu, device } = machine;
    const toDevice = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    const fromDevice = api.dmaMapPhys(cpu, device, 0x20_0000, PAGE, DMA_FROM_DEVICE, 0);
    expect([machine.deviceSees(toDevice), machine.deviceSees(toDevice, true)]).toEqual([0x100, null]);
    expect([machine.deviceSees(fromDevice), machine.deviceSees(fromDevice, true)]).toEqual([0x200, 0x200]);
  });

  test('passthrough has no stages; a device that nobody attached reaches nothing', () => {
    const machine = riscv({ domain: 'passthrough' });
    expect(machine.deviceSees(0x12_3456)).toBe(0x123);
    expect(machine.iommu.translateFunctional(0x77, 0x123, false)).toBe(false);
  });

  test('two devices have PSCIDs of their own, and an invalidation of one leaves the other', () => {
    const machine = riscv();
    const { api, cpu, device, iommu } = machine;
    const other = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20 });
    api.attach(other, 'strict');
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(api.dmaMapPhys(cpu, other, 0x20_0000, PAGE, DMA_TO_DEVICE, 0)).toBe(address);
    iommu.translateFunctional(other.sourceId, address / PAGE, false);
    expect([iommu.physPage, machine.deviceSees(address)]).toEqual([0x200, 0x100]);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect([iommu.iotlb.occupancy()[0], machine.deviceSees(address)]).toEqual([1, null]);
  });
});

describe('what an unmap tells the hardware', () => {
  test('a command for each page below 2 MiB, in one submission; from there on one for all', () => {
    for (const pages of [1, 150, 511, 512, 600]) {
      const machine = riscv();
      const { api, cpu, device } = machine;
      const address = api.dmaMapPhys(cpu, device, 0x10_1000, pages * PAGE, DMA_TO_DEVICE, 0);
      const sent = watchCommands(machine);
      api.dmaUnmapPhys(cpu, device, address, pages * PAGE, DMA_TO_DEVICE, 0);
      const each = Array.from({ length: pages }, (_, page) => address / PAGE + page);
      expect(sent).toEqual([pages < 512 ? each : [null]]);
    }
  });

  test('where a table was cut off, one for all, since an address takes leaves only', () => {
    const machine = riscv();
    const { api, cpu, device } = machine;
    const state = new DmaIovaState();
    expect(api.dmaIovaTryAlloc(cpu, device, state, 0, 4 * MIB)).toBe(true);
    for (let offset = 0; offset < 4 * MIB; offset += PAGE) {
      api.dmaIovaLink(cpu, device, state, 0x1000_0000 + offset * 2, offset, PAGE, DMA_TO_DEVICE, 0);
    }
    const sent = watchCommands(machine);
    api.dmaIovaDestroy(cpu, device, state, 4 * MIB, DMA_TO_DEVICE, 0);
    expect(sent.flat()).toContain(null);
  });
});
