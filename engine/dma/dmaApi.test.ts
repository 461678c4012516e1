import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { PICOSECONDS_PER_MILLISECOND } from '../time/picoseconds.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE } from './attributes.ts';
import { dmaBitMask, createDmaDevice } from './device.ts';
import { ScatterList } from './scatterList.ts';
import { TestMachine } from './testMachine.ts';

const PAGE = 4096;

describe('dma_map_phys behind an IOMMU (drivers/iommu/dma-iommu.c)', () => {
  test('strict: allocates, maps, flushes and frees in the order of the kernel', () => {
    const machine = new TestMachine();
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x1_2345_6200, 0x200, DMA_FROM_DEVICE, 0);
    expect(address).toBe(0xffff_f200);
    api.dmaUnmapPhys(cpu, device, address, 0x200, DMA_FROM_DEVICE, 0);
    expect(machine.takeEvents()).toEqual([
      'alloc 1 below fffff -> fffff slow 1 of 1',
      'map fffff000 123456000 4096',
      'dma_map_phys = fffff200',
      'unmap fffff000 4096 4096',
      'flush fffff000-ffffffff fffff000 mask 0',
      'qi page fffff000 0 hint',
      'free fffff 1',
      'dma_unmap_phys = 0',
    ]);
  });

  test('strict: the device reads through the mapping, may not write a to-device one, and faults after the unmap', () => {
    const machine = new TestMachine();
    const { api, cpu, device } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x5000_0000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBe(0x50000);
    expect(machine.deviceSees(address, true)).toBeNull();
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.deviceSees(address)).toBeNull();
  });

  test.each([
    ['6.12', 'dma_map_page'],
    ['6.17', 'dma_map_page'],
    ['7.3', 'dma_map_phys'],
  ] as const)('in %s is traced as %s', (profile, name) => {
    const machine = new TestMachine({ profile, domain: 'passthrough' });
    machine.api.dmaMapPhys(machine.cpu, machine.device, 0x1000, PAGE, DMA_TO_DEVICE, 0);
    expect(machine.takeEvents()).toEqual([`${name} = 1000`]);
  });

  test('prefers addresses below 4 GiB until the first failure, and then never again', () => {
    const machine = new TestMachine({ device: { reservedRegions: [{ start: 0, end: 0xffff_dfff }] } });
    const { api, cpu, device } = machine;
    const map = (): number => api.dmaMapPhys(cpu, device, 0x1000, PAGE, DMA_TO_DEVICE, 0);
    expect([map(), map(), map()]).toEqual([0xffff_f000, 0xffff_e000, 0xffff_ffff_f000]);
    expect(machine.log.entries().map((entry) => entry.message)).toEqual(['Using 48-bit DMA addresses']);
    api.dmaUnmapPhys(cpu, device, 0xffff_f000, PAGE, DMA_TO_DEVICE, 0);
    machine.takeEvents();
    // the range below 4 GiB lies in the cache and is found there, but the limit is now the aperture
    expect(map()).toBe(0xffff_f000);
    expect(machine.takeEvents()[0]).toBe('alloc 1 below fffffffff flush -> fffff');
  });

  test("keeps below the limit of the device's buses, however wide its mask is", () => {
    const machine = new TestMachine({ device: { busDmaLimit: 0x7fff_ffff } });
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, 0x1000, PAGE, DMA_TO_DEVICE, 0)).toBe(0x7fff_f000);
    expect(machine.takeEvents()[0]).toBe('alloc 1 below 7ffff flush -> 7ffff slow 1 of 1');
  });

  test('with forcedac starts at the top of the aperture', () => {
    const machine = new TestMachine({ device: { forceDac: true } });
    expect(machine.api.dmaMapPhys(machine.cpu, machine.device, 0x1000, PAGE, DMA_TO_DEVICE, 0)).toBe(0xffff_ffff_f000);
  });

  test('never hands out the MSI window', () => {
    const machine = new TestMachine({ device: { reservedRegions: [{ start: 0xfef0_0000, end: 0xffff_ffff }] } });
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, 0x1000, PAGE, DMA_TO_DEVICE, 0)).toBe(0xfedf_f000);
  });

  test('fails when the mask leaves no IOVA, after two searches', () => {
    const machine = new TestMachine({
      device: { dmaMask: dmaBitMask(32), reservedRegions: [{ start: 0, end: 0xffff_ffff }] },
    });
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, 0x1000, PAGE, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect(machine.takeEvents()).toEqual(['alloc 1 below fffff flush -> 0 slow 2 of 1', 'dma_map_phys = ~0']);
  });
});

