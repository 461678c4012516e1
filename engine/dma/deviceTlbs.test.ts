/**
 * Devices with a device TLB under the drivers of Linux: after an unmap, or after the flush that ends a lazy domain's window, no access finds
 * the memory that was mapped. It takes both that device TLBs are told at all, and that they are told after the IOTLB (VT-d specification
 * 6.5.2.5; SMMUv3 specification IHI 0070, 3.9.1; drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_atc_inv_domain`).
 */
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Cpu } from '../time/cpu.ts';
import { PICOSECONDS_PER_MICROSECOND, PICOSECONDS_PER_NANOSECOND, picoseconds } from '../time/picoseconds.ts';
import { DMA_BIDIRECTIONAL } from './attributes.ts';
import { createDmaDevice, type DmaDevice } from './device.ts';
import { DmaApi } from './dmaApi.ts';
import { recordingHardware } from './invalidation/testHardware.ts';
import { dmaCostParameters, resolveDmaCosts } from './kernels/costs.ts';
import { kernelProfile } from './kernels/profiles.ts';
import {
  DEVICE_INVALIDATION,
  DeviceTlbMachine,
  type DeviceTlbMachineOptions,
  INVALIDATION_DESCRIPTOR,
  INVALIDATION_WAIT,
  LINK_PROPAGATION,
  ROOT_COMPLEX,
  type Telling,
} from './testDeviceTlbMachine.ts';

const PAGE = 4096;
const BUFFER = 0x10_0000;
const SECRET = 0x5a;

/** Maps a page that the device reads, unmaps it, and lets a lazy domain's queue run out. */
function unmapped(options: DeviceTlbMachineOptions, pages = 1) {
  const machine = new DeviceTlbMachine(options);
  const { api, cpu, device, memory } = machine;
  memory.writeBytes(BUFFER, Uint8Array.of(SECRET), 0, 1);
  const address = api.dmaMapPhys(cpu, device, BUFFER, pages * PAGE, DMA_BIDIRECTIONAL, 0);
  const before = machine.deviceReads(address);
  machine.inBetween = () => machine.deviceReads(address);
  // what the device does is long done when the CPU goes on
  cpu.waitUntil(picoseconds(machine.events.now + 10 * PICOSECONDS_PER_MICROSECOND));
  const start = cpu.now;
  api.dmaUnmapPhys(cpu, device, address, pages * PAGE, DMA_BIDIRECTIONAL, 0);
  const unmapTime = cpu.now - start;
  const inWindow = options.domain === 'lazy' ? machine.deviceReads(address) : null;
  if (options.domain === 'lazy') api.flushQueueTimer(cpu, device);
  return { machine, address, before, inWindow, unmapTime, after: machine.deviceReads(address) };
}

describe.each([
  ['vtd', false],
  ['vtd', true],
  ['amd', false],
  ['smmuv3', false],
] as const)('%s, scalable mode %s', (vendor, scalableMode) => {
  test.each(['strict', 'lazy'] as const)(
    '%s: nothing is found afterwards, neither by device TLB nor by IOMMU',
    (domain) => {
      const { machine, address, before, inWindow, after } = unmapped({ vendor, scalableMode, domain });
      expect([before, inWindow, after]).toEqual([SECRET, domain === 'lazy' ? SECRET : null, null]);
      expect(machine.deviceKeeps(address)).toBe(false);
      expect(machine.counters.get('invalidationsDeviceTlb')).toBe(1);
    },
  );

  test.each<[DeviceTlbMachineOptions['domain'], Telling]>([
    ['strict', 'no device'],
    ['strict', 'devices first'],
    ['lazy', 'no device'],
    ['lazy', 'devices first'],
  ])('%s, %s: the device still reads what was there', (domain, telling) => {
    const { machine, address, after } = unmapped({ vendor, scalableMode, domain, telling });
    expect(after).toBe(SECRET);
    expect(machine.deviceKeeps(address)).toBe(true);
    // the IOMMU itself knows better
    expect(machine.iommu.translateFunctional(machine.device.sourceId, address / PAGE, false)).toBe(false);
  });

  test('an unmap takes as much longer as the device takes to answer', () => {
    const settings = { vendor, scalableMode, domain: 'strict' } as const;
    const without = unmapped({ ...settings, ats: false });
    const told = unmapped(settings);
    expect(without.machine.counters.get('invalidationsDeviceTlb')).toBe(0);
    const roundTrip = 2 * (LINK_PROPAGATION + ROOT_COMPLEX) + DEVICE_INVALIDATION;
    // SMMUv3: a submission of its own; the others: one command more in the same
    const more = roundTrip + (vendor === 'smmuv3' ? INVALIDATION_WAIT : INVALIDATION_DESCRIPTOR);
    const difference = (told.unmapTime - without.unmapTime) / PICOSECONDS_PER_NANOSECOND;
    expect(difference).toBeGreaterThan(more);
    // the two messages on the link
    expect(difference).toBeLessThan(more + 20);
  });

  test('a lazy unmap waits for nobody', () => {
    const settings = { vendor, scalableMode, domain: 'lazy' } as const;
    expect(unmapped(settings).unmapTime).toBe(unmapped({ ...settings, ats: false }).unmapTime);
  });

  test('one command for many pages', () => {
    const { machine, after } = unmapped({ vendor, scalableMode, domain: 'strict' }, 32);
    expect([after, machine.counters.get('invalidationsDeviceTlb')]).toEqual([null, 1]);
  });
});

