/**
 * The DMA API over an SMMUv3, seen from the device and from the command queue (Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c; Arm
 * SMMUv3 specification IHI 0070, 3 to 5).
 */
import { describe, expect, test, vi } from 'vitest';
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE } from './attributes.ts';
import { createDmaDevice } from './device.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;
const MIB = 2 ** 20;

function smmu(options: TestMachineOptions = {}): TestMachine {
  return new TestMachine({ vendor: 'smmuv3', ...options });
}

interface SentCommand {
  readonly opcode: number;
  readonly asid: number;
  readonly firstPage: number;
  readonly pages: number;
  readonly leaf: boolean;
}

/** What is put into the queue from now on, one list a submission, read by the bits of 4.4. */
function watchCommands(machine: TestMachine): SentCommand[][] {
  const sent: SentCommand[][] = [];
  const { invalidationQueue } = machine.iommu;
  const submit = invalidationQueue.submit.bind(invalidationQueue);
  vi.spyOn(invalidationQueue, 'submit').mockImplementation((commands, count, at) => {
    const batch = Array.from({ length: count }, (_, index): SentCommand => {
      const [first, second, low, high] = commands.subarray(index * 4, index * 4 + 4);
      const ranged = ((low! >>> 10) & 3) !== 0;
      return {
        opcode: first! & 0xff,
        asid: second! >>> 16,
        firstPage: Math.floor(low! / 4096) + high! * 2 ** 20,
        pages: ranged ? (((first! >>> 12) & 31) + 1) * 2 ** ((first! >>> 20) & 31) : 1,
        leaf: (low! & 1) === 1,
      };
    });
    sent.push(batch);
    return submit(commands, count, at);
  });
  return sent;
}

function pagesOf(batches: readonly (readonly SentCommand[])[]): number {
  return batches.flat().reduce((sum, { pages }) => sum + pages, 0);
}

describe('a machine with an SMMUv3', () => {
  test('strict: the device reaches what is mapped, and faults as soon as unmap returned', () => {
    for (const rangeInvalidation of [false, true]) {
      const machine = smmu({ rangeInvalidation });
      const { api, cpu, device } = machine;
      const address = api.dmaMapPhys(cpu, device, 0x10_0000, 5 * PAGE, DMA_BIDIRECTIONAL, 0);
      const seen = (): (number | null)[] => [0, 1, 4, 5].map((page) => machine.deviceSees(address + page * PAGE));
      expect(seen()).toEqual([0x100, 0x101, 0x104, null]);
      api.dmaUnmapPhys(cpu, device, address, 5 * PAGE, DMA_BIDIRECTIONAL, 0);
      expect(seen()).toEqual([null, null, null, null]);
    }
  });

  test('lazy: the device reaches it until the flush of its whole address space', () => {
    const machine = smmu({ domain: 'lazy' });
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBe(0x100);
    const sent = watchCommands(machine);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect([machine.deviceSees(address), sent.length]).toEqual([0x100, 0]);
    api.flushQueueTimer(cpu, device);
    expect(machine.deviceSees(address)).toBe(null);
    expect(sent.map((batch) => batch.map(({ opcode, asid }) => [opcode, asid]))).toEqual([[[0x11, 1]]]);
  });

  test('a direction is a permission, and who may write may read', () => {
    const machine = smmu();
    const { api, cpu, device } = machine;
    const toDevice = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    const fromDevice = api.dmaMapPhys(cpu, device, 0x20_0000, PAGE, DMA_FROM_DEVICE, 0);
    expect([machine.deviceSees(toDevice), machine.deviceSees(toDevice, true)]).toEqual([0x100, null]);
    expect([machine.deviceSees(fromDevice), machine.deviceSees(fromDevice, true)]).toEqual([0x200, 0x200]);
  });

  test('passthrough bypasses; a stream that nobody attached reaches nothing', () => {
    const machine = smmu({ domain: 'passthrough' });
    expect(machine.deviceSees(0x12_3456)).toBe(0x123);
    expect(machine.iommu.translateFunctional(0x77, 0x123, false)).toBe(false);
  });

  test('two devices have ASIDs of their own, and an invalidation of one leaves the other', () => {
    const machine = smmu();
    const { api, cpu, device, iommu } = machine;
    const other = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20 });
    api.attach(other, 'strict');
    const first = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    const second = api.dmaMapPhys(cpu, other, 0x20_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(second).toBe(first);
    const sees = (): (number | null)[] => {
      const page = first / PAGE;
      const found = iommu.translateFunctional(other.sourceId, page, false);
      return [found ? iommu.physPage : null, machine.deviceSees(first)];
    };
    expect(sees()).toEqual([0x200, 0x100]);
    api.dmaUnmapPhys(cpu, device, first, PAGE, DMA_TO_DEVICE, 0);
    expect(iommu.iotlb.occupancy()[0]).toBe(1);
    expect(sees()).toEqual([0x200, null]);
  });
});

