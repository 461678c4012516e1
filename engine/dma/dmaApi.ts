/**
 * The DMA API as drivers call it: finds the device, goes the direct way or through the IOMMU, and emits the events of
 * dma:dma_map_* (Linux kernel/dma/mapping.c). A device is attached once; until then no call is legal.
 * Leaves out: per-architecture dma_map_ops.
 */
import { DMA_MAPPING_ERROR, PAGE_SIZE, pageAlign, physAddr, type DmaAddr } from '../memory/addresses.ts';
import type { P2pdmaProvider, PageKinds } from '../memory/pageKinds.ts';
import type { P2pdmaMapState, P2pdmaMapType, P2pdmaTopology } from '../pcie/p2pdma.ts';
import { COUNTER } from '../metrics/counters.ts';
import type { Cpu } from '../time/cpu.ts';
import { LabError } from '../time/labError.ts';
import { DeviceDomains } from './attachDomain.ts';
import { DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, type DmaDirection } from './attributes.ts';
import { CoherentPages, NO_PAGE, type CoherentMemory } from './coherentMemory.ts';
import type { DmaDevice, DomainType } from './device.ts';
import {
  addressingLimited,
  type DeviceSurroundings,
  maxMappingSize,
  optMappingSize,
  requiredMask,
  setMaskAndCoherent,
} from './deviceLimits.ts';
import { DirectDma } from './direct.ts';
import { DmaIommu } from './dmaIommu.ts';
import { iommuMapSg, iommuUnmapSg } from './dmaIommuSg.ts';
import { EOPNOTSUPP } from './errno.ts';
import type { DmaApiOptions } from './dmaApiOptions.ts';
import type { KernelProfile } from './kernels/profiles.ts';
import type { ScatterList } from './scatterList.ts';
import type { DmaTrace } from './trace.ts';
import {
  dmaIovaDestroy,
  dmaIovaFree,
  dmaIovaLink,
  dmaIovaSync,
  dmaIovaTryAlloc,
  dmaIovaUnlink,
  type DmaIovaState,
} from './twoStep.ts';

const LIMIT_BELOW_4G = 0xf_ffff;

interface Attachment {
  readonly device: DmaDevice;
  /** Null without translation. */
  readonly translated: DmaIommu | null;
  readonly direct: DirectDma;
  /** Requester ids of the devices that share its domain, its own among them. */
  readonly members: number[];
}

export class DmaApi {
  readonly profile: KernelProfile;
  readonly pageKinds: PageKinds | null;
  readonly p2pdma: P2pdmaTopology | null;
  private readonly options: DmaApiOptions;
  private readonly trace: DmaTrace | null;
  private readonly attachments = new Map<DmaDevice, Attachment>();
  private readonly coherentPages: CoherentPages;
  private recent: Attachment | null = null;
  /** Null without an IOMMU. */
  private readonly domains: DeviceDomains | null;

  constructor(options: DmaApiOptions) {
    this.profile = options.profile;
    this.options = options;
    this.pageKinds = options.pageKinds ?? null;
    this.p2pdma = options.p2pdma ?? null;
    this.trace = options.trace;
    this.coherentPages = new CoherentPages(options.frames, this.pageKinds);
    const { memory, frames, iommu, levels, domains } = options;
    this.domains = iommu === null ? null : (domains ?? new DeviceDomains(memory, frames, iommu, levels));
  }

