/** The direct way, branch by branch (Linux kernel/dma/direct.h `dma_direct_map_phys`, kernel/dma/direct.c `dma_direct_map_sg`). */
import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { PageKinds, type P2pdmaProvider } from '../memory/pageKinds.ts';
import type { P2pdmaMapType } from '../pcie/p2pdma.ts';
import {
  DMA_ATTR_CC_SHARED,
  DMA_ATTR_MMIO,
  DMA_ATTR_NO_WARN,
  DMA_ATTR_REQUIRE_COHERENT,
  DMA_ATTR_SKIP_CPU_SYNC,
  DMA_BIDIRECTIONAL,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  type DmaDirection,
} from './attributes.ts';
import { dmaBitMask } from './device.ts';
import { EIO, EREMOTEIO } from './errno.ts';
import { MemoryEncryption } from './memoryEncryption.ts';
import { ScatterList } from './scatterList.ts';
import { BOUNCE_POOL, TestMachine, type TestMachineOptions } from './testMachine.ts';

const PAGE = 4096;
const LOW = 0x1000_0000;
const HIGH = 0x1_8000_0000;
const SHARED = DMA_ATTR_CC_SHARED;
const MMIO = DMA_ATTR_MMIO;
const COHERENT = DMA_ATTR_REQUIRE_COHERENT;

function direct(options: TestMachineOptions = {}): TestMachine {
  return new TestMachine({ domain: 'none', iommu: false, ...options });
}

function map(machine: TestMachine, phys: number, attributes = 0, direction: DmaDirection = DMA_BIDIRECTIONAL): string {
  const { api, cpu, device } = machine;
  const address = api.dmaMapPhys(cpu, device, phys, PAGE, direction, attributes);
  if (address === DMA_MAPPING_ERROR) return 'error';
  if (machine.swiotlb?.contains(address) === true) return 'bounced';
  return address === phys ? 'itself' : `0x${address.toString(16)}`;
}

