import { describe, expect, test } from 'vitest';
import { DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE } from './attributes.ts';
import { EADDRINUSE, ENOMEM, ENXIO, EOPNOTSUPP, EPERM } from './errno.ts';
import { BOUNCE_POOL, TestMachine, type TestMachineOptions } from './testMachine.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;
const BUFFER = 0x1000_0000;

class Untrusted {
  readonly machine: TestMachine;
  readonly state = new DmaIovaState();

  constructor(options: TestMachineOptions = {}) {
    const device = { untrusted: true, minAlignMask: PAGE - 1, ...options.device };
    this.machine = new TestMachine({ swiotlbSlots: 1024, ...options, device });
    this.machine.fill(BUFFER, 8 * PAGE, 0x11);
  }

  alloc(phys: number, size: number): void {
    const { api, cpu, device } = this.machine;
    expect(api.dmaIovaTryAlloc(cpu, device, this.state, phys, size)).toBe(true);
  }

  link(phys: number, offset: number, size: number, attributes = 0): number {
    const { api, cpu, device } = this.machine;
    return api.dmaIovaLink(cpu, device, this.state, phys, offset, size, DMA_FROM_DEVICE, attributes);
  }

  unlink(offset: number, size: number): void {
    const { api, cpu, device } = this.machine;
    api.dmaIovaUnlink(cpu, device, this.state, offset, size, DMA_FROM_DEVICE, 0);
  }

  destroy(mapped: number): void {
    const { api, cpu, device } = this.machine;
    api.dmaIovaDestroy(cpu, device, this.state, mapped, DMA_FROM_DEVICE, 0);
  }

  /** The device writes a value into a range of bus addresses. */
  deviceWrites(address: number, size: number, value: number): void {
    for (let at = address; at < address + size;) {
      const length = Math.min(PAGE - (at % PAGE), address + size - at);
      this.machine.fill(this.machine.deviceSees(at, true)! * PAGE + (at % PAGE), length, value);
      at += length;
    }
  }

  /** Which pages of the range are the memory itself (its page number) and which are not ('bounce'). */
  pages(count: number): (number | 'bounce' | null)[] {
    const base = this.state.address - (this.state.address % PAGE);
    return Array.from({ length: count }, (_, index) => {
      const page = this.machine.deviceSees(base + index * PAGE, true);
      return page !== null && page >= BOUNCE_POOL / PAGE ? 'bounce' : page;
    });
  }
}