/** What each command of the ring is, from its bits: type, opcode. */
const NAMES = {
  vtd: (first: number) => ['', 'context', 'IOTLB', 'device TLB', '', 'wait', 'PASID IOTLB'][first & 0xf],
  amd: (_first: number, second: number) =>
    ['', 'COMPLETION_WAIT', 'DEVTAB', 'IOMMU_PAGES', 'IOTLB_PAGES'][second >>> 28],
  smmuv3: (first: number) => ({ 0x11: 'NH_ASID', 0x12: 'NH_VA', 0x40: 'ATC_INV', 0x46: 'SYNC' })[first & 0xff],
} as const;

test.each([
  ['vtd', false, 'strict', ['IOTLB', 'device TLB', 'wait']],
  ['vtd', false, 'lazy', ['IOTLB', 'device TLB', 'wait']],
  ['vtd', true, 'strict', ['PASID IOTLB', 'device TLB', 'wait']],
  ['amd', false, 'strict', ['IOMMU_PAGES', 'IOTLB_PAGES', 'COMPLETION_WAIT']],
  ['amd', false, 'lazy', ['IOMMU_PAGES', 'IOTLB_PAGES', 'COMPLETION_WAIT']],
  ['smmuv3', false, 'strict', ['NH_VA', 'SYNC', 'ATC_INV', 'SYNC']],
  ['smmuv3', false, 'lazy', ['NH_ASID', 'SYNC', 'ATC_INV', 'SYNC']],
] as const)('what stands in the ring of %s, scalable mode %s, %s: %j', (vendor, scalableMode, domain, expected) => {
  const { machine } = unmapped({ vendor, scalableMode, domain });
  const { memory, iommu } = machine;
  const { ringPage } = iommu.invalidationQueue;
  const word = (slot: number, at: number): number => memory.readWord(ringPage, slot * (scalableMode ? 8 : 4) + at);
  expect(expected.map((_, slot) => NAMES[vendor](word(slot, 0), word(slot, 1)))).toEqual(expected);
  const rest = [0, 1, 2, 3].map((at) => word(expected.length, at));
  expect(rest).toEqual([0, 0, 0, 0]);
});

test('in a group, an unmap of any device tells those that may ask for translations, and no other', () => {
  const { iommu, submissions } = recordingHardware('vtd');
  const memory = new PhysicalMemory(2 ** 30);
  const api = new DmaApi({
    profile: kernelProfile('7.3'),
    costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3')),
    memory,
    frames: new FrameAllocator(memory, 2 ** 16, 2 ** 16),
    iommu,
    counters: new Counters(),
    trace: null,
    timers: null,
    cpus: 1,
    log: null,
  });
  const cpu = new Cpu(0);
  const device = (sourceId: number, properties: Partial<DmaDevice>): DmaDevice =>
    createDmaDevice({ name: `0000:00:0${String(sourceId / 8)}.0`, sourceId, ...properties });
  const first = device(0x08, { ats: true });
  const others = [device(0x10, {}), device(0x18, { ats: true, untrusted: true }), device(0x20, { ats: true })];
  api.attach(first, 'strict');
  for (const other of others) api.attach(other, 'strict', first);
  const told = (by: DmaDevice): bigint[] => {
    const address = api.dmaMapPhys(cpu, by, BUFFER, PAGE, DMA_BIDIRECTIONAL, 0);
    api.dmaUnmapPhys(cpu, by, address, PAGE, DMA_BIDIRECTIONAL, 0);
    const commands = submissions.splice(0).flat();
    return commands.filter((command) => (command & 0xfn) === 3n).map((command) => (command >> 32n) & 0xffffn);
  };
  for (const by of [first, ...others]) expect(told(by)).toEqual([0x08n, 0x20n]);
});