describe('lazy domains (queue_iova, fq_flush_timeout)', () => {
  test('the 256th unmap flushes the domain and frees the 255 before it, oldest first', () => {
    const machine = new TestMachine({ domain: 'lazy' });
    const { api, cpu, device } = machine;
    for (let index = 0; index < 256; index += 1) {
      const address = api.dmaMapPhys(cpu, device, 0x1000_0000, PAGE, DMA_TO_DEVICE, 0);
      // queued ranges cannot be used again: the loop walks downwards
      expect(address).toBe(0xffff_f000 - index * PAGE);
      if (index === 255) machine.takeEvents();
      api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_TO_DEVICE, 0);
    }
    const events = machine.takeEvents();
    expect(events.slice(0, 4)).toEqual([
      'unmap fff00000 4096 4096',
      'flush 0-~0 0 mask 52',
      'qi domain 0 0',
      'free fffff 1',
    ]);
    expect(events.filter((event) => event.startsWith('free')).length).toBe(255);
    expect(machine.counters.get('flushQueueFlushes')).toBe(1);
    expect(api.dmaMapPhys(cpu, device, 0x1000_0000, PAGE, DMA_TO_DEVICE, 0)).toBe(0xfff0_1000);
  });

  test('6.12 shows the flush of a domain by its descriptor alone', () => {
    const machine = new TestMachine({ profile: '6.12', domain: 'lazy' });
    const { api, cpu, device } = machine;
    api.dmaUnmapPhys(cpu, device, api.dmaMapPhys(cpu, device, 0x1000, PAGE, 1, 0), PAGE, 1, 0);
    machine.takeEvents();
    api.flushQueueTimer(cpu, device);
    expect(machine.takeEvents()).toEqual(['qi domain 0 0', 'free fffff 1']);
  });

  test('each CPU releases its own queue: another one waits for its next unmap or the timer', () => {
    const machine = new TestMachine({ domain: 'lazy', cpus: 2 });
    const { api, cpus, device } = machine;
    const mapUnmap = (cpu: number): void => {
      const address = api.dmaMapPhys(cpus[cpu]!, device, 0x1000, PAGE, DMA_TO_DEVICE, 0);
      api.dmaUnmapPhys(cpus[cpu]!, device, address, PAGE, DMA_TO_DEVICE, 0);
    };
    mapUnmap(1);
    for (let index = 0; index < 256; index += 1) mapUnmap(0);
    machine.takeEvents();
    mapUnmap(1);
    expect(machine.takeEvents().filter((event) => event.startsWith('free'))).toEqual(['free fffff 1']);
  });

  test('the timer fires 10 ms after the first unmap and frees everything', () => {
    const timers = new EventQueue();
    const machine = new TestMachine({ domain: 'lazy', timers });
    const { api, cpu, device } = machine;
    api.dmaUnmapPhys(cpu, device, api.dmaMapPhys(cpu, device, 0x1000, PAGE, 1, 0), PAGE, 1, 0);
    const queuedAt = cpu.now;
    expect(machine.counters.get('iovaFree')).toBe(0);
    expect(timers.step()).toBe(true);
    expect(timers.now).toBeLessThanOrEqual(queuedAt + 10 * PICOSECONDS_PER_MILLISECOND);
    expect(cpu.now).toBeGreaterThanOrEqual(timers.now);
    expect(machine.counters.get('iovaFree')).toBe(1);
    expect(timers.size).toBe(0);
  });

  test.each([
    ['6.12', 'strict', false],
    ['6.12', 'lazy', true],
    ['7.3', 'strict', false],
    ['7.3', 'lazy', true],
    ['ideal', 'lazy', true],
  ] as const)('%s, %s: whether a device still writes a page that was unmapped: %s', (profile, domain, stale) => {
    const machine = new TestMachine({ profile, domain });
    const { api, cpu, device, iommu, counters } = machine;
    const address = api.dmaMapPhys(cpu, device, 0x5000_0000, PAGE, DMA_FROM_DEVICE, 0);
    const writes = (): boolean => iommu.translate(device.sourceId, address / PAGE, true, 1, cpu.now);
    expect(writes()).toBe(true);
    api.dmaUnmapPhys(cpu, device, address, PAGE, DMA_FROM_DEVICE, 0);
    expect(writes()).toBe(stale);
    expect(counters.get('staleWindowAccesses')).toBe(stale ? 1 : 0);
    api.flushQueueTimer(cpu, device);
    expect(writes()).toBe(false);
  });

  test('keeps the pages of cut-off tables until the flush', () => {
    const machine = new TestMachine({ domain: 'lazy' });
    const { api, cpu, device } = machine;
    const list = new ScatterList();
    for (let index = 0; index < 512; index += 1) list.add(0x1000_0000 + index * 2 * PAGE, PAGE);
    expect(api.dmaMapSg(cpu, device, list, DMA_TO_DEVICE, 0)).toBeGreaterThan(0);
    api.dmaUnmapSg(cpu, device, list, DMA_TO_DEVICE, 0);
    expect(machine.counters.get('tablePagesFreed')).toBe(0);
    api.flushQueueTimer(cpu, device);
    expect(machine.counters.get('tablePagesFreed')).toBe(1);
  });
});