  /**
   * Gives a device its default domain, and tells the hardware. `groupMember`: a device of its IOMMU group that was attached before, whose
   * domain it gets (Linux drivers/iommu/iommu.c `iommu_setup_default_domain`); null: the first of its group.
   */
  attach(device: DmaDevice, domainType: DomainType, groupMember: DmaDevice | null = null): void {
    const { options, domains } = this;
    const { iommu, costs, log } = options;
    const direct = new DirectDma({
      device,
      costs,
      counters: options.counters,
      log,
      swiotlb: options.swiotlb ?? null,
      encryption: options.encryption ?? null,
      pageKinds: this.pageKinds,
      p2pdma: this.p2pdma,
      forceRefusesMmio: this.profile.forceRefusesMmio,
    });
    let translated: DmaIommu | null = null;
    let members: number[] = [];
    if (domainType === 'strict' || domainType === 'lazy') {
      if (iommu === null || domains === null) {
        throw new LabError(
          device.name,
          `a ${domainType} domain needs an IOMMU, and this machine has none.`,
          'Add an IOMMU to the topology, or choose passthrough.',
        );
      }
      const shared = groupMember === null ? null : this.find(groupMember);
      const domainId = shared?.translated?.domain.domainId ?? domains.takeDomainId();
      members = shared?.members ?? members;
      const sourceIds = members;
      translated = new DmaIommu({
        ...options,
        iommu,
        format: domains.format,
        levels: domains.firstLevels,
        domainId,
        deviceName: device.name,
        device,
        lazy: domainType === 'lazy',
        groupMember: shared?.translated ?? null,
        topChanged: (cpu, tablePage, levels) => {
          for (const sourceId of sourceIds) domains.topChanged(cpu, sourceId, domainId, tablePage, levels);
        },
      });
      members.push(device.sourceId);
      const { table } = translated.domain;
      const ats = domains.enablesAts(device);
      domains.attach(device.sourceId, domainId, table.rootPage, table.levels, ats);
      if (ats) translated.domain.addDeviceTlb(device.sourceId);
    } else if (domainType === 'passthrough' && domains !== null) {
      domains.attachPassthrough(device.sourceId, domains.enablesAts(device));
    }
    this.attachments.set(device, { device, translated, direct, members });
    this.recent = null;
  }

  dmaMapPhys(
    cpu: Cpu,
    device: DmaDevice,
    phys: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): DmaAddr {
    const { translated, direct } = this.find(device);
    let address = DMA_MAPPING_ERROR;
    if (device.coherent || (attributes & DMA_ATTR_REQUIRE_COHERENT) === 0) {
      address =
        translated === null
          ? direct.mapPhys(cpu, phys, size, direction, attributes)
          : translated.mapPhys(cpu, phys, size, direction, attributes);
    }
    if (this.trace !== null) {
      const name = this.profile.singleMapCall;
      this.trace.emit({ event: 'call', name, phys, size, direction, attributes, result: address });
    }
    return address;
  }

  /** Whether a mapping failed. Drivers must ask this and compare with nothing: the API checker counts on it. */
  dmaMappingError(_device: DmaDevice, address: number): boolean {
    return address === DMA_MAPPING_ERROR;
  }

  dmaUnmapPhys(
    cpu: Cpu,
    device: DmaDevice,
    address: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const { translated, direct } = this.find(device);
    if (translated === null) direct.unmapPhys(cpu, address, size, direction, attributes);
    else translated.unmapPhys(cpu, address, size, direction, attributes);
    if (this.trace !== null) {
      const name = this.profile.singleMapCall === 'dma_map_page' ? 'dma_unmap_page' : 'dma_unmap_phys';
      this.trace.emit({ event: 'call', name, address, size, direction, attributes, result: 0 });
    }
  }

  /** `dma_map_resource`: memory of another device. Returns the address, or DMA_MAPPING_ERROR. */
  dmaMapResource(cpu: Cpu, device: DmaDevice, phys: number, size: number, direction: DmaDirection): DmaAddr {
    return this.dmaMapPhys(cpu, device, phys, size, direction, DMA_ATTR_MMIO);
  }

  /** DMA segments, or a negative errno (`dma_map_sgtable`; `dma_map_sg` shows 0 to its callers instead). */
  dmaMapSg(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection, attributes: number): number {
    const { translated, direct } = this.find(device);
    list.mappedCount = 0;
    let result = EOPNOTSUPP;
    if (device.coherent || (attributes & DMA_ATTR_REQUIRE_COHERENT) === 0) {
      result =
        translated === null
          ? direct.mapSg(cpu, list, direction, attributes)
          : iommuMapSg(cpu, translated, list, direction, attributes);
    }
    if (this.trace !== null) {
      this.trace.emit({
        event: 'call',
        name: 'dma_map_sg',
        phys: [...list.phys.subarray(0, list.count)],
        length: [...list.length.subarray(0, list.count)],
        dmaAddress: [...list.dmaAddress.subarray(0, list.mappedCount)],
        dmaLength: [...list.dmaLength.subarray(0, list.mappedCount)],
        direction,
        attributes,
        result,
      });
    }
    return result;
  }

  dmaUnmapSg(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection, attributes: number): void {
    const { translated, direct } = this.find(device);
    if (this.trace !== null) {
      const phys = [...list.phys.subarray(0, list.count)];
      this.trace.emit({ event: 'call', name: 'dma_unmap_sg', phys, direction, attributes, result: 0 });
    }
    if (translated === null) direct.unmapSg(cpu, list, direction, attributes);
    else iommuUnmapSg(cpu, translated, list, direction, attributes);
  }

