/**
 * The DMA API of a device without translation: the DMA address is the physical address, as long as the device can reach it,
 * and else that of a bounce buffer (Linux kernel/dma/direct.c, kernel/dma/direct.h: `dma_direct_map_phys`,
 * `dma_direct_unmap_phys`, `dma_direct_map_sg`, `dma_direct_sync_single_for_cpu`; kernel/dma/swiotlb.c: `swiotlb_map`).
 * Leaves out: offsets between bus and CPU addresses, and the caches of devices that are not coherent, whose memory here is
 * always up to date.
 */
import { DMA_MAPPING_ERROR, PAGE_SIZE, type DmaAddr } from '../memory/addresses.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import { P2pdmaMapState, type P2pdmaTopology } from '../pcie/p2pdma.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import {
  DMA_ATTR_CC_SHARED,
  DMA_ATTR_MMIO,
  DMA_ATTR_REQUIRE_COHERENT,
  DMA_ATTR_SKIP_CPU_SYNC,
  DMA_TO_DEVICE,
  type DmaDirection,
} from './attributes.ts';
import type { DmaCosts } from './kernels/costs.ts';
import type { DmaDevice } from './device.ts';
import { EIO, EREMOTEIO } from './errno.ts';
import type { MemoryEncryption } from './memoryEncryption.ts';
import type { ScatterList } from './scatterList.ts';
import { NO_BOUNCE_BUFFER, type Swiotlb } from './swiotlb/swiotlb.ts';

const NEVER_BOUNCED = DMA_ATTR_MMIO | DMA_ATTR_REQUIRE_COHERENT;

export interface DirectDmaOptions {
  readonly device: DmaDevice;
  readonly costs: DmaCosts;
  readonly counters: Counters;
  readonly log: EventLog | null;
  readonly swiotlb: Swiotlb | null;
  readonly encryption: MemoryEncryption | null;
  readonly pageKinds: PageKinds | null;
  readonly p2pdma: P2pdmaTopology | null;
  /** Kernels whose one map call takes the attribute MMIO refuse it where every mapping is bounced; earlier ones map it. */
  readonly forceRefusesMmio: boolean;
}

export class DirectDma {
  readonly device: DmaDevice;
  private readonly options: DirectDmaOptions;
  private readonly costs: DmaCosts;
  private readonly swiotlb: Swiotlb | null;

  constructor(options: DirectDmaOptions) {
    this.device = options.device;
    this.options = options;
    this.costs = options.costs;
    this.swiotlb = options.swiotlb;
  }

  /** `is_swiotlb_force_bounce`. */
  get forcesBounce(): boolean {
    return this.swiotlb?.force === true;
  }

  /** The last byte that coherent memory may have. */
  get coherentReach(): number {
    const { coherentDmaMask, busDmaLimit } = this.device;
    return busDmaLimit === 0 ? coherentDmaMask : Math.min(coherentDmaMask, busDmaLimit);
  }

  mapPhys(cpu: Cpu, phys: number, size: number, direction: DmaDirection, attributes: number): DmaAddr {
    cpu.spend(this.costs.directMapCall);
    return this.map(cpu, phys, size, direction, attributes);
  }

  unmapPhys(cpu: Cpu, address: number, size: number, direction: DmaDirection, attributes: number): void {
    cpu.spend(this.costs.directUnmapCall);
    this.unmap(cpu, address, size, direction, attributes);
  }

  /** DMA segments, or a negative errno; on failure nothing stays mapped. */
  mapSg(cpu: Cpu, list: ScatterList, direction: DmaDirection, attributes: number): number {
    const { device, options } = this;
    const { pageKinds, p2pdma } = options;
    cpu.spend(picoseconds(this.costs.directMapSgCall + list.count * this.costs.directMapSgPerEntry));
    const peers = pageKinds === null ? null : new P2pdmaMapState();
    for (let index = 0; index < list.count; index += 1) {
      const phys = list.phys[index]!;
      const length = list.length[index]!;
      const provider = pageKinds === null ? null : pageKinds.providerOf(Math.floor(phys / PAGE_SIZE));
      const way = peers === null ? 'none' : peers.resolve(p2pdma, provider, device.sourceId);
      list.dmaLength[index] = length;
      list.busAddress[index] = way === 'bus_addr' ? 1 : 0;
      if (way === 'bus_addr') {
        list.hasBusAddresses = true;
        list.dmaAddress[index] = phys + provider!.busOffset;
        continue;
      }
      const reachable = way !== 'not_supported';
      // through the host bridge a peer is mapped as memory is, by its CPU physical address, and never copied
      const entryAttributes = way === 'thru_host_bridge' ? attributes | DMA_ATTR_MMIO : attributes;
      const address = reachable ? this.map(cpu, phys, length, direction, entryAttributes) : DMA_MAPPING_ERROR;
      if (address === DMA_MAPPING_ERROR) {
        this.unmapEntries(cpu, list, index, direction, attributes | DMA_ATTR_SKIP_CPU_SYNC);
        return reachable ? EIO : EREMOTEIO;
      }
      list.dmaAddress[index] = address;
    }
    if (peers !== null) options.counters.values[COUNTER.p2pdmaLookups]! += peers.lookups;
    list.mappedCount = list.count;
    return list.count;
  }