describe('links whose edges are bounced (iommu_dma_iova_link_swiotlb)', () => {
  // linux-dma-api, checked vectors: physical address and size; pages of the range
  test.each([
    [0x1000_0e00, 0x2400, ['bounce', 0x1_0001, 0x1_0002, 'bounce']],
    [0x1000_0800, 0x1000, ['bounce', 'bounce']],
    [0x1000_0000, 0x200, ['bounce']],
    [0x1000_0100, 0x100, ['bounce']],
    [0x1000_0000, 0x2000, [0x1_0000, 0x1_0001]],
  ] as const)('%i of %i bytes', (phys, size, pages) => {
    const driver = new Untrusted();
    driver.alloc(phys, size);
    expect(driver.link(phys, 0, size)).toBe(0);
    expect(driver.pages(pages.length)).toEqual(pages);
    expect(driver.state.usesSwiotlb).toBe(pages.includes('bounce' as never));
    driver.deviceWrites(driver.state.address, size, 0x77);
    driver.destroy(size);
    expect([...driver.machine.bytes(phys - 1, 2)][1]).toBe(0x77);
    expect([...driver.machine.bytes(phys + size - 1, 2)]).toEqual([0x77, 0x11]);
    expect(driver.machine.swiotlb!.used).toBe(0);
  });

  test('only the edges are copied back', () => {
    const driver = new Untrusted();
    driver.alloc(0x1000_0e00, 0x2400);
    driver.link(0x1000_0e00, 0, 0x2400);
    const before = driver.machine.counters.get('bytesBounced');
    expect(before).toBe(0x400);
    driver.unlink(0, 0x2400);
    expect(driver.machine.counters.get('bytesBounced') - before).toBe(0x400);
  });

  test('without minAlignMask a head is refused by the page table, and the state can still be used', () => {
    const driver = new Untrusted({ device: { minAlignMask: 0 } });
    driver.alloc(BUFFER + 0x200, 2 * PAGE);
    driver.machine.takeEvents();
    expect(driver.link(BUFFER + 0x200, 0, PAGE)).toBe(ENXIO);
    const [, bounced, map] = driver.machine.takeEvents();
    expect(bounced).toBe('bounce 10000200 3584');
    expect(map).toMatch(/^map ffffc000 [0-9a-f]*e00 0$/);
    expect(driver.state.usesSwiotlb).toBe(false);
    expect(driver.machine.swiotlb!.used).toBe(0);
    expect(driver.link(BUFFER + PAGE, PAGE - 0x200, PAGE)).toBe(0);
  });

  test('what must not be bounced is refused', () => {
    const driver = new Untrusted();
    driver.alloc(0, 2 * PAGE);
    expect(driver.link(BUFFER, 0, 0x200, DMA_ATTR_MMIO)).toBe(EPERM);
    expect(driver.link(BUFFER, 0, 0x200, DMA_ATTR_REQUIRE_COHERENT)).toBe(EPERM);
    expect(driver.link(BUFFER, 0, PAGE, DMA_ATTR_REQUIRE_COHERENT)).toBe(0);
    expect(driver.link(BUFFER, PAGE, 0x200)).toBe(0);
    expect(driver.link(BUFFER, PAGE, PAGE, DMA_ATTR_REQUIRE_COHERENT)).toBe(EOPNOTSUPP);
    const other = new Untrusted({ device: { untrusted: false, coherent: false } });
    other.alloc(0, PAGE);
    expect(other.link(BUFFER, 0, PAGE, DMA_ATTR_REQUIRE_COHERENT)).toBe(EOPNOTSUPP);
  });

  test('no slot for the tail: what the link mapped before is unlinked, and nothing else', () => {
    const driver = new Untrusted({ swiotlbSlots: 128 });
    const { api, cpu, device, swiotlb } = driver.machine;
    for (let slots = 0; slots < 124; slots += 2) api.dmaMapPhys(cpu, device, BUFFER + 1, 8, DMA_BIDIRECTIONAL, 0);
    driver.alloc(0, 4 * PAGE);
    expect(driver.link(BUFFER, 0, PAGE)).toBe(0);
    expect(driver.link(BUFFER + PAGE, PAGE, PAGE + 0x200)).toBe(0);
    expect(driver.link(BUFFER, 3 * PAGE, 0x100)).toBe(0);
    driver.unlink(PAGE, 3 * PAGE);
    for (let slots = swiotlb!.used; slots < 128; slots += 2) {
      api.dmaMapPhys(cpu, device, BUFFER + 1, 8, DMA_BIDIRECTIONAL, 0);
    }
    expect(driver.link(BUFFER + PAGE, PAGE, PAGE + 0x200)).toBe(ENOMEM);
    expect(driver.pages(4)).toEqual([BUFFER / PAGE, null, null, null]);
  });

  test('an occupied page takes the bounce buffer back', () => {
    const driver = new Untrusted();
    driver.alloc(0, 2 * PAGE);
    expect(driver.link(BUFFER, PAGE, PAGE)).toBe(0);
    expect(driver.link(BUFFER, 0, PAGE + 0x200)).toBe(EADDRINUSE);
    expect(driver.machine.swiotlb!.used).toBe(0);
    expect(driver.pages(2)).toEqual([null, BUFFER / PAGE]);
  });

  test('destroy walks the pages up to a hole; what lies behind it keeps its slots, and the range is freed', () => {
    const driver = new Untrusted();
    driver.alloc(0, 3 * PAGE);
    expect(driver.link(BUFFER, 0, 0x200)).toBe(0);
    expect(driver.link(BUFFER, 2 * PAGE, 0x200)).toBe(0);
    driver.unlink(0, 0x200);
    driver.machine.takeEvents();
    driver.destroy(2 * PAGE + 0x200);
    expect(driver.machine.swiotlb!.used).toBe(2);
    expect(driver.machine.takeEvents().filter((event) => !event.startsWith('dma_'))).toEqual([
      'unmap ffffc000 12288 0',
      'free ffffc 3',
    ]);
  });

  test.each([
    ['6.18', true],
    ['7.3', false],
  ] as const)('an empty middle in %s: a map of 0 bytes %s', (profile, mapsNothing) => {
    const driver = new Untrusted({ profile });
    driver.alloc(0x1000_0800, PAGE);
    driver.machine.takeEvents();
    expect(driver.link(0x1000_0800, 0, PAGE)).toBe(0);
    expect(driver.machine.takeEvents().some((event) => /^map .* 0$/.test(event))).toBe(mapsNothing);
  });
});