describe('one range', () => {
  const force = { swiotlbSlots: 512, swiotlbForce: true };
  const narrow = { swiotlbSlots: 512, device: { dmaMask: dmaBitMask(32) } };

  test.each([
    // (a) forced: all but shared memory is bounced, or refused where a copy would not do
    ['forced', force, LOW, 0, 'bounced'],
    ['forced, MMIO', force, LOW, MMIO, 'error'],
    ['forced, REQUIRE_COHERENT', force, LOW, COHERENT, 'error'],
    ['forced, shared', force, LOW, SHARED, 'itself'],
    // (b) shared memory where nothing is forced
    ['shared', {}, LOW, SHARED, 'error'],
    // (c) MMIO: itself, within the mask, never bounced
    ['MMIO', narrow, LOW, MMIO, 'itself'],
    ['MMIO beyond the mask', narrow, HIGH, MMIO, 'error'],
    // (d) shared memory, beyond the mask
    ['forced, shared beyond the mask', { ...force, ...narrow }, HIGH, SHARED, 'error'],
    // (e) everything else
    ['plain', {}, HIGH, 0, 'itself'],
    ['beyond the mask', narrow, HIGH, 0, 'bounced'],
    ['beyond the mask, REQUIRE_COHERENT', narrow, HIGH, COHERENT, 'error'],
    ['beyond the mask without a pool', { device: { dmaMask: dmaBitMask(32) } }, HIGH, 0, 'error'],
    ['beyond what the bus carries', { swiotlbSlots: 512, device: { busDmaLimit: 0xffff_ffff } }, HIGH, 0, 'bounced'],
    ['the last page below the mask', narrow, 2 ** 32 - PAGE, 0, 'itself'],
    ['the first byte beyond it', narrow, 2 ** 32 - PAGE + 1, 0, 'bounced'],
    ['a pool beyond the mask', { swiotlbSlots: 512, device: { dmaMask: dmaBitMask(28) } }, HIGH, 0, 'error'],
  ] as const)('%s', (_name, options, phys, attributes, expected) => {
    const machine = direct(options);
    expect(map(machine, phys, attributes)).toBe(expected);
    expect(machine.swiotlb?.used ?? 0).toBe(expected === 'bounced' ? 2 : 0);
  });

  test('kernels before 6.18 map registers under force as they are', () => {
    expect(map(direct({ ...force, profile: '6.12' }), LOW, MMIO)).toBe('itself');
    expect(map(direct({ ...force, profile: '6.17' }), LOW, MMIO)).toBe('itself');
    expect(map(direct({ ...force, profile: '6.18' }), LOW, MMIO)).toBe('error');
  });

  test('what does not fit is said with both limits, whether or not the driver wants warnings', () => {
    const machine = direct({ device: { dmaMask: dmaBitMask(32), busDmaLimit: 0xfffff } });
    map(machine, HIGH, DMA_ATTR_NO_WARN);
    expect(machine.log.entries().map(({ message }) => message)).toEqual([
      'DMA addr 0x180000000+4096 overflow (mask ffffffff, bus limit fffff).',
    ]);
  });

  test('a pool that the device does not reach is said too, and its slots are free again', () => {
    const machine = direct({ swiotlbSlots: 512, device: { dmaMask: dmaBitMask(28) } });
    map(machine, HIGH);
    expect(machine.log.entries()[0]?.message).toBe(
      `swiotlb addr 0x${BOUNCE_POOL.toString(16)}+4096 overflow (mask fffffff, bus limit 0).`,
    );
    expect(machine.swiotlb!.used).toBe(0);
  });

  test('small objects of kmalloc are bounced for a device without coherence, unless it only reads them', () => {
    const pageKinds = new PageKinds();
    pageKinds.setKmallocSmall(LOW / PAGE, 1, true);
    const machine = direct({ pageKinds, swiotlbSlots: 512, device: { coherent: false } });
    expect(map(machine, LOW, 0, DMA_TO_DEVICE)).toBe('itself');
    expect(map(machine, LOW, 0, DMA_FROM_DEVICE)).toBe('bounced');
    expect(map(machine, LOW + PAGE, 0, DMA_FROM_DEVICE)).toBe('itself');
    expect(map(direct({ pageKinds, swiotlbSlots: 512 }), LOW, 0, DMA_FROM_DEVICE)).toBe('itself');
    expect(map(machine, LOW, COHERENT, DMA_TO_DEVICE)).toBe('error');
  });

  test('encrypted memory has the C-bit in its address, which counts against the mask', () => {
    const encryption = new MemoryEncryption(47);
    expect(map(direct({ encryption }), LOW)).toBe('0x800010000000');
    expect(map(direct({ encryption }), LOW, MMIO)).toBe('itself');
    const machine = direct({ encryption, swiotlbSlots: 512, device: { dmaMask: dmaBitMask(47) } });
    expect(map(machine, LOW)).toBe('bounced');
    const { api, cpu, device, swiotlb } = direct({ encryption, swiotlbSlots: 512 });
    const coherent = api.dmaAllocCoherent(cpu, device, PAGE)!;
    expect(coherent.address).toBe(coherent.phys + 2 ** 47);
    expect(swiotlb!.used).toBe(0);
    expect(encryption.physOf(coherent.address)).toBe(coherent.phys);
  });

  test('unmap brings back what the device wrote, unless told not to', () => {
    const machine = direct(force);
    const { api, cpu, device } = machine;
    for (const [attributes, seen] of [
      [0, 7],
      [DMA_ATTR_SKIP_CPU_SYNC, 1],
    ] as const) {
      machine.fill(LOW, PAGE, 1);
      const address = api.dmaMapPhys(cpu, device, LOW, PAGE, DMA_FROM_DEVICE, 0);
      machine.fill(address, PAGE, 7);
      api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_FROM_DEVICE, attributes);
      expect(machine.bytes(LOW, 1)[0]).toBe(seen);
    }
    expect(machine.swiotlb!.used).toBe(0);
  });

  test('syncs have nothing to do until the first bounce, and copy the bounced part from then on', () => {
    const machine = direct({ swiotlbSlots: 512, device: { dmaMask: dmaBitMask(32) } });
    const { api, cpu, device } = machine;
    expect(api.dmaNeedUnmap(device)).toBe(false);
    const address = api.dmaMapPhys(cpu, device, HIGH, PAGE, DMA_FROM_DEVICE, 0);
    expect(api.dmaNeedUnmap(device)).toBe(true);
    machine.fill(address, PAGE, 9);
    api.dmaSyncSingleForCpu(cpu, device, address + 100, 50, DMA_FROM_DEVICE);
    expect([99, 100, 149, 150].map((at) => machine.bytes(HIGH + at, 1)[0])).toEqual([0, 9, 9, 0]);
    expect(api.dmaSetMaskAndCoherent(device, dmaBitMask(64))).toBe(0);
    expect(api.dmaNeedUnmap(device)).toBe(false);
  });
});

