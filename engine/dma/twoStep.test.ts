import { describe, expect, test } from 'vitest';
import { DMA_FROM_DEVICE } from './attributes.ts';
import { EADDRINUSE, EFAULT, EINVAL, EIO, ENXIO, EOPNOTSUPP, ERANGE } from './errno.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';
import { DmaIovaState } from './twoStep.ts';

const PAGE = 4096;

class TwoStep {
  readonly machine: TestMachine;
  readonly state = new DmaIovaState();

  constructor(options: TestMachineOptions = {}) {
    this.machine = new TestMachine(options);
  }

  alloc(size: number, phys = 0): boolean {
    const { api, cpu, device } = this.machine;
    return api.dmaIovaTryAlloc(cpu, device, this.state, phys, size);
  }

  link(phys: number, offset: number, size: number): number {
    const { api, cpu, device } = this.machine;
    return api.dmaIovaLink(cpu, device, this.state, phys, offset, size, DMA_FROM_DEVICE, 0);
  }

  unlink(offset: number, size: number): void {
    const { api, cpu, device } = this.machine;
    api.dmaIovaUnlink(cpu, device, this.state, offset, size, DMA_FROM_DEVICE, 0);
  }

  destroy(mapped: number): void {
    const { api, cpu, device } = this.machine;
    api.dmaIovaDestroy(cpu, device, this.state, mapped, DMA_FROM_DEVICE, 0);
  }

  /** The events of the page table, the flushes and the allocator, without those of the calls. */
  events(): string[] {
    return this.machine.takeEvents().filter((event) => !event.startsWith('dma_'));
  }
}

