/**
 * What page-indexed schemes have in common: each page is asked what kind of memory it is, a peer's page that switches route by its bus address
 * needs no mapping, and every other one is entered by the scheme. Where there is no translation, or no place was reserved, each page is a
 * `dma_map_phys` with its address kept, if there will be anything to unmap (Linux mm/hmm.c does both). Whatever the scheme, CPU and device use
 * the page at the same time, so a device whose memory might be copied is refused.
 */
import { DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { ENOMEM, EOPNOTSUPP, EREMOTEIO } from '../../dma/errno.ts';
import { P2pdmaMapState, type P2pdmaMapType } from '../../dma/p2pdmaState.ts';
import { DMA_MAPPING_ERROR, dmaAddr, PAGE_SIZE, physAddr } from '../../memory/addresses.ts';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_STICKY,
  HMM_PFN_VALID,
  HmmPfnList,
} from '../../memory/hmmPfn.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EntryRange, PageScheme } from '../pageScheme.ts';
import { busAddressOf } from '../peerVectors.ts';
import type { SchemeName } from '../scheme.ts';

const NO_PAGES = new HmmPfnList(0);
/** `unsigned long` and `dma_addr_t`. */
const BYTES_PER_ENTRY = 8;

export abstract class PagesByKind implements PageScheme {
  abstract readonly name: SchemeName;
  pfns = NO_PAGES;
  refusal = '';
  mapped = 0;
  protected readonly dma: DmaApi;
  protected readonly device: DmaDevice;
  protected readonly peers = new P2pdmaMapState();
  /** Addresses for the unmap of pages that were mapped each by itself. */
  private addressList: Float64Array | null = null;
  /** Of the last page that could not be mapped. */
  private error = 0;

  constructor(dma: DmaApi, device: DmaDevice) {
    this.dma = dma;
    this.device = device;
  }

  get bookkeepingBytes(): number {
    const lists = this.addressList === null ? 1 : 2;
    return this.pfns.length * BYTES_PER_ENTRY * lists + this.placeBytes;
  }

  reserve(cpu: Cpu, entries: number): number {
    const { dma, device } = this;
    this.refusal = '';
    if (!device.dmaSkipSync || dma.dmaAddressingLimited(device)) {
      return this.refuse(
        EOPNOTSUPP,
        `Memory for ${device.name} may have to be copied, and a page that CPU and device use at the same time cannot be.`,
      );
    }
    const error = this.reservePlace(cpu, entries);
    if (error !== 0) return error;
    this.pfns = new HmmPfnList(entries);
    this.addressList = !this.hasPlace && dma.dmaNeedUnmap(device) ? new Float64Array(entries) : null;
    return 0;
  }

  mapPages(cpu: Cpu, first: number, count: number, addresses: Float64Array): number {
    this.refusal = '';
    const { flags, pages } = this.pfns;
    for (let index = first; index < first + count; index += 1) {
      const had = flags[index]!;
      let address: number = DMA_MAPPING_ERROR;
      if ((had & HMM_PFN_VALID) !== 0) {
        address = (had & HMM_PFN_DMA_MAPPED) === 0 ? this.mapPage(cpu, index) : this.addressOf(index, pages[index]!);
        if (address < 0 && this.error !== 0) {
          this.finish(cpu, first, index);
          return this.error;
        }
      }
      addresses[index - first] = address;
    }
    return this.finish(cpu, first, first + count);
  }

  widen(_range: EntryRange): void {
    // every page goes by itself
  }

  unmapPages(cpu: Cpu, first: number, end: number): number {
    const { flags } = this.pfns;
    let unmapped = 0;
    for (let index = first; index < end;) {
      const had = flags[index]!;
      if ((had & HMM_PFN_DMA_MAPPED) === 0) {
        index += 1;
        continue;
      }
      const run = this.endOfRun(index, end);
      if ((had & HMM_PFN_P2PDMA_BUS) === 0) this.leaveRun(cpu, index, run, attributesFor(had));
      for (; index < run; index += 1) {
        flags[index]! &= ~HMM_PFN_STICKY;
        unmapped += 1;
      }
    }
    this.mapped -= unmapped;
    return unmapped;
  }

  release(cpu: Cpu): void {
    this.releasePlace(cpu);
    this.pfns = NO_PAGES;
    this.addressList = null;
  }