  /** False: the device is not translated, or no IOVA is free. The caller then maps each piece by dmaMapPhys. */
  dmaIovaTryAlloc(cpu: Cpu, device: DmaDevice, state: DmaIovaState, phys: number, size: number): boolean {
    const translated = this.twoStep(device);
    if (translated !== null) return dmaIovaTryAlloc(cpu, translated, state, phys, size);
    if (this.trace !== null && this.profile.twoStepAvailable) {
      this.trace.emit({ event: 'call', name: 'dma_iova_try_alloc', phys, size, result: 0, address: 0 });
    }
    state.reset();
    cpu.spend(this.options.costs.directTwoStepCall);
    return false;
  }

  dmaIovaLink(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    phys: number,
    offset: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): number {
    const translated = this.twoStep(device);
    if (translated === null) return EOPNOTSUPP;
    return dmaIovaLink(cpu, translated, state, phys, offset, size, direction, attributes);
  }

  dmaIovaSync(cpu: Cpu, device: DmaDevice, state: DmaIovaState, offset: number, size: number): number {
    const translated = this.twoStep(device);
    return translated === null ? EOPNOTSUPP : dmaIovaSync(cpu, translated, state, offset, size);
  }

  /** Direction and attributes must be those of the link. */
  dmaIovaUnlink(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    offset: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const translated = this.twoStep(device);
    if (translated !== null) dmaIovaUnlink(cpu, translated, state, offset, size, direction, attributes);
  }

  dmaIovaDestroy(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    mappedLength: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const translated = this.twoStep(device);
    if (translated !== null) dmaIovaDestroy(cpu, translated, state, mappedLength, direction, attributes);
  }

  dmaIovaFree(cpu: Cpu, device: DmaDevice, state: DmaIovaState): void {
    const translated = this.twoStep(device);
    if (translated !== null) dmaIovaFree(cpu, translated, state);
  }

  /** Zeroed memory that CPU and device share; null when there is no memory or no IOVA. */
  dmaAllocCoherent(cpu: Cpu, device: DmaDevice, size: number): CoherentMemory | null {
    const { translated, direct } = this.find(device);
    const { costs } = this.options;
    cpu.spend(costs.coherentAllocCall);
    const { forceUnencrypted } = device;
    const reach = translated === null ? direct.coherentReach : Infinity;
    const firstPage = this.coherentPages.allocate(size, reach, forceUnencrypted);
    if (firstPage === NO_PAGE) return null;
    const phys = physAddr(firstPage * PAGE_SIZE);
    const address = translated === null ? direct.mapCoherent(phys, size) : translated.mapCoherent(cpu, phys, size);
    if (this.trace !== null) this.trace.emit({ event: 'call', name: 'dma_alloc', address, size, result: address });
    if (address !== DMA_MAPPING_ERROR) return { phys, address };
    this.coherentPages.free(firstPage, size, forceUnencrypted);
    return null;
  }

  dmaFreeCoherent(cpu: Cpu, device: DmaDevice, size: number, memory: CoherentMemory): void {
    const { translated } = this.find(device);
    const { address } = memory;
    if (this.trace !== null) this.trace.emit({ event: 'call', name: 'dma_free', address, size, result: 0 });
    cpu.spend(this.options.costs.coherentFreeCall);
    translated?.unmapRange(cpu, address, pageAlign(size));
    this.coherentPages.free(memory.phys / PAGE_SIZE, size, device.forceUnencrypted);
  }

  /** The CPU is about to look at what the device wrote. Nothing to do unless the mapping may be bounced. */
  dmaSyncSingleForCpu(cpu: Cpu, device: DmaDevice, address: number, size: number, direction: DmaDirection): void {
    const { translated, direct } = this.find(device);
    if (!device.dmaSkipSync) (translated ?? direct).syncSingleForCpu(cpu, address, size, direction);
  }

  /** The CPU has written, and the device is about to look. */
  dmaSyncSingleForDevice(cpu: Cpu, device: DmaDevice, address: number, size: number, direction: DmaDirection): void {
    const { translated, direct } = this.find(device);
    if (!device.dmaSkipSync) (translated ?? direct).syncSingleForDevice(cpu, address, size, direction);
  }

  dmaSyncSgForCpu(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection): void {
    for (let index = 0; index < list.mappedCount; index += 1) {
      if (list.hasBusAddresses && list.busAddress[index] === 1) continue;
      this.dmaSyncSingleForCpu(cpu, device, list.dmaAddress[index]!, list.dmaLength[index]!, direction);
    }
  }