describe('without translation (kernel/dma/direct.c)', () => {
  test('addresses are physical, lists stay as they are, and the limits of the API say so', () => {
    const machine = new TestMachine({ domain: 'passthrough' });
    const { api, cpu, device } = machine;
    const list = new ScatterList();
    list.add(0x1000, PAGE);
    list.add(0x2000, PAGE);
    expect(api.dmaMapSg(cpu, device, list, DMA_TO_DEVICE, 0)).toBe(2);
    expect([...list.dmaAddress.subarray(0, 2)]).toEqual([0x1000, 0x2000]);
    expect(api.dmaNeedUnmap(device)).toBe(false);
    expect(api.dmaGetMergeBoundary(device)).toBe(0);
    expect(api.dmaOptMappingSize(device)).toBe(api.dmaMaxMappingSize(device));
    expect(machine.deviceSees(0x1000)).toBe(1);
  });

  test('memory beyond the mask is refused and logged', () => {
    const machine = new TestMachine({ domain: 'none', device: { dmaMask: dmaBitMask(32) } });
    const { api, cpu, device } = machine;
    expect(api.dmaMapPhys(cpu, device, 2 ** 32 - PAGE, PAGE, DMA_TO_DEVICE, 0)).toBe(2 ** 32 - PAGE);
    expect(api.dmaMapPhys(cpu, device, 2 ** 32 - PAGE, PAGE + 1, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect(machine.log.entries()[0]!.message).toContain('overflow');
  });
});

describe('the DMA API', () => {
  test('tells drivers of an IOMMU what to expect', () => {
    const { api, device } = new TestMachine();
    expect(api.dmaNeedUnmap(device)).toBe(true);
    expect(api.dmaGetMergeBoundary(device)).toBe(0xfff);
    expect(api.dmaOptMappingSize(device)).toBe(128 * 1024);
  });

  test('allocates coherent memory with one map, aligned so that 2 MiB take one leaf', () => {
    const machine = new TestMachine();
    const { api, cpu, device } = machine;
    const memory = api.dmaAllocCoherent(cpu, device, 2 ** 21)!;
    expect(machine.counters.get('pteWrites')).toBe(1);
    expect(machine.deviceSees(memory.address + 5 * PAGE)).toBe(memory.phys / PAGE + 5);
    expect(machine.takeEvents().at(-1)).toBe(`dma_alloc = ${memory.address.toString(16)}`);
    api.dmaFreeCoherent(cpu, device, 2 ** 21, memory);
    expect(machine.takeEvents()[0]).toBe('dma_free = 0');
    expect(machine.deviceSees(memory.address)).toBeNull();
  });

  test('refuses calls of a device that is not attached', () => {
    const machine = new TestMachine();
    const other = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20 });
    expect(() => machine.api.dmaMapPhys(machine.cpu, other, 0, PAGE, 1, 0)).toThrow('not attached');
  });

  test('says what to do when a domain needs an IOMMU and there is none', () => {
    expect(() => new TestMachine({ iommu: false })).toThrow('Add an IOMMU to the topology, or choose passthrough.');
    expect(() => new TestMachine({ iommu: false, domain: 'passthrough' })).not.toThrow();
  });

  test('charges the CPU that calls, and waits for the invalidation', () => {
    const machine = new TestMachine({ cpus: 2 });
    const { api, cpus, device } = machine;
    const address = api.dmaMapPhys(cpus[1]!, device, 0x1000, PAGE, DMA_TO_DEVICE, 0);
    api.dmaUnmapPhys(cpus[1]!, device, address, PAGE, DMA_TO_DEVICE, 0);
    expect(cpus[0]!.now).toBe(0);
    expect(cpus[1]!.now).toBeGreaterThan(0);
    expect(machine.counters.get('iotlbSyncs')).toBe(1);
    expect(machine.counters.get('invalidationsPage')).toBe(1);
  });

  test('gives two devices two domains', () => {
    const machine = new TestMachine();
    const { api, cpu, device } = machine;
    const other = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20 });
    api.attach(other, 'strict');
    const first = api.dmaMapPhys(cpu, device, 0x1000, PAGE, DMA_TO_DEVICE, 0);
    const second = api.dmaMapPhys(cpu, other, 0x2000, PAGE, DMA_TO_DEVICE, 0);
    expect(second).toBe(first);
    expect(machine.deviceSees(first)).toBe(1);
    expect(api.translatedDevice(other)!.domain.domainId).not.toBe(api.translatedDevice(device)!.domain.domainId);
  });
});

describe('coherent memory behind an IOMMU (__iommu_dma_alloc_noncontiguous)', () => {
  test('does not mind an alignment that a streaming mapping could not keep', () => {
    const { api, cpu, device } = new TestMachine({ device: { minAlignMask: 8191 } });
    expect(api.dmaMapPhys(cpu, device, 0x1000, 4096, 0, 0)).toBe(DMA_MAPPING_ERROR);
    expect(api.dmaAllocCoherent(cpu, device, 8192)?.address).toBe(0xffff_e000);
  });
});
