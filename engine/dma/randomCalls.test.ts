/**
 * More than a million random calls from several CPUs, on every kind of machine, against the naive model of
 * testRandomDriver.ts: no bus page has two owners; after an unmap of a strict domain no access succeeds; what a device writes
 * is what the CPU reads, through every path; and in the end everything is given back.
 */
import { expect, test } from 'vitest';
import type { ByteMemory } from '../memory/byteMemory.ts';
import { ConfidentialMemory } from '../memory/confidentialMemory.ts';
import { PageKinds, type P2pdmaProvider } from '../memory/pageKinds.ts';
import type { P2pdmaMapType } from '../pcie/p2pdma.ts';
import { dmaBitMask } from './device.ts';
import { MemoryEncryption } from './memoryEncryption.ts';
import { BOUNCE_POOL, TestMachine, type TestMachineOptions } from './testMachine.ts';
import { RandomDriver } from './testRandomDriver.ts';

const CALLS = 90_000;
const CPUS = 4;
const PAGE_SIZE = 4096;
const SLOTS = 16_384;
const BUFFERS = { firstBufferPage: 0x4_0000, bufferPages: 4096 };
/** Buffers beyond 4 GiB, which a device of 32 bits does not reach. */
const HIGH_BUFFERS = { firstBufferPage: 0x10_1000, bufferPages: 4096 };
const PEER = { first: 0x8_0000, count: 256 };
const BUS_OFFSET = 0x40_0000_0000;
const PROVIDER: P2pdmaProvider = { name: '0000:02:00.0', busOffset: BUS_OFFSET, sourceId: 0x200 };

interface World {
  readonly name: string;
  readonly machine: TestMachineOptions;
  readonly buffers?: { readonly firstBufferPage: number; readonly bufferPages: number };
  readonly peer?: P2pdmaMapType;
  readonly confidential?: true;
}

const bounced = { swiotlbSlots: SLOTS, swiotlbAreas: CPUS } as const;
const untrusted = { untrusted: true, minAlignMask: PAGE_SIZE - 1 } as const;

const WORLDS: readonly World[] = [
  { name: '7.3, strict', machine: { profile: '7.3' } },
  { name: '7.3, lazy', machine: { profile: '7.3', domain: 'lazy' } },
  { name: '7.2, lazy', machine: { profile: '7.2', domain: 'lazy' } },
  { name: '6.17, strict, its own page-table code', machine: { profile: '6.17' } },
  { name: '6.12, lazy', machine: { profile: '6.12', domain: 'lazy' } },
  { name: 'ideal, lazy, caching mode', machine: { profile: 'ideal', domain: 'lazy', cachingMode: true } },
  { name: 'AMD, strict', machine: { vendor: 'amd' } },
  { name: 'VT-d in scalable mode, lazy', machine: { scalableMode: true, domain: 'lazy' } },
  { name: 'VT-d in scalable mode, strict', machine: { scalableMode: true } },
  { name: 'SMMUv3, strict, a command for each page', machine: { vendor: 'smmuv3' } },
  { name: 'SMMUv3, lazy, range invalidation', machine: { vendor: 'smmuv3', domain: 'lazy', rangeInvalidation: true } },
  { name: 'SMMUv3, strict, range invalidation', machine: { vendor: 'smmuv3', rangeInvalidation: true } },
  { name: 'RISC-V, strict', machine: { vendor: 'riscv' } },
  { name: 'RISC-V, lazy', machine: { vendor: 'riscv', domain: 'lazy' } },
  {
    name: 'AMD, lazy, addresses from the top',
    machine: { vendor: 'amd', domain: 'lazy', device: { forceDac: true, dmaMask: dmaBitMask(52) } },
  },
  { name: 'an untrusted device, strict', machine: { ...bounced, device: untrusted } },
  { name: 'an untrusted device, lazy', machine: { ...bounced, device: untrusted, domain: 'lazy' } },
  { name: 'passthrough', machine: { domain: 'passthrough' } },
  {
    name: 'no IOMMU, every mapping bounced',
    machine: { ...bounced, domain: 'none', iommu: false, swiotlbForce: true },
  },
  {
    name: 'no IOMMU, memory beyond the mask',
    machine: { ...bounced, domain: 'none', iommu: false, device: { dmaMask: dmaBitMask(32) } },
    buffers: HIGH_BUFFERS,
  },
  { name: 'a peer through the host bridge, strict', machine: {}, peer: 'thru_host_bridge' },
  { name: 'a peer below the IOMMU, strict', machine: {}, peer: 'bus_addr' },
  { name: 'a peer below the root complex, no IOMMU', machine: { domain: 'none', iommu: false }, peer: 'bus_addr' },
  {
    name: 'a confidential guest',
    machine: { ...bounced, domain: 'none', iommu: false, swiotlbForce: true, device: { forceUnencrypted: true } },
    confidential: true,
  },
];