describe('the two-step API (drivers/iommu/dma-iommu.c)', () => {
  test('reserves once, maps at every link, flushes once', () => {
    const two = new TwoStep();
    expect(two.alloc(3 * PAGE, 0x1200)).toBe(true);
    expect(two.state).toMatchObject({ address: 0xffff_c200, size: 3 * PAGE, inUse: true });
    expect(two.link(0x1200, 0, PAGE - 0x200)).toBe(0);
    expect(two.link(0x9000, PAGE - 0x200, 2 * PAGE)).toBe(0);
    expect(two.machine.api.dmaIovaSync(two.machine.cpu, two.machine.device, two.state, 0, 3 * PAGE)).toBe(0);
    expect(two.events()).toEqual([
      'alloc 4 below fffff -> ffffc slow 1 of 4',
      'map ffffc000 1000 4096',
      'map ffffd000 9000 8192',
    ]);
    expect(two.machine.deviceSees(0xffff_e000, true)).toBe(0xa);
    two.destroy(3 * PAGE - 0x200);
    expect(two.events()).toEqual([
      'unmap ffffc000 12288 12288',
      'flush ffffc000-ffffefff ffffc000 mask 2',
      'qi page ffffc000 2 hint',
      'free ffffc 4',
    ]);
  });

  test('refuses a link over an existing one, and leaves the state as it was', () => {
    const two = new TwoStep();
    two.alloc(8 * PAGE);
    expect(two.link(0x9000, 3 * PAGE, PAGE)).toBe(0);
    two.events();
    expect(two.link(0x2_0000, 0, 8 * PAGE)).toBe(EADDRINUSE);
    expect(two.events()).toEqual([
      'map ffff8000 20000 12288',
      'unmap ffff8000 12288 12288',
      'flush ffff8000-ffffafff ffff8000 mask 2',
      'qi page ffff8000 2 hint',
    ]);
    expect(two.machine.deviceSees(0xffff_b000)).toBeNull();
    expect(two.machine.deviceSees(0xffff_b000, true)).toBe(9);
  });

  test('refuses other offsets in the page, size 0, and a later piece that starts inside a page', () => {
    const two = new TwoStep();
    two.alloc(4 * PAGE);
    two.events();
    expect(two.link(0x9200, 0, PAGE)).toBe(ENXIO);
    expect(two.events()).toEqual(['map ffffbe00 9000 0', 'unmap ffffbe00 0 0']);
    expect(two.link(0x9000, 0, 0)).toBe(EINVAL);
    expect(two.link(0x9200, PAGE, PAGE)).toBe(EIO);
    expect(two.alloc(0)).toBe(false);
    expect(two.state.inUse).toBe(false);
  });

  test('does not refuse a link beyond the end of the range, nor the sync of what is not linked', () => {
    const two = new TwoStep();
    two.alloc(PAGE);
    expect(two.machine.api.dmaIovaSync(two.machine.cpu, two.machine.device, two.state, 0, PAGE)).toBe(0);
    two.machine.api.dmaMapPhys(two.machine.cpu, two.machine.device, 0x1000, PAGE, DMA_FROM_DEVICE, 0);
    expect(two.link(0x9000, 2 * PAGE, PAGE)).toBe(0);
  });

  test('unlink flushes at once even in a lazy domain, and the range can be linked again', () => {
    const two = new TwoStep({ domain: 'lazy' });
    two.alloc(2 * PAGE);
    two.link(0x9000, 0, 2 * PAGE);
    two.events();
    two.unlink(0, PAGE);
    expect(two.events()).toEqual([
      'unmap ffffe000 4096 4096',
      'flush ffffe000-ffffefff ffffe000 mask 0',
      'qi page ffffe000 0 hint',
    ]);
    expect(two.link(0x3_0000, 0, PAGE)).toBe(0);
  });

  test('an unmap stops at a hole: what lies behind it stays mapped although the IOVA is given back', () => {
    const two = new TwoStep();
    two.alloc(2 * PAGE);
    two.link(0x9000, 0, 2 * PAGE);
    two.unlink(0, PAGE);
    two.events();
    two.destroy(2 * PAGE);
    expect(two.events()).toEqual(['unmap ffffe000 8192 0', 'free ffffe 2']);
    expect(two.machine.deviceSees(0xffff_f000, true)).toBe(0xa);
    two.alloc(2 * PAGE);
    expect(two.link(0x5_0000, PAGE, PAGE)).toBe(EADDRINUSE);
  });

  test('destroy of a part: 7.3 frees the whole range, 6.17 what was mapped', () => {
    const newer = new TwoStep();
    newer.alloc(8 * PAGE);
    newer.link(0x9000, 0, PAGE);
    newer.events();
    newer.destroy(PAGE);
    expect(newer.events().at(-1)).toBe('free ffff8 8');
    const older = new TwoStep({ profile: '6.17' });
    older.alloc(8 * PAGE);
    older.link(0x9000, 0, PAGE);
    older.events();
    older.destroy(PAGE);
    expect(older.events().at(-1)).toBe('free ffff8 1');
  });

  test('destroy in a lazy domain: 7.3 flushes at once, 6.17 queues', () => {
    const newer = new TwoStep({ domain: 'lazy' });
    newer.alloc(PAGE);
    newer.link(0x9000, 0, PAGE);
    newer.destroy(PAGE);
    expect(newer.machine.counters.get('iotlbSyncs')).toBe(1);
    expect(newer.machine.counters.get('flushQueueEntries')).toBe(0);
    const older = new TwoStep({ profile: '6.17', domain: 'lazy' });
    older.alloc(PAGE);
    older.link(0x9000, 0, PAGE);
    older.destroy(PAGE);
    expect(older.machine.counters.get('iotlbSyncs')).toBe(0);
    expect(older.machine.counters.get('flushQueueEntries')).toBe(1);
  });

  test('ideal: destroy of a part frees the whole range, through the flush queue where there is one', () => {
    const strict = new TwoStep({ profile: 'ideal' });
    strict.alloc(8 * PAGE);
    strict.link(0x10000, 0, PAGE);
    strict.events();
    strict.destroy(PAGE);
    expect(strict.events()).toEqual([
      'unmap ffff8000 4096 4096',
      'flush ffff8000-ffff8fff ffff8000 mask 0',
      'qi page ffff8000 0 hint',
      'free ffff8 8',
    ]);
    const lazy = new TwoStep({ profile: 'ideal', domain: 'lazy' });
    lazy.alloc(8 * PAGE);
    lazy.link(0x10000, 0, PAGE);
    lazy.events();
    lazy.destroy(PAGE);
    expect(lazy.events()).toEqual(['unmap ffff8000 4096 4096']);
    lazy.machine.api.flushQueueTimer(lazy.machine.cpu, lazy.machine.device);
    expect(lazy.events().at(-1)).toBe('free ffff8 8');
  });

  test.each([
    ['6.18', EFAULT, ['unmap 1000000000000 0 0']],
    ['7.3', ERANGE, ['map 1000000000000 10000 0', 'unmap 1000000000000 0 0']],
  ] as const)('a link beyond what the tables can hold fails in %s with %i', (profile, error, events) => {
    const two = new TwoStep({ profile });
    two.alloc(PAGE);
    two.events();
    expect(two.link(0x10000, 2 ** 48 - two.state.address, PAGE)).toBe(error);
    expect(two.events()).toEqual(events);
  });

  test('7.3 shows destroy as unlink and free, destroy of nothing as free', () => {
    const two = new TwoStep();
    two.alloc(PAGE);
    two.link(0x9000, 0, PAGE);
    two.machine.takeEvents();
    two.destroy(PAGE);
    const calls = two.machine.takeEvents().filter((event) => event.startsWith('dma_'));
    expect(calls).toEqual(['dma_iova_destroy = 0', 'dma_iova_unlink = 0', 'dma_iova_free = 0']);
    two.alloc(PAGE);
    two.machine.takeEvents();
    two.destroy(0);
    expect(two.machine.takeEvents()).toEqual(['dma_iova_destroy = 0', 'dma_iova_free = 0', 'free fffff 1']);
  });

  test('512 links of 4 KiB stay small leaves; one link of 2 MiB becomes a large one', () => {
    const small = new TwoStep();
    small.alloc(512 * PAGE);
    for (let index = 0; index < 512; index += 1) small.link(0x1000_0000 + index * PAGE, index * PAGE, PAGE);
    expect(small.machine.counters.get('pteWrites')).toBe(512);
    small.events();
    small.destroy(512 * PAGE);
    // the leaf table went with its 2 MiB, so the paging-structure caches must forget it too: no hint
    expect(small.events()[2]).toBe('qi page ffe00000 9');
    const large = new TwoStep();
    large.alloc(512 * PAGE);
    large.link(0x1000_0000, 0, 512 * PAGE);
    expect(large.machine.counters.get('pteWrites')).toBe(1);
  });

  test('is not there without translation, nor before 6.16', () => {
    for (const options of [{ domain: 'passthrough' }, { profile: '6.12' }] as const) {
      const two = new TwoStep(options);
      expect(two.alloc(PAGE)).toBe(false);
      expect(two.link(0x9000, 0, PAGE)).toBe(EOPNOTSUPP);
    }
  });
});

describe('sizes and masks at the ends of 64 bits', () => {
  test('a size that no address space holds is asked of the allocator, one with bit 63 is not', () => {
    const two = new TwoStep();
    expect(two.alloc(2 ** 62)).toBe(false);
    expect(two.events().filter((event) => event.startsWith('alloc'))).not.toEqual([]);
    expect(two.alloc(2 ** 63)).toBe(false);
    expect(two.events()).toEqual([]);
  });

  test.each([54, 56, 63])('AMD: a mask of %s bits ends where it says', (bits) => {
    const two = new TwoStep({ vendor: 'amd', device: { dmaMask: 2 ** bits, forceDac: true } });
    expect(two.alloc(PAGE)).toBe(true);
    expect(two.state.address).toBe(2 ** bits - PAGE);
  });

  test('an unmap that ends beyond the tables removes nothing (generic_pt, pt_check_range)', () => {
    const two = new TwoStep({ vendor: 'amd' });
    two.alloc(PAGE);
    two.link(0x1000, 0, PAGE);
    two.machine.takeEvents();
    two.unlink(0, 2 ** 39);
    expect(two.events()).toEqual(['unmap fffff000 549755813888 0']);
  });
});