  dmaSyncSgForDevice(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection): void {
    for (let index = 0; index < list.mappedCount; index += 1) {
      if (list.hasBusAddresses && list.busAddress[index] === 1) continue;
      this.dmaSyncSingleForDevice(cpu, device, list.dmaAddress[index]!, list.dmaLength[index]!, direction);
    }
  }

  /** `dma_set_mask_and_coherent`: 0, or -EIO, which changes nothing. */
  dmaSetMaskAndCoherent(device: DmaDevice, mask: number): number {
    return setMaskAndCoherent(device, mask, this.surroundings(device));
  }

  dmaGetRequiredMask(device: DmaDevice): number {
    return requiredMask(device, this.surroundings(device));
  }

  /** Whether the device cannot reach all memory by itself. */
  dmaAddressingLimited(device: DmaDevice): boolean {
    return addressingLimited(device, this.surroundings(device));
  }

  /** Whether the driver must call unmap at all: not where addresses are physical ones and nothing was ever bounced. Ask after mapping. */
  dmaNeedUnmap(device: DmaDevice): boolean {
    return this.find(device).translated !== null || !device.dmaSkipSync;
  }

  /** The largest mapping that stays fast. */
  dmaOptMappingSize(device: DmaDevice): number {
    return optMappingSize(device, this.surroundings(device));
  }

  /** `SIZE_MAX` where nothing is ever bounced. */
  dmaMaxMappingSize(device: DmaDevice): number {
    return maxMappingSize(device, this.surroundings(device));
  }

  /** Where pieces may join: page size less one behind an IOMMU; 0: they never do. */
  dmaGetMergeBoundary(device: DmaDevice): number {
    return this.find(device).translated === null ? 0 : PAGE_SIZE - 1;
  }

  /** The 10 ms timer of the device's flush queue fires now, on this CPU. */
  flushQueueTimer(cpu: Cpu, device: DmaDevice): void {
    this.find(device).translated?.flushQueue?.timeout(cpu);
  }

  /** Replay: puts a free range of this size into the cache of this CPU, as the past of a recorded boot had. */
  seedRcache(cpu: Cpu, device: DmaDevice, pages: number): boolean {
    return this.find(device).translated?.iova.seedRcache(cpu.id, pages, LIMIT_BELOW_4G) ?? false;
  }

  /** Replay: the next IOVA of this device comes from the tree, whatever the cache holds. */
  forceSlowOnce(device: DmaDevice): void {
    this.find(device).translated?.iova.forceSlowOnce();
  }

  /** The translating side of a device, for inspection; null without translation. */
  translatedDevice(device: DmaDevice): DmaIommu | null {
    return this.find(device).translated;
  }

  /** The peer that owns a page; null for RAM. */
  p2pdmaProviderOf(page: number): P2pdmaProvider | null {
    return this.pageKinds === null ? null : this.pageKinds.providerOf(page);
  }

  /**
   * `pci_p2pdma_state`: how the device reaches a page. `state` lives as long as one mapping operation, so that a run of pages of one peer
   * is one lookup.
   */
  pciP2pdmaState(cpu: Cpu, device: DmaDevice, page: number, state: P2pdmaMapState): P2pdmaMapType {
    const { pageKinds, options } = this;
    if (pageKinds === null) return 'none';
    cpu.spend(options.costs.p2pdmaCheck);
    const before = state.lookups;
    const type = state.resolve(this.p2pdma, pageKinds.providerOf(page), device.sourceId);
    if (state.lookups !== before) {
      cpu.spend(options.costs.p2pdmaLookup);
      options.counters.values[COUNTER.p2pdmaLookups]! += 1;
    }
    return type;
  }

  private twoStep(device: DmaDevice): DmaIommu | null {
    return this.profile.twoStepAvailable ? this.find(device).translated : null;
  }

  private surroundings(device: DmaDevice): DeviceSurroundings {
    const { memory, swiotlb, encryption } = this.options;
    const translated = this.find(device).translated !== null;
    return { translated, swiotlb: swiotlb ?? null, memoryEnd: memory.sizeBytes, encryption: encryption ?? null };
  }

  private find(device: DmaDevice): Attachment {
    if (this.recent?.device === device) return this.recent;
    const attachment = this.attachments.get(device);
    if (attachment === undefined) throw new Error(`${device.name} is not attached to the DMA API`);
    this.recent = attachment;
    return attachment;
  }
}