  unmapSg(cpu: Cpu, list: ScatterList, direction: DmaDirection, attributes: number): void {
    cpu.spend(picoseconds(this.costs.directUnmapSgCall + list.count * this.costs.directUnmapSgPerEntry));
    this.unmapEntries(cpu, list, list.mappedCount, direction, attributes);
  }

  syncSingleForCpu(cpu: Cpu, address: number, size: number, direction: DmaDirection): void {
    const phys = this.physOf(address);
    if (this.swiotlb?.contains(phys) === true) this.swiotlb.syncForCpu(cpu, this.device, phys, size, direction);
  }

  syncSingleForDevice(cpu: Cpu, address: number, size: number, direction: DmaDirection): void {
    const phys = this.physOf(address);
    if (this.swiotlb?.contains(phys) === true) this.swiotlb.syncForDevice(cpu, this.device, phys, size, direction);
  }

  /** `phys_to_dma_direct`: encrypted unless the device can't; the mask for coherent memory decides. */
  mapCoherent(phys: number, size: number): DmaAddr {
    const { encryption } = this.options;
    const plain = encryption === null || this.device.forceUnencrypted;
    const address = plain ? phys : encryption.encrypted(phys);
    return this.capable(address, size, this.device.coherentDmaMask) ? (address as DmaAddr) : DMA_MAPPING_ERROR;
  }

  private map(cpu: Cpu, phys: number, size: number, direction: DmaDirection, attributes: number): DmaAddr {
    const { device, options, swiotlb } = this;
    const shared = (attributes & DMA_ATTR_CC_SHARED) !== 0;
    const isMmio = (attributes & DMA_ATTR_MMIO) !== 0;
    if (swiotlb?.force === true && !shared && !(isMmio && !options.forceRefusesMmio)) {
      return (attributes & NEVER_BOUNCED) === 0
        ? this.bounce(cpu, swiotlb, phys, size, direction, attributes)
        : DMA_MAPPING_ERROR;
    }
    if (shared && swiotlb?.force !== true) return DMA_MAPPING_ERROR;
    const plain = isMmio || shared || options.encryption === null;
    const address = plain ? phys : options.encryption.encrypted(phys);
    const capable = this.capable(address, size, device.dmaMask);
    if (capable && (isMmio || shared || !this.needsBounce(phys, direction))) return address as DmaAddr;
    if (swiotlb !== null && !isMmio && !shared && (attributes & DMA_ATTR_REQUIRE_COHERENT) === 0) {
      return this.bounce(cpu, swiotlb, phys, size, direction, attributes);
    }
    this.overflow(cpu, 'DMA addr', address, size);
    return DMA_MAPPING_ERROR;
  }

  /** `swiotlb_map`. */
  private bounce(
    cpu: Cpu,
    swiotlb: Swiotlb,
    phys: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): DmaAddr {
    const bounce = swiotlb.map(cpu, this.device, phys, size, 0, direction, attributes);
    if (bounce === NO_BOUNCE_BUFFER) return DMA_MAPPING_ERROR;
    if (this.capable(bounce, size, this.device.dmaMask)) return bounce as DmaAddr;
    swiotlb.unmap(cpu, this.device, bounce, size, direction, attributes | DMA_ATTR_SKIP_CPU_SYNC);
    this.overflow(cpu, 'swiotlb addr', bounce, size);
    return DMA_MAPPING_ERROR;
  }

  private unmap(cpu: Cpu, address: number, size: number, direction: DmaDirection, attributes: number): void {
    const { swiotlb } = this;
    if (swiotlb === null || (attributes & NEVER_BOUNCED) !== 0) return;
    const phys = this.physOf(address);
    if (swiotlb.contains(phys)) swiotlb.unmap(cpu, this.device, phys, size, direction, attributes);
  }

  private unmapEntries(
    cpu: Cpu,
    list: ScatterList,
    entries: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    for (let index = 0; index < entries; index += 1) {
      if (list.hasBusAddresses && list.busAddress[index] === 1) continue;
      this.unmap(cpu, list.dmaAddress[index]!, list.dmaLength[index]!, direction, attributes);
    }
  }

  /** `dma_capable`. */
  private capable(address: number, size: number, mask: number): boolean {
    const { busDmaLimit } = this.device;
    return address + size - 1 <= (busDmaLimit === 0 ? mask : Math.min(mask, busDmaLimit));
  }

  /** `dma_kmalloc_needs_bounce`: a small object whose cache line others share, on a machine without coherence. */
  private needsBounce(phys: number, direction: DmaDirection): boolean {
    const { pageKinds } = this.options;
    if (this.device.coherent || direction === DMA_TO_DEVICE || pageKinds === null) return false;
    return pageKinds.isKmallocSmall(Math.floor(phys / PAGE_SIZE));
  }

  private physOf(address: number): number {
    const { encryption } = this.options;
    return encryption === null ? address : encryption.physOf(address);
  }

  /** A mask that does not fit the machine is the driver's mistake: NO_WARN does not silence it. */
  private overflow(cpu: Cpu, what: string, address: number, size: number): void {
    const { device, options } = this;
    const hex = (value: number): string => value.toString(16);
    const limits = `(mask ${hex(device.dmaMask)}, bus limit ${hex(device.busDmaLimit)})`;
    options.log?.add(cpu.now, 'warning', device.name, `${what} 0x${hex(address)}+${size} overflow ${limits}.`);
  }
}