test.each(WORLDS)('random calls of four CPUs keep every promise: $name', (world) => {
  const { machine, deviceMemory } = build(world);
  const { api, device, cpus, memory, frames, iommu } = machine;
  const domain = world.machine.domain ?? 'strict';
  const translated = domain === 'strict' || domain === 'lazy';
  const framesBefore = frames.freePages;
  const iova = api.translatedDevice(device)?.iova ?? null;
  const rangesBefore = iova?.tree.size ?? 0;
  const peerBus = world.peer === 'bus_addr' ? PEER.first + BUS_OFFSET / PAGE_SIZE : Infinity;

  const driver = new RandomDriver({
    api,
    device,
    cpus,
    memory,
    deviceMemory,
    seed: 20_240_319,
    ...(world.buffers ?? BUFFERS),
    ...(world.peer === undefined ? {} : { peerPages: PEER }),
    translated,
    untranslated: (page) => page >= peerBus && page < peerBus + PEER.count,
    strict: domain === 'strict',
    reach: (page, write) => {
      if (page >= peerBus && page < peerBus + PEER.count) return page - BUS_OFFSET / PAGE_SIZE;
      if (!translated) return page;
      return iommu.translateFunctional(device.sourceId, page, write) ? iommu.physPage : -1;
    },
    timer: (cpu) => {
      api.flushQueueTimer(cpu, device);
    },
  });
  driver.run(CALLS);

  expect(driver.problems).toEqual([]);
  expect(driver.calls).toBeGreaterThanOrEqual(CALLS);
  expect(driver.accesses).toBeGreaterThan(CALLS / 4);
  expect(machine.swiotlb?.used ?? 0).toBe(0);
  if (iova !== null) {
    iova.rcache.drain((pfn) => iova.tree.free(pfn));
    expect(iova.tree.size).toBe(rangesBefore);
    api.translatedDevice(device)?.domain.table.destroy();
    // the root was there before, and the table is gone with it
    expect(frames.freePages).toBe(framesBefore + 1);
  } else {
    expect(frames.freePages).toBe(framesBefore);
  }
});

function build(world: World): { readonly machine: TestMachine; readonly deviceMemory: ByteMemory } {
  const pageKinds = new PageKinds({ confidential: world.confidential === true });
  if (world.confidential === true) pageKinds.setPrivate(BOUNCE_POOL / PAGE_SIZE, SLOTS / 2, false);
  const { peer } = world;
  if (peer !== undefined) pageKinds.setRange(PEER.first, PEER.count, PROVIDER);
  const machine = new TestMachine({
    ...world.machine,
    cpus: CPUS,
    traced: false,
    ...(peer === undefined && world.confidential !== true ? {} : { pageKinds }),
    ...(peer === undefined ? {} : { p2pdma: { mapType: () => peer } }),
    ...(world.confidential === true ? { encryption: new MemoryEncryption(47) } : {}),
  });
  const { memory } = machine;
  const deviceMemory = world.confidential === true ? new ConfidentialMemory(memory, pageKinds, null) : memory;
  return { machine, deviceMemory };
}
