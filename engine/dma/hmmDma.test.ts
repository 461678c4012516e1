import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
} from '../memory/hmmPfn.ts';
import { PageKinds, type P2pdmaProvider } from '../memory/pageKinds.ts';
import { P2pdmaMapState, type P2pdmaMapType } from '../pcie/p2pdma.ts';
import { dmaBitMask } from './device.ts';
import { EOPNOTSUPP } from './errno.ts';
import { hmmDmaMapAlloc, hmmDmaMapFree, HmmDmaMap, hmmDmaMapPfn, hmmDmaUnmapPfn } from './hmmDma.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';

const PAGE = 4096;
const TWO_MEBIBYTES = 2 ** 21;
const VALID = HMM_PFN_VALID | HMM_PFN_WRITE;
const PEER: P2pdmaProvider = { name: '0000:05:00.0', busOffset: -0x1000_0000, sourceId: 0x500 };
const PEER_PAGE = 0xf000_0000 / PAGE;

/** A machine, a map of its device, and short calls. */
class Mirror {
  readonly machine: TestMachine;
  readonly map = new HmmDmaMap();
  readonly p2p = new P2pdmaMapState();

  constructor(options: TestMachineOptions = {}) {
    this.machine = new TestMachine(options);
  }

  alloc(entries: number, entrySize = PAGE): number {
    const { cpu, api, device } = this.machine;
    return hmmDmaMapAlloc(cpu, api, device, this.map, entries, entrySize);
  }

  /** The page is what hmm_range_fault left in the entry. */
  mapPage(index: number, page: number, flags = VALID): number {
    const { pfns } = this.map;
    pfns.set(index, page, (pfns.flags[index]! & HMM_PFN_DMA_MAPPED) | flags);
    return this.mapAgain(index);
  }

  mapAgain(index: number): number {
    const { cpu, api, device } = this.machine;
    return hmmDmaMapPfn(cpu, api, device, this.map, index, this.p2p);
  }

  unmap(index: number): boolean {
    const { cpu, api, device } = this.machine;
    return hmmDmaUnmapPfn(cpu, api, device, this.map, index);
  }

  free(): void {
    const { cpu, api, device } = this.machine;
    hmmDmaMapFree(cpu, api, device, this.map);
  }
}

/** Where the peer's pages are known, and how the device reaches them. */
function withPeer(type: P2pdmaMapType): TestMachineOptions {
  const pageKinds = new PageKinds();
  pageKinds.setRange(PEER_PAGE, 16, PEER);
  return { pageKinds, p2pdma: { mapType: () => type } };
}