describe('what an unmap tells the hardware', () => {
  test('without range invalidation a command for each page, and one wait for all', () => {
    const machine = smmu();
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, 150 * PAGE, DMA_TO_DEVICE, 0);
    const sent = watchCommands(machine);
    api.dmaUnmapPhys(cpu, device, address, 150 * PAGE, DMA_TO_DEVICE, 0);
    expect(sent.map((batch) => batch.length)).toEqual([150]);
    expect(sent.flat().every(({ opcode, asid, leaf }) => opcode === 0x12 && asid === 1 && leaf)).toBe(true);
    expect(sent.flat().map(({ firstPage }) => firstPage)).toEqual(
      Array.from({ length: 150 }, (_, page) => address / PAGE + page),
    );
  });

  test('as many pages as a table has entries take the whole address space instead, one fewer does not', () => {
    for (const [pages, opcodes] of [
      [511, new Array(511).fill(0x12)],
      [512, [0x11]],
    ] as const) {
      const machine = smmu();
      const { cpu, device, api } = machine;
      const address = api.dmaMapPhys(cpu, device, 0x10_1000, pages * PAGE, DMA_TO_DEVICE, 0);
      const sent = watchCommands(machine);
      api.dmaUnmapPhys(cpu, device, address, pages * PAGE, DMA_TO_DEVICE, 0);
      expect(sent.flat().map(({ opcode }) => opcode)).toEqual(opcodes);
    }
  });

  test('with it, one command for each five bits of the number of pages, and never too many for them', () => {
    for (const pages of [1, 31, 32, 33, 150, 511, 512, 1000, 1024, 1025, 2049]) {
      const machine = smmu({ rangeInvalidation: true });
      const { api, cpu, device } = machine;
      const address = api.dmaMapPhys(cpu, device, 0x1000_1000, pages * PAGE, DMA_TO_DEVICE, 0);
      const sent = watchCommands(machine);
      api.dmaUnmapPhys(cpu, device, address, pages * PAGE, DMA_TO_DEVICE, 0);
      expect(sent.length, String(pages)).toBe(1);
      expect(pagesOf(sent)).toBe(pages);
      let next = address / PAGE;
      for (const { firstPage, pages: named, opcode } of sent[0]!) {
        expect([opcode, firstPage]).toEqual([0x12, next]);
        next += named;
      }
      expect(sent[0]!.length).toBeLessThanOrEqual(Math.ceil(pages.toString(2).length / 5));
    }
  });

  test('where a table was cut off, pointers to it go too', () => {
    const machine = smmu({ rangeInvalidation: true });
    const { api, cpu, device } = machine;
    const state = new DmaIovaState();
    expect(api.dmaIovaTryAlloc(cpu, device, state, 0, 4 * MIB)).toBe(true);
    for (let offset = 0; offset < 4 * MIB; offset += PAGE) {
      // pages that are no neighbours, so that the tables have entries of 4 KiB
      expect(api.dmaIovaLink(cpu, device, state, 0x1000_0000 + offset * 2, offset, PAGE, DMA_TO_DEVICE, 0)).toBe(0);
    }
    expect(api.dmaIovaSync(cpu, device, state, 0, 4 * MIB)).toBe(0);
    const sent = watchCommands(machine);
    api.dmaIovaDestroy(cpu, device, state, 4 * MIB, DMA_TO_DEVICE, 0);
    expect(sent.flat().some(({ leaf }) => !leaf)).toBe(true);
    expect(pagesOf(sent)).toBeGreaterThanOrEqual(1024);
  });
});
