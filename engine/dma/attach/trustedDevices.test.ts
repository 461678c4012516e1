/**
 * Which devices Linux lets ask for translations: those with the capability that may be trusted, behind an IOMMU that answers, of a driver
 * that takes part (Linux drivers/pci/ats.c `pci_ats_supported`, and each driver: drivers/iommu/intel/iommu.c `iommu_enable_pci_ats`,
 * `context_entry_set_pasid_table`; amd/iommu.c `pdev_enable_cap_ats`; arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_ats_supported`).
 */
import { describe, expect, test } from 'vitest';
import type { IommuVendor } from '../../iommu/architectures.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { DeviceTableReader } from '../../iommu/amd/deviceTableReader.ts';
import { Cpu } from '../../time/cpu.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { DeviceDomains } from '../attachDomain.ts';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import type { DmaDevice, DomainType } from '../device.ts';
import { recordingHardware } from '../invalidation/testHardware.ts';
import { TestMachine } from '../testMachine.ts';

const PAGE = 4096;

/** Whether a device of this kind is answered when it asks for a translation. */
function mayAsk(
  vendor: IommuVendor,
  device: Partial<DmaDevice>,
  scalableMode = false,
  domain: DomainType = 'strict',
): boolean {
  const machine = new TestMachine({ vendor, scalableMode, device, domain });
  const { api, cpu, iommu } = machine;
  const address = api.dmaMapPhys(cpu, machine.device, 0x10_0000, PAGE, DMA_BIDIRECTIONAL, 0);
  iommu.translationRequest(machine.device.sourceId, NO_PASID, address / PAGE, false, picoseconds(0));
  return iommu.atsEnabled;
}

describe.each([
  ['vtd', false],
  ['vtd', true],
  ['amd', false],
  ['smmuv3', false],
] as const)('behind %s, scalable mode %s', (vendor, scalableMode) => {
  test('a device without the capability, and one that is not trusted, may not ask', () => {
    expect(mayAsk(vendor, {}, scalableMode)).toBe(false);
    expect(mayAsk(vendor, { ats: true, untrusted: true }, scalableMode)).toBe(false);
    expect(mayAsk(vendor, { ats: true }, scalableMode)).toBe(true);
  });

  test('an IOMMU that does not answer translation requests leaves every device without', () => {
    const memory = new PhysicalMemory(2 ** 24);
    const frames = new FrameAllocator(memory, 1, 2 ** 12 - 1);
    const hardware = { ...recordingHardware(vendor).iommu, scalableMode };
    const enables = (atsSupported?: boolean): boolean => {
      const iommu = atsSupported === undefined ? hardware : { ...hardware, atsSupported };
      return new DeviceDomains(memory, frames, iommu).enablesAts({ ats: true, untrusted: false });
    };
    expect([enables(), enables(true), enables(false)]).toEqual([true, true, false]);
  });
});

test("Linux's driver of the RISC-V IOMMU has no ATS", () => {
  expect(mayAsk('riscv', { ats: true })).toBe(false);
});

test.each([
  // TT has no value for pass-through with translation requests
  ['vtd', false, false],
  ['vtd', true, true],
  ['amd', false, true],
  // a bypass entry has no EATS
  ['smmuv3', false, false],
] as const)('passthrough behind %s, scalable mode %s: asking allowed %s', (vendor, scalableMode, allowed) => {
  expect(mayAsk(vendor, { ats: true }, scalableMode, 'passthrough')).toBe(allowed);
  expect(mayAsk(vendor, { ats: true, untrusted: true }, scalableMode, 'passthrough')).toBe(false);
});

test("a root that AMD's table grew keeps the bit, and the device forgets what it has (`device_flush_dte`)", () => {
  const memory = new PhysicalMemory(2 ** 28);
  const frames = new FrameAllocator(memory, 1, 2 ** 16 - 1);
  const { iommu, submissions } = recordingHardware('amd');
  const domains = new DeviceDomains(memory, frames, iommu);
  const mayAskInTable = (sourceId: number): boolean => {
    const reader = new DeviceTableReader(memory);
    expect(reader.read(iommu.rootPage, sourceId, NO_PASID)).toBe(true);
    expect([reader.tablePage, reader.levels]).toEqual([9, 4]);
    return reader.atsEnabled;
  };
  domains.attach(0x18, 5, 7, 3, true);
  domains.attach(0x20, 5, 7, 3);
  for (const sourceId of [0x18, 0x20]) domains.topChanged(new Cpu(0), sourceId, 5, 9, 4);
  expect([mayAskInTable(0x18), mayAskInTable(0x20)]).toEqual([true, false]);
  expect(submissions).toEqual([
    [0x18n | (2n << 60n), 0x18n | (32n << 24n) | (0x18n << 32n) | (4n << 60n) | (0x7fff_ffff_ffff_f001n << 64n)],
    [0x20n | (2n << 60n)],
  ]);
});