describe('hmm_dma_map (mm/hmm.c; recordings of Linux 7.3)', () => {
  test('reserves one range, links entry by entry in any order, and flushes each unmap even in a lazy domain', () => {
    const mirror = new Mirror({ domain: 'lazy' });
    expect(mirror.alloc(64)).toBe(0);
    expect(mirror.mapPage(3, 0x10dc7f)).toBe(0xfffc_3000);
    expect(mirror.map.pfns.describe(3)).toBe('0xd00000000010dc7f');
    expect(mirror.mapPage(0, 0x10de6c)).toBe(0xfffc_0000);
    expect(mirror.unmap(3)).toBe(true);
    expect(mirror.map.pfns.describe(3)).toBe('0xc00000000010dc7f');
    expect(mirror.unmap(0)).toBe(true);
    mirror.free();
    const lines = mirror.machine.takeEvents().filter((line) => !line.startsWith('dma_iova'));
    expect(lines).toEqual([
      'alloc 64 below fffff -> fffc0 slow 1 of 64',
      'map fffc3000 10dc7f000 4096',
      'map fffc0000 10de6c000 4096',
      'unmap fffc3000 4096 4096',
      'flush fffc3000-fffc3fff fffc3000 mask 0',
      'qi page fffc3000 0 hint',
      'unmap fffc0000 4096 4096',
      'flush fffc0000-fffc0fff fffc0000 mask 0',
      'qi page fffc0000 0 hint',
      'free fffc0 64',
    ]);
  });

  test('gives a mapped entry its address again without an event: only permissions changed', () => {
    const mirror = new Mirror();
    mirror.alloc(16);
    const first = mirror.mapPage(4, 0x10ddaf, HMM_PFN_VALID);
    mirror.machine.takeEvents();
    expect(mirror.mapPage(4, 0x10ddaf)).toBe(first);
    expect(mirror.machine.takeEvents()).toEqual([]);
  });

  test('unmaps nothing where nothing is mapped', () => {
    const mirror = new Mirror();
    mirror.alloc(4);
    expect(mirror.unmap(0)).toBe(false);
    mirror.map.pfns.set(1, 5, HMM_PFN_DMA_MAPPED);
    expect(mirror.unmap(1)).toBe(false);
  });

  test('counts pages for the range, and places entries by their own size', () => {
    const mirror = new Mirror();
    mirror.alloc(4, TWO_MEBIBYTES);
    expect(mirror.map.state).toMatchObject({ address: 0xffff_c000, size: 4 * PAGE });
    expect(mirror.mapPage(1, 0x10ec00)).toBe(0xffff_c000 + TWO_MEBIBYTES);
  });

  test('without an IOMMU the address is the physical one, nothing is remembered, and unmap only clears the flag', () => {
    const mirror = new Mirror({ domain: 'none', iommu: false });
    mirror.alloc(4);
    expect(mirror.map.dmaList).toBeNull();
    expect(mirror.mapPage(2, 0x10dc7f)).toBe(0x10dc_7f000);
    expect(mirror.map.pfns.flags[2]).toBe(VALID | HMM_PFN_DMA_MAPPED);
    expect(mirror.mapAgain(2)).toBe(0x10dc_7f000);
    expect(mirror.unmap(2)).toBe(true);
    expect(mirror.map.pfns.flags[2]).toBe(VALID);
    mirror.free();
  });

  test('behind an IOMMU that is out of IOVA for the whole, remembers an address for each page', () => {
    const mirror = new Mirror({
      device: { dmaMask: dmaBitMask(32), reservedRegions: [{ start: 0, end: 0xffff_bfff }] },
    });
    mirror.alloc(16);
    expect(mirror.map.state.inUse).toBe(false);
    expect(mirror.map.dmaList).toHaveLength(16);
    const address = mirror.mapPage(15, 0x10dc7f);
    expect(address).toBe(0xffff_f000);
    expect(mirror.mapAgain(15)).toBe(address);
    expect(mirror.unmap(15)).toBe(true);
    expect(mirror.machine.deviceSees(address)).toBeNull();
  });

  test.each([
    ['needs CPU syncs', { dmaSkipSync: false }],
    ['does not reach all memory', { dmaMask: dmaBitMask(24) }],
  ])('refuses a device that %s', (_, device) => {
    const mirror = new Mirror({ device });
    expect(mirror.alloc(4)).toBe(EOPNOTSUPP);
    expect(mirror.machine.takeEvents()).toEqual([]);
  });

  test('leaves an entry as it was when its link fails', () => {
    const mirror = new Mirror();
    const { api, cpu, device } = mirror.machine;
    mirror.alloc(2);
    expect(api.dmaIovaLink(cpu, device, mirror.map.state, 0x1000, PAGE, PAGE, 0, 0)).toBe(0);
    expect(mirror.mapPage(1, 0x10dc7f)).toBe(DMA_MAPPING_ERROR);
    expect(mirror.map.pfns.flags[1]).toBe(VALID);
    expect(mirror.unmap(1)).toBe(false);
  });
});

describe('hmm_dma_map_pfn of a peer device’s page (mm/hmm.c; drivers/pci/p2pdma.c)', () => {
  test('by bus address: no IOVA is linked, and unmap touches nothing', () => {
    const mirror = new Mirror(withPeer('bus_addr'));
    mirror.alloc(8);
    mirror.machine.takeEvents();
    expect(mirror.mapPage(5, PEER_PAGE)).toBe(0xe000_0000);
    expect(mirror.map.pfns.flags[5]).toBe(VALID | HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA_BUS);
    expect(mirror.mapAgain(5)).toBe(0xe000_0000);
    expect(mirror.unmap(5)).toBe(true);
    expect(mirror.map.pfns.flags[5]).toBe(VALID);
    expect(mirror.machine.takeEvents()).toEqual([]);
    expect(mirror.p2p.lookups).toBe(1);
  });

  test('through the host bridge: linked at its place, and flagged until it is unmapped', () => {
    const mirror = new Mirror(withPeer('thru_host_bridge'));
    mirror.alloc(8);
    const address = mirror.mapPage(5, PEER_PAGE + 1);
    expect(address).toBe(mirror.map.state.address + 5 * PAGE);
    expect(mirror.map.pfns.flags[5]).toBe(VALID | HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA);
    expect(mirror.machine.deviceSees(address)).toBe(PEER_PAGE + 1);
    expect(mirror.unmap(5)).toBe(true);
    expect(mirror.map.pfns.flags[5]).toBe(VALID);
    expect(mirror.machine.deviceSees(address)).toBeNull();
  });

  test('unreachable: an error, and no trace of the attempt', () => {
    const mirror = new Mirror(withPeer('not_supported'));
    mirror.alloc(8);
    expect(mirror.mapPage(5, PEER_PAGE)).toBe(DMA_MAPPING_ERROR);
    expect(mirror.map.pfns.flags[5]).toBe(VALID);
  });

  test('an error of the link drops the peer flag again', () => {
    const mirror = new Mirror(withPeer('thru_host_bridge'));
    const { api, cpu, device } = mirror.machine;
    mirror.alloc(2);
    api.dmaIovaLink(cpu, device, mirror.map.state, 0x1000, PAGE, PAGE, 0, 0);
    expect(mirror.mapPage(1, PEER_PAGE)).toBe(DMA_MAPPING_ERROR);
    expect(mirror.map.pfns.flags[1]).toBe(VALID);
  });
});