  /** Bytes of what a scheme keeps beside the lists. */
  protected abstract get placeBytes(): number;
  /** A place of addresses is reserved for the pages. */
  protected abstract get hasPlace(): boolean;
  /** 0 also where there is no place to have and pages are mapped each by itself. */
  protected abstract reservePlace(cpu: Cpu, entries: number): number;
  /** Enters a page at its place: 0 or a negative errno. */
  protected abstract enter(cpu: Cpu, index: number, phys: number, attributes: number): number;
  /** Takes neighbours of one kind out of their places. */
  protected abstract leave(cpu: Cpu, first: number, end: number, attributes: number): void;
  /** The address of an entry's place. */
  protected abstract placeOf(index: number): number;
  protected abstract releasePlace(cpu: Cpu): void;

  /** After the last page of a batch: 0 or a negative errno. */
  protected finish(_cpu: Cpu, _first: number, _end: number): number {
    return 0;
  }

  /** How the device reaches a page. */
  protected wayOf(cpu: Cpu, _index: number, page: number): P2pdmaMapType {
    return this.dma.pciP2pdmaState(cpu, this.device, page, this.peers);
  }

  /** 0, or a negative errno and why the scheme cannot have a page of this kind here. */
  protected accepts(_index: number, _way: P2pdmaMapType): number {
    return 0;
  }

  protected refuse(error: number, reason: string): number {
    this.refusal = reason;
    return error;
  }

  private mapPage(cpu: Cpu, index: number): number {
    const { flags, pages } = this.pfns;
    const page = pages[index]!;
    const way = this.wayOf(cpu, index, page);
    this.error =
      way === 'not_supported'
        ? this.refuse(
            EREMOTEIO,
            `Page ${index} of the region is memory of a peer that ${this.device.name} cannot reach: no switch routes between the two, ` +
              'and the host bridge is not known to do so.',
          )
        : this.accepts(index, way);
    if (this.error !== 0) return DMA_MAPPING_ERROR;
    if (way === 'bus_addr') {
      flags[index]! |= HMM_PFN_P2PDMA_BUS | HMM_PFN_DMA_MAPPED;
      this.mapped += 1;
      return busAddressOf(this.dma, page * PAGE_SIZE);
    }
    const kind = way === 'thru_host_bridge' ? HMM_PFN_P2PDMA : 0;
    const attributes = attributesFor(kind);
    this.error = this.hasPlace
      ? this.enter(cpu, index, page * PAGE_SIZE, attributes)
      : this.mapByItself(cpu, index, page * PAGE_SIZE, attributes);
    if (this.error !== 0) return DMA_MAPPING_ERROR;
    flags[index]! |= kind | HMM_PFN_DMA_MAPPED;
    this.mapped += 1;
    return this.addressOf(index, page);
  }

  /** Of a page that is mapped. */
  private addressOf(index: number, page: number): number {
    if ((this.pfns.flags[index]! & HMM_PFN_P2PDMA_BUS) !== 0) return busAddressOf(this.dma, page * PAGE_SIZE);
    if (this.hasPlace) return this.placeOf(index);
    // without translation nothing is kept: the address is the page's
    return this.addressList === null ? page * PAGE_SIZE : this.addressList[index]!;
  }

  private mapByItself(cpu: Cpu, index: number, phys: number, attributes: number): number {
    const { dma, device, addressList } = this;
    // a device that came to need unmap only after the list was sized has no place to remember the address in
    if (addressList === null && dma.dmaNeedUnmap(device)) return ENOMEM;
    const address = dma.dmaMapPhys(cpu, device, physAddr(phys), PAGE_SIZE, DMA_BIDIRECTIONAL, attributes);
    if (dma.dmaMappingError(device, address)) return ENOMEM;
    if (addressList !== null) addressList[index] = address;
    return 0;
  }

  private leaveRun(cpu: Cpu, first: number, end: number, attributes: number): void {
    if (this.hasPlace) {
      this.leave(cpu, first, end, attributes);
      return;
    }
    const { dma, device, addressList } = this;
    if (addressList === null || !dma.dmaNeedUnmap(device)) return;
    for (let index = first; index < end; index += 1) {
      dma.dmaUnmapPhys(cpu, device, dmaAddr(addressList[index]!), PAGE_SIZE, DMA_BIDIRECTIONAL, attributes);
    }
  }

  /** One past the last of the neighbours that are mapped in the same way. */
  private endOfRun(first: number, end: number): number {
    const { flags } = this.pfns;
    const kind = flags[first]! & HMM_PFN_STICKY;
    let index = first + 1;
    while (index < end && (flags[index]! & HMM_PFN_STICKY) === kind) index += 1;
    return index;
  }
}

function attributesFor(flags: number): number {
  return DMA_ATTR_REQUIRE_COHERENT | ((flags & HMM_PFN_P2PDMA) !== 0 ? DMA_ATTR_MMIO : 0);
}
