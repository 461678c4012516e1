/** Each misuse of a one-call mapping is told in the kernel's words (Linux kernel/dma/debug.c). */
import { beforeEach, describe, expect, it } from 'vitest';
import { DMA_MAPPING_ERROR, dmaAddr, PAGE_SIZE, physAddr } from '../../memory/addresses.ts';
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import { ScatterList } from '../scatterList.ts';
import { ApiMisuseError } from './apiMisuseError.ts';
import { CheckedMachine } from './testCheckedMachine.ts';

const PHYS = 0x100_0000;
let machine: CheckedMachine;

beforeEach(() => {
  machine = new CheckedMachine();
});

/** A mapping whose error was asked for, as a driver should. */
function map(size = PAGE_SIZE, direction: DmaDirection = DMA_TO_DEVICE, phys = PHYS): number {
  const { api, cpu, device } = machine;
  const address = api.dmaMapPhys(cpu, device, phys, size, direction, 0);
  expect(api.dmaMappingError(device, address)).toBe(false);
  return address;
}

function unmap(address: number, size = PAGE_SIZE, direction: DmaDirection = DMA_TO_DEVICE): void {
  machine.api.dmaUnmapPhys(machine.cpu, machine.device, address, size, direction, 0);
}

function listOf(entries: readonly (readonly [number, number])[]): ScatterList {
  const list = new ScatterList();
  for (const [phys, length] of entries) list.add(phys, length);
  return list;
}

function mapSg(list: ScatterList, direction: DmaDirection = DMA_TO_DEVICE): number {
  return machine.api.dmaMapSg(machine.cpu, machine.device, list, direction, 0);
}

function unmapSg(list: ScatterList, direction: DmaDirection = DMA_TO_DEVICE): void {
  machine.api.dmaUnmapSg(machine.cpu, machine.device, list, direction, 0);
}

