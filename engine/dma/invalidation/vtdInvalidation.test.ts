/**
 * The invalidation hint (VT-d specification 6.5.2.3, IH) as kernels give it (Linux drivers/iommu/intel/iommu.h, `qi_desc_iotlb`,
 * `qi_desc_piotlb`), and what the paging-structure caches keep by it.
 */
import { describe, expect, test } from 'vitest';
import { picoseconds } from '../../time/picoseconds.ts';
import { DMA_TO_DEVICE } from '../attributes.ts';
import { KERNEL_PROFILE_NAMES, type KernelProfileName } from '../kernels/profiles.ts';
import { TestMachine } from '../testMachine.ts';

const PAGE = 4096;
const PHYS = 0x10_0000;

/** The descriptor of an unmap that leaves its table in place. */
function unmapOnePage(profile: KernelProfileName, scalableMode: boolean): string[] {
  const machine = new TestMachine({ profile, scalableMode });
  const { api, cpu, device } = machine;
  const address = api.dmaMapPhys(cpu, device, PHYS, PAGE, DMA_TO_DEVICE, 0);
  api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
  return machine.takeEvents().filter((event) => event.startsWith('qi'));
}

/** Reads of tables for a page whose neighbour was used and then unmapped. */
function readsBesideUnmapped(profile: KernelProfileName, scalableMode: boolean): number {
  const machine = new TestMachine({ profile, scalableMode });
  const { api, cpu, device, iommu, counters } = machine;
  const used = api.dmaMapPhys(cpu, device, PHYS, PAGE, DMA_TO_DEVICE, 0);
  const beside = api.dmaMapPhys(cpu, device, PHYS + PAGE, PAGE, DMA_TO_DEVICE, 0);
  const read = (address: number): boolean => iommu.translate(device.sourceId, address / PAGE, false, 1, picoseconds(0));
  expect(read(used)).toBe(true);
  api.dmaUnmapPhys(cpu, device, used, PAGE, DMA_TO_DEVICE, 0);
  const before = counters.get('tableReads');
  expect(read(beside)).toBe(true);
  return counters.get('tableReads') - before;
}

describe('the hint of second-stage tables', () => {
  test.each(KERNEL_PROFILE_NAMES.filter((name) => name !== '6.16'))('is given by %s', (name) => {
    expect(unmapOnePage(name, false)).toEqual(['qi page fffff000 0 hint']);
    expect(readsBesideUnmapped(name, false)).toBe(1);
  });

  test('is lost in 6.16, so that a neighbour is looked up from the root again', () => {
    expect(unmapOnePage('6.16', false)).toEqual(['qi page fffff000 0']);
    expect(readsBesideUnmapped('6.16', false)).toBe(4);
  });
});

describe('the hint of first-stage tables', () => {
  test.each(KERNEL_PROFILE_NAMES)('is given by %s, whose PASID descriptor never lost it', (name) => {
    expect(unmapOnePage(name, true)).toEqual(['qi page fffff000 0 hint']);
    expect(readsBesideUnmapped(name, true)).toBe(1);
  });
});