describe('scatterlists', () => {
  const PEER: P2pdmaProvider = { name: '0000:05:00.0', busOffset: 0x4000_0000, sourceId: 0x500 };
  const PEER_PHYS = 0x1_4000_0000;

  function withPeer(way: P2pdmaMapType, options: TestMachineOptions = {}): TestMachine {
    const pageKinds = new PageKinds();
    pageKinds.setRange(PEER_PHYS / PAGE, 16, PEER);
    return direct({ pageKinds, p2pdma: { mapType: () => way }, swiotlbSlots: 512, ...options });
  }

  function mapList(machine: TestMachine, ...places: number[]): { result: number; list: ScatterList } {
    const list = new ScatterList();
    for (const phys of places) list.add(phys, PAGE);
    return { list, result: machine.api.dmaMapSg(machine.cpu, machine.device, list, DMA_FROM_DEVICE, 0) };
  }

  test('every entry for itself, bounced where it must be', () => {
    const machine = direct({ swiotlbSlots: 512, device: { dmaMask: dmaBitMask(32) } });
    const { result, list } = mapList(machine, LOW, HIGH, LOW + PAGE);
    expect([result, list.mappedCount, machine.swiotlb!.used]).toEqual([3, 3, 2]);
    expect([list.dmaAddress[0], list.dmaAddress[2]]).toEqual([LOW, LOW + PAGE]);
    machine.fill(list.dmaAddress[1]!, PAGE, 5);
    machine.api.dmaUnmapSg(machine.cpu, machine.device, list, DMA_FROM_DEVICE, 0);
    expect([machine.bytes(HIGH, 1)[0], machine.swiotlb!.used]).toEqual([5, 0]);
  });

  test('one entry that fails takes all with it: -EIO, nothing stays, nothing is copied back', () => {
    const machine = direct({ swiotlbSlots: 128, device: { dmaMask: dmaBitMask(32) } });
    machine.fill(HIGH, PAGE, 1);
    const { result, list } = mapList(machine, HIGH, HIGH + 2 ** 20, ...Array.from({ length: 70 }, () => HIGH));
    expect([result, list.mappedCount, machine.swiotlb!.used]).toEqual([EIO, 0, 0]);
  });

  test('a peer on the same bus by its bus address, never bounced nor unmapped', () => {
    const machine = withPeer('bus_addr', { swiotlbForce: true });
    const { result, list } = mapList(machine, LOW, PEER_PHYS + PAGE);
    expect([result, machine.swiotlb!.used]).toEqual([2, 2]);
    expect([list.dmaAddress[1], list.busAddress[1]]).toEqual([PEER_PHYS + PAGE + PEER.busOffset, 1]);
    machine.api.dmaSyncSgForCpu(machine.cpu, machine.device, list, DMA_FROM_DEVICE);
    machine.api.dmaUnmapSg(machine.cpu, machine.device, list, DMA_FROM_DEVICE, 0);
    expect(machine.swiotlb!.used).toBe(0);
  });

  test('a peer through the host bridge by its CPU address, refused where it does not fit', () => {
    expect(mapList(withPeer('thru_host_bridge'), PEER_PHYS).list.dmaAddress[0]).toBe(PEER_PHYS);
    const narrow = withPeer('thru_host_bridge', { device: { dmaMask: dmaBitMask(32) } });
    expect([mapList(narrow, LOW, PEER_PHYS).result, narrow.swiotlb!.used]).toEqual([EIO, 0]);
  });

  test('a peer out of reach is -EREMOTEIO, and what was mapped before it is taken back', () => {
    const machine = withPeer('not_supported', { swiotlbForce: true });
    expect([mapList(machine, LOW, PEER_PHYS).result, machine.swiotlb!.used]).toEqual([EREMOTEIO, 0]);
  });
});

describe('limits of a device (kernel/dma/mapping.c, kernel/dma/direct.c)', () => {
  const limits = (options: TestMachineOptions): unknown[] => {
    const { api, device } = new TestMachine(options);
    return [
      api.dmaMaxMappingSize(device),
      api.dmaOptMappingSize(device),
      api.dmaGetMergeBoundary(device),
      api.dmaGetRequiredMask(device),
      api.dmaAddressingLimited(device),
      api.dmaNeedUnmap(device),
    ];
  };
  const ALL = Number.MAX_SAFE_INTEGER;
  const MEMORY_MASK = 2 ** 33 - 1;
  const none = { domain: 'none', iommu: false } as const;
  const narrow = { dmaMask: dmaBitMask(32) };

  test.each([
    ['translated', {}, [ALL, 131_072, 4095, 0xffff_ffff, false, true]],
    ['translated, 31 bits', { device: { dmaMask: dmaBitMask(31) } }, [ALL, 131_072, 4095, 0xffff_ffff, true, true]],
    [
      'translated, untrusted',
      { swiotlbSlots: 512, device: { untrusted: true, minAlignMask: 4095 } },
      [258_048, 131_072, 4095, 0xffff_ffff, false, true],
    ],
    ['direct', { ...none, swiotlbSlots: 512 }, [ALL, ALL, 0, MEMORY_MASK, false, false]],
    [
      'direct, 32 bits',
      { ...none, swiotlbSlots: 512, device: narrow },
      [262_144, 262_144, 0, MEMORY_MASK, true, false],
    ],
    ['direct, 32 bits, no pool', { ...none, device: narrow }, [ALL, ALL, 0, MEMORY_MASK, true, false]],
    [
      'direct, forced',
      { ...none, swiotlbSlots: 512, swiotlbForce: true },
      [262_144, 262_144, 0, MEMORY_MASK, false, false],
    ],
    ['passthrough', { domain: 'passthrough' }, [ALL, ALL, 0, MEMORY_MASK, false, false]],
  ] as const)('%s', (_name, options, expected) => {
    expect(limits(options)).toEqual(expected);
  });

  test('a mask below the smallest zone is refused, and changes nothing', () => {
    const { api, device } = direct();
    expect(api.dmaSetMaskAndCoherent(device, dmaBitMask(23))).toBe(EIO);
    expect([device.dmaMask, device.coherentDmaMask]).toEqual([dmaBitMask(64), dmaBitMask(64)]);
    expect(api.dmaSetMaskAndCoherent(device, dmaBitMask(24))).toBe(0);
    expect([device.dmaMask, device.coherentDmaMask]).toEqual([dmaBitMask(24), dmaBitMask(24)]);
  });
});