describe('unmap', () => {
  it('is quiet when everything is as it was mapped', () => {
    unmap(map());
    const list = listOf([
      [PHYS, PAGE_SIZE],
      [PHYS + 0x10_0000, PAGE_SIZE],
    ]);
    mapSg(list);
    unmapSg(list);
    expect(machine.kinds).toEqual([]);
  });

  it('tells of the error address', () => {
    unmap(DMA_MAPPING_ERROR);
    expect(machine.messages).toEqual(['device driver tries to free an invalid DMA memory address']);
  });

  it('tells of memory that was never mapped', () => {
    unmap(0x1234_5000);
    expect(machine.messages).toEqual([
      'device driver tries to free DMA memory it has not allocated [device address=0x0000000012345000] [size=4096 bytes]',
    ]);
  });

  it('tells of a second unmap, with the history of the mapping that was', () => {
    const address = map();
    unmap(address);
    unmap(address);
    expect(machine.kinds).toEqual(['freeNotAllocated']);
    const [misuse] = machine.checker.misuses;
    const hex = address.toString(16);
    expect(misuse?.history.map(({ text }) => text)).toEqual([
      `dma_map_phys(phys=0x1000000, size=0x1000, dir=DMA_TO_DEVICE, attrs=0x0, dma_addr=0x${hex})`,
      `dma_unmap_phys(addr=0x${hex}, size=0x1000, dir=DMA_TO_DEVICE, attrs=0x0)`,
    ]);
    expect(misuse?.driver).toBe('nvme');
    expect(misuse?.device).toBe('0000:00:04.0');
  });

  it('tells of another size', () => {
    const address = map(PAGE_SIZE);
    unmap(address, PAGE_SIZE - 1);
    expect(machine.messages).toEqual([
      `device driver frees DMA memory with different size [device address=0x${address.toString(16).padStart(16, '0')}] [map size=4096 bytes] [unmap size=4095 bytes]`,
    ]);
  });

  it('tells of the wrong function', () => {
    const list = listOf([[PHYS, PAGE_SIZE]]);
    mapSg(list);
    unmap(list.dmaAddress[0]!);
    expect(machine.kinds).toEqual(['freeWrongFunction']);
    expect(machine.messages[0]).toContain('[mapped as scatter-gather] [unmapped as phy]');
  });

  it('calls a single mapping by the name that the kernel of the profile has', () => {
    machine = new CheckedMachine({ profile: '6.12' });
    const list = listOf([[PHYS, PAGE_SIZE]]);
    mapSg(list);
    unmap(list.dmaAddress[0]!);
    expect(machine.messages[0]).toContain('[unmapped as single]');
  });

  it('tells of another CPU address of coherent memory', () => {
    const { api, cpu, device } = machine;
    const memory = api.dmaAllocCoherent(cpu, device, PAGE_SIZE)!;
    const other = api.dmaAllocCoherent(cpu, device, PAGE_SIZE)!;
    const mixed = { phys: physAddr(other.phys), address: dmaAddr(memory.address) };
    api.dmaFreeCoherent(cpu, device, PAGE_SIZE, mixed);
    expect(machine.kinds).toEqual(['freeOtherCpuAddress']);
    expect(machine.messages[0]).toContain(`[cpu free address=0x${other.phys.toString(16).padStart(16, '0')}]`);
  });

  it('tells of another number of scatterlist entries', () => {
    const list = listOf([
      [PHYS, PAGE_SIZE],
      [PHYS + 0x10_0000, PAGE_SIZE],
    ]);
    machine.device.maxSegmentSize = PAGE_SIZE;
    expect(mapSg(list)).toBe(2);
    list.count = 1;
    unmapSg(list);
    expect(machine.messages).toEqual([
      'device driver frees DMA sg list with different entry count [map count=2] [unmap count=1]',
    ]);
  });

  it('tells of another direction', () => {
    unmap(map(PAGE_SIZE, DMA_TO_DEVICE), PAGE_SIZE, DMA_FROM_DEVICE);
    expect(machine.kinds).toEqual(['freeOtherDirection']);
    expect(machine.messages[0]).toContain('[mapped with DMA_TO_DEVICE] [unmapped with DMA_FROM_DEVICE]');
  });

  it('tells of a mapping whose error was never asked for', () => {
    const { api, cpu, device } = machine;
    unmap(api.dmaMapPhys(cpu, device, PHYS, PAGE_SIZE, DMA_TO_DEVICE, 0));
    expect(machine.kinds).toEqual(['mappingErrorNotChecked']);
    expect(machine.messages[0]).toMatch(/^device driver failed to check map error\[device address=0x[0-9a-f]{16}\]/);
  });

  it('takes the mapping that fits when one address has several, as without translation', () => {
    machine = new CheckedMachine({ domain: 'passthrough' });
    const address = map(PAGE_SIZE, DMA_TO_DEVICE);
    expect(map(2 * PAGE_SIZE, DMA_TO_DEVICE)).toBe(address);
    unmap(address, PAGE_SIZE);
    unmap(address, 2 * PAGE_SIZE);
    expect(machine.kinds).toEqual([]);
  });
});

