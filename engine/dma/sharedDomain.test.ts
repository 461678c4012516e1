/** Devices of one IOMMU group share a domain (Linux drivers/iommu/iommu.c `iommu_setup_default_domain`), seen from the devices. */
import { describe, expect, test } from 'vitest';
import { DMA_BIDIRECTIONAL, DMA_TO_DEVICE } from './attributes.ts';
import { createDmaDevice } from './device.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';

const PAGE = 4096;
const NEIGHBOUR = 0x20;

function machineWithNeighbour(options: TestMachineOptions = {}, shared = true) {
  const machine = new TestMachine(options);
  const neighbour = createDmaDevice({ name: '0000:00:04.0', sourceId: NEIGHBOUR, ...options.device });
  machine.api.attach(neighbour, options.domain ?? 'strict', shared ? machine.device : null);
  const seen = (sourceId: number, address: number): number | null =>
    machine.iommu.translateFunctional(sourceId, Math.floor(address / PAGE), false) ? machine.iommu.physPage : null;
  return { machine, neighbour, seen };
}

describe('a group of two devices', () => {
  test('one reaches what was mapped for the other, and addresses of the two never meet', () => {
    const { machine, neighbour, seen } = machineWithNeighbour();
    const { api, cpu, device } = machine;
    const mine = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_BIDIRECTIONAL, 0);
    const its = api.dmaMapPhys(cpu, neighbour, 0x20_0000, PAGE, DMA_BIDIRECTIONAL, 0);
    expect(its).not.toBe(mine);
    for (const sourceId of [device.sourceId, NEIGHBOUR]) {
      expect([seen(sourceId, mine), seen(sourceId, its)]).toEqual([0x100, 0x200]);
    }
    api.dmaUnmapPhys(cpu, neighbour, its, PAGE, DMA_BIDIRECTIONAL, 0);
    expect([seen(device.sourceId, its), seen(NEIGHBOUR, its), seen(NEIGHBOUR, mine)]).toEqual([null, null, 0x100]);
  });

  test('one flush of the lazy queue ends the window of both', () => {
    const { machine, neighbour, seen } = machineWithNeighbour({ domain: 'lazy' });
    const { api, cpu, device } = machine;
    const addresses = [device, neighbour].map((of) => api.dmaMapPhys(cpu, of, 0x10_0000, PAGE, DMA_TO_DEVICE, 0));
    expect(addresses.map((address) => seen(NEIGHBOUR, address))).toEqual([0x100, 0x100]);
    [device, neighbour].forEach((of, index) => api.dmaUnmapPhys(cpu, of, addresses[index]!, PAGE, DMA_TO_DEVICE, 0));
    expect(addresses.map((address) => seen(NEIGHBOUR, address))).toEqual([0x100, 0x100]);
    api.flushQueueTimer(cpu, neighbour);
    expect(addresses.map((address) => seen(NEIGHBOUR, address))).toEqual([null, null]);
  });

  test("AMD's tables grow under both of them", () => {
    const { machine, neighbour, seen } = machineWithNeighbour({ vendor: 'amd', device: { forceDac: true } });
    const address = machine.api.dmaMapPhys(machine.cpu, neighbour, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.api.translatedDevice(neighbour)!.domain.table.levels).toBeGreaterThan(3);
    expect([seen(machine.device.sourceId, address), seen(NEIGHBOUR, address)]).toEqual([0x100, 0x100]);
  });

  test('devices of two groups have domains of their own', () => {
    const { machine, neighbour, seen } = machineWithNeighbour({}, false);
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x10_0000, PAGE, DMA_TO_DEVICE, 0);
    expect([seen(device.sourceId, address), seen(NEIGHBOUR, address)]).toEqual([0x100, null]);
    expect(api.translatedDevice(neighbour)!.domain.domainId).not.toBe(api.translatedDevice(device)!.domain.domainId);
  });
});
