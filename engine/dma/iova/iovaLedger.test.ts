/** Each range of a space knows whose it is, or was, and how far its mapping has come. */
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE } from '../attributes.ts';
import { IovaLedger } from './iovaLedger.ts';
import { iovaSnapshot, type IovaRange } from './iovaSnapshot.ts';
import { ScatterList } from '../scatterList.ts';
import { TestMachine, type TestMachineOptions } from '../testMachine.ts';
import { DmaIovaState } from '../twoStep.ts';

const PHYS = 0x100_0000;

function rig(options: TestMachineOptions = {}) {
  const machine = new TestMachine(options);
  const { api, cpu, device } = machine;
  const ledger = new IovaLedger().follow({
    get now() {
      return cpu.now;
    },
    current: cpu,
  });
  /** What the calls since the last look have made of the space, but for what is reserved. */
  const look = (): readonly IovaRange[] => {
    for (const event of machine.events.splice(0)) ledger.emit(event);
    const { ranges } = iovaSnapshot(cpu.now, device, api.translatedDevice(device), ledger);
    return ranges.filter(({ state }) => state !== 'reserved');
  };
  return { machine, api, cpu, device, look };
}

describe('a live range', () => {
  it('is of the call that mapped it', () => {
    const { api, cpu, device, look } = rig();
    const address = api.dmaMapPhys(cpu, device, PHYS + 0x100, 0x200, DMA_TO_DEVICE, 0);
    expect(look()).toMatchObject([
      {
        firstPage: Math.floor(address / PAGE_SIZE),
        pages: 1,
        state: 'live',
        call: 'dma_map_phys',
        bytes: 0x200,
        pieces: 1,
        direction: 'toDevice',
        progress: 'mapped',
        cpu: 0,
      },
    ]);
    const list = new ScatterList();
    for (let page = 0; page < 3; page += 1) list.add(PHYS + 2 * page * PAGE_SIZE, PAGE_SIZE);
    api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    const scattered = look().find(({ call }) => call === 'dma_map_sg');
    // three pages are rounded up to a size class
    expect(scattered).toMatchObject({ pages: 4, bytes: 3 * PAGE_SIZE, pieces: 3, direction: 'fromDevice' });
  });

  it('of the two-step API says what is still to be done', () => {
    const { api, cpu, device, look } = rig();
    const state = new DmaIovaState();
    api.dmaIovaTryAlloc(cpu, device, state, PHYS, 2 * PAGE_SIZE);
    expect(look()).toMatchObject([{ call: 'dma_iova_try_alloc', progress: 'allocated', bytes: 2 * PAGE_SIZE }]);
    api.dmaIovaLink(cpu, device, state, PHYS, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect(look()).toMatchObject([{ progress: 'linked', direction: 'fromDevice', pieces: 1 }]);
    api.dmaIovaSync(cpu, device, state, 0, PAGE_SIZE);
    expect(look()).toMatchObject([{ progress: 'mapped' }]);
  });

  it('is as old as its mapping', () => {
    const { api, cpu, device, look } = rig();
    const before = cpu.now;
    api.dmaMapPhys(cpu, device, PHYS, PAGE_SIZE, DMA_TO_DEVICE, 0);
    const [range] = look();
    expect(range?.since).toBeGreaterThanOrEqual(before);
    expect(range?.since).toBeLessThanOrEqual(cpu.now);
  });
});

describe('a range that was unmapped', () => {
  it('lies in the cache of its CPU in a strict domain, and belongs to its next mapping', () => {
    const { api, cpu, device, look } = rig();
    const address = api.dmaMapPhys(cpu, device, PHYS, PAGE_SIZE, DMA_TO_DEVICE, 0);
    look();
    api.dmaUnmapPhys(cpu, device, address, PAGE_SIZE, DMA_TO_DEVICE, 0);
    expect(look()).toMatchObject([{ state: 'cached', call: 'dma_map_phys', progress: null, cpu: 0 }]);
    const list = new ScatterList();
    list.add(PHYS, PAGE_SIZE);
    api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    expect(list.dmaAddress[0]).toBe(address);
    expect(look()).toMatchObject([{ state: 'live', call: 'dma_map_sg' }]);
  });

  it('waits for the flush in a lazy domain', () => {
    const { api, cpu, device, look } = rig({ domain: 'lazy' });
    const address = api.dmaMapPhys(cpu, device, PHYS, PAGE_SIZE, DMA_TO_DEVICE, 0);
    api.dmaUnmapPhys(cpu, device, address, PAGE_SIZE, DMA_TO_DEVICE, 0);
    expect(look()).toMatchObject([{ state: 'queued', call: 'dma_map_phys', cpu: 0 }]);
    api.flushQueueTimer(cpu, device);
    expect(look()).toMatchObject([{ state: 'cached', cpu: 0 }]);
  });

  it('is gone when it was too large for the cache', () => {
    const { api, cpu, device, look } = rig();
    const address = api.dmaMapPhys(cpu, device, PHYS, 64 * PAGE_SIZE, DMA_TO_DEVICE, 0);
    expect(look()).toHaveLength(1);
    api.dmaUnmapPhys(cpu, device, address, 64 * PAGE_SIZE, DMA_TO_DEVICE, 0);
    expect(look()).toEqual([]);
  });
});