describe('map', () => {
  it.each([
    ['stack', 'mapFromStack', 'from stack'],
    ['text', 'mapFromKernelText', 'from kernel text or rodata'],
    ['vmalloc', 'mapFromVmalloc', 'from vmalloc area'],
    ['invalid', 'mapFromInvalidArea', 'from invalid area'],
  ] as const)('tells of memory of the area %s', (area, kind, words) => {
    machine.areas.add(area, PHYS / PAGE_SIZE, 4);
    map();
    mapSg(listOf([[PHYS + PAGE_SIZE, PAGE_SIZE]]));
    expect(machine.kinds).toEqual([kind, kind]);
    expect(machine.messages[0]).toContain(`device driver maps memory ${words} [addr=0x1000000] [len=4096]`);
  });

  it('tells of a segment longer than the device takes', () => {
    machine.device.maxSegmentSize = 0x2000;
    mapSg(listOf([[PHYS, 0x3000]]));
    expect(machine.messages).toEqual([
      'mapping sg segment longer than device claims to support [len=12288] [max=8192]',
    ]);
  });

  it('tells of a segment across a boundary of the device', () => {
    machine = new CheckedMachine({ domain: 'passthrough', device: { segBoundaryMask: 0xffff } });
    mapSg(listOf([[0x100_f000, 0x2000]]));
    expect(machine.messages).toEqual([
      'mapping sg segment across boundary [start=0x000000000100f000] [end=0x0000000001010fff] [boundary=0x000000000000ffff]',
    ]);
  });

  it('tells of a cache line that two mappings let the device write', () => {
    map(64, DMA_FROM_DEVICE);
    map(32, DMA_BIDIRECTIONAL, PHYS + 32);
    map(64, DMA_FROM_DEVICE, PHYS + 64);
    expect(machine.kinds).toEqual(['overlappingCacheLine']);
    // the history is that of the mapping that was there first
    expect(machine.checker.misuses[0]?.history.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^dma_map_phys\(phys=0x1000000, size=0x40, /),
    ]);
  });

  it('tells of more than seven overlaps of a cache line', () => {
    for (let count = 0; count < 9; count += 1) map(64, DMA_FROM_DEVICE);
    expect(machine.kinds.filter((kind) => kind === 'tooManyOverlaps')).toHaveLength(1);
    expect(machine.messages.at(-1)).toBe('exceeded 7 overlapping mappings of cacheline 0x1000000');
  });

  it('lets many mappings read one cache line, and another write it after an unmap', () => {
    map(64, DMA_TO_DEVICE);
    map(64, DMA_TO_DEVICE);
    unmap(map(64, DMA_FROM_DEVICE), 64, DMA_FROM_DEVICE);
    map(64, DMA_FROM_DEVICE);
    expect(machine.kinds).toEqual([]);
  });
});

describe('sync', () => {
  function sync(address: number, size: number, direction: DmaDirection, forCpu = true): void {
    const { api, cpu, device } = machine;
    if (forCpu) api.dmaSyncSingleForCpu(cpu, device, address, size, direction);
    else api.dmaSyncSingleForDevice(cpu, device, address, size, direction);
  }

  it('is quiet inside the mapping and in its direction, and in any where the mapping goes both ways', () => {
    const address = map(2 * PAGE_SIZE, DMA_FROM_DEVICE);
    sync(address, 2 * PAGE_SIZE, DMA_FROM_DEVICE);
    sync(address + 100, 50, DMA_FROM_DEVICE);
    sync(map(PAGE_SIZE, DMA_BIDIRECTIONAL, PHYS + 0x10_0000), PAGE_SIZE, DMA_TO_DEVICE, false);
    expect(machine.kinds).toEqual([]);
  });

  it('tells of memory that is not mapped', () => {
    sync(0x1234_5000, 64, DMA_FROM_DEVICE);
    expect(machine.messages).toEqual([
      'device driver tries to sync DMA memory it has not allocated [device address=0x0000000012345000] [size=64 bytes]',
    ]);
  });

  it('tells of a range beyond the mapping', () => {
    const address = map(PAGE_SIZE, DMA_FROM_DEVICE);
    sync(address + 0x800, PAGE_SIZE, DMA_FROM_DEVICE);
    expect(machine.kinds).toEqual(['syncOutsideRange']);
    expect(machine.messages[0]).toContain('[allocation size=4096 bytes] [sync offset+size=6144]');
  });

  it('tells of another direction', () => {
    sync(map(PAGE_SIZE, DMA_FROM_DEVICE), 64, DMA_BIDIRECTIONAL);
    expect(machine.kinds).toEqual(['syncOtherDirection']);
    expect(machine.messages[0]).toContain('[mapped with DMA_FROM_DEVICE] [synced with DMA_BIDIRECTIONAL]');
  });

  it('tells of memory that the device only reads, synchronised for the CPU', () => {
    sync(map(PAGE_SIZE, DMA_TO_DEVICE), 64, DMA_FROM_DEVICE, true);
    expect(machine.kinds).toEqual(['syncOtherDirection', 'syncReadOnlyForCpu']);
  });

  it('tells of memory that the device only writes, synchronised for it', () => {
    sync(map(PAGE_SIZE, DMA_FROM_DEVICE), 64, DMA_TO_DEVICE, false);
    expect(machine.kinds).toEqual(['syncOtherDirection', 'syncWriteOnlyForDevice']);
  });

  it('tells of another number of scatterlist entries, once for each segment', () => {
    const { api, cpu, device } = machine;
    const list = listOf([
      [PHYS, PAGE_SIZE],
      [PHYS + 0x10_0000, PAGE_SIZE],
    ]);
    mapSg(list, DMA_FROM_DEVICE);
    api.dmaSyncSgForCpu(cpu, device, list, DMA_FROM_DEVICE);
    api.dmaSyncSgForDevice(cpu, device, list, DMA_FROM_DEVICE);
    expect(machine.kinds).toEqual([]);
    list.count = 1;
    api.dmaSyncSgForCpu(cpu, device, list, DMA_FROM_DEVICE);
    expect(new Set(machine.kinds)).toEqual(new Set(['syncOtherSgCount']));
    expect(machine.messages[0]).toBe(
      'device driver syncs DMA sg list with different entry count [map count=2] [sync count=1]',
    );
  });
});

describe('release', () => {
  it('tells of mappings that the driver leaves behind', () => {
    const address = map();
    map(PAGE_SIZE, DMA_FROM_DEVICE, PHYS + 0x1000);
    machine.api.driverUnbound(machine.cpu, machine.device);
    expect(machine.kinds).toEqual(['pendingAtRelease']);
    expect(machine.messages[0]).toContain('pending DMA allocations while released from device [count=2]');
    expect(machine.messages[0]).toContain(`[device address=0x${address.toString(16).padStart(16, '0')}]`);
  });

  it('is quiet when nothing is left', () => {
    unmap(map());
    machine.api.driverUnbound(machine.cpu, machine.device);
    expect(machine.kinds).toEqual([]);
  });
});

describe('the checker itself', () => {
  it('stops at the first misuse before the call is carried out', () => {
    machine = new CheckedMachine({ mode: 'stop' });
    const address = map();
    expect(() => {
      unmap(address, PAGE_SIZE, DMA_FROM_DEVICE);
    }).toThrow(ApiMisuseError);
    expect(machine.checker.result()).toMatchObject({ stopped: true, errorCount: 1 });
    expect(machine.touch(address, false)).toBe(true);
  });

  it('names each misuse in the log, and only counts when it has many, but for the first of a kind', () => {
    for (let count = 0; count < 150; count += 1) unmap(0x1000 * (count + 1));
    unmap(DMA_MAPPING_ERROR);
    expect(machine.kinds.at(-1)).toBe('freeInvalidAddress');
    const { errorCount, misuses, byKind } = machine.checker.result();
    expect([errorCount, misuses.length, byKind]).toEqual([151, 101, { freeNotAllocated: 150, freeInvalidAddress: 1 }]);
    const named = machine.base.log.entries().filter(({ misuse }) => misuse !== undefined);
    expect(named).toHaveLength(101);
    expect(named[0]).toMatchObject({ severity: 'error', source: 'DMA-API', misuse: 1 });
    expect(named[0]?.message).toMatch(/^nvme 0000:00:04\.0: device driver tries to free/);
  });

  it('counts its entries as debugfs shows them', () => {
    const addresses = Array.from({ length: 10 }, (_, index) => map(PAGE_SIZE, DMA_TO_DEVICE, PHYS + index * PAGE_SIZE));
    for (const address of addresses) unmap(address);
    expect(machine.checker.result()).toMatchObject({ totalEntries: 65_536, minFreeEntries: 65_526 });
    expect(machine.checker.freeEntries).toBe(65_536);
  });
});
