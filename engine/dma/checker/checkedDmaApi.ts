/**
 * The DMA API with CONFIG_DMA_API_DEBUG: every call is checked against what the driver did before, then carried out as it is
 * (Linux kernel/dma/debug.c, its hooks in kernel/dma/mapping.c). A machine without the checker uses DmaApi itself and pays
 * nothing. Misuses are told before the call is carried out, so that a run that stops there shows the state before it.
 */
import { DMA_MAPPING_ERROR, type DmaAddr } from '../../memory/addresses.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_ATTR_MMIO, DMA_BIDIRECTIONAL, type DmaDirection } from '../attributes.ts';
import type { DmaDevice, DomainType } from '../device.ts';
import type { CoherentMemory } from '../coherentMemory.ts';
import { DmaApi } from '../dmaApi.ts';
import type { DmaApiOptions } from '../dmaApiOptions.ts';
import type { ScatterList } from '../scatterList.ts';
import type { DmaIovaState } from '../twoStep.ts';
import type { ApiChecker } from './apiChecker.ts';
import { CallHistory, type CallArguments, type RecordedCall } from './callHistory.ts';
import { CheckedDevice } from './checkedDevice.ts';
import type { CheckedTranslator } from './deviceAccess.ts';
import type { KernelAreas } from './kernelAreas.ts';
import { MappingChecks } from './mappingChecks.ts';
import { TwoStepChecks } from './twoStepChecks.ts';

export interface CheckedDmaApiOptions extends DmaApiOptions {
  readonly checker: ApiChecker;
  /** Memory that must not be mapped; null: all may. */
  readonly areas?: KernelAreas | null;
  /** Sees the accesses of the devices; null: they are not checked. */
  readonly accesses?: CheckedTranslator | null;
}

export class CheckedDmaApi extends DmaApi {
  private readonly checker: ApiChecker;
  private readonly areas: KernelAreas | null;
  private readonly accesses: CheckedTranslator | null;
  private readonly mappingChecks: MappingChecks;
  private readonly twoStepChecks: TwoStepChecks;
  /** A list is being synchronised by way of its segments, which have been checked. */
  private insideList = false;
  private readonly owners = new Map<DmaDevice, CheckedDevice>();

  constructor(options: CheckedDmaApiOptions) {
    super(options);
    this.checker = options.checker;
    this.areas = options.areas ?? null;
    this.accesses = options.accesses ?? null;
    this.mappingChecks = new MappingChecks(options.checker);
    this.twoStepChecks = new TwoStepChecks(options.checker);
  }

  override attach(device: DmaDevice, domainType: DomainType, groupMember: DmaDevice | null = null): void {
    super.attach(device, domainType, groupMember);
    const owner = new CheckedDevice(device, this.checker, this.translatedDevice(device) !== null);
    this.owners.set(device, owner);
    this.accesses?.watch(owner);
  }

  override dmaMapPhys(
    cpu: Cpu,
    device: DmaDevice,
    phys: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): DmaAddr {
    const call = callOf(cpu, this.profile.singleMapCall, { phys, size, dir: direction, attrs: attributes });
    if ((attributes & DMA_ATTR_MMIO) === 0) this.checkArea(device, phys, size, call);
    const address = super.dmaMapPhys(cpu, device, phys, size, direction, attributes);
    // what nobody will unmap or hear of is not written down either
    if (address === DMA_MAPPING_ERROR || !this.dmaNeedUnmap(device)) return address;
    const mapping = { type: this.singleType, address, size, phys, direction, attributes } as const;
    this.mappingChecks.mapped(this.owner(device), mapping, withResult(call, address));
    return address;
  }

  override dmaUnmapPhys(
    cpu: Cpu,
    device: DmaDevice,
    address: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const name = this.singleType === 'single' ? 'dma_unmap_page' : 'dma_unmap_phys';
    const call = callOf(cpu, name, { addr: address, size, dir: direction, attrs: attributes });
    this.mappingChecks.unmap(this.owner(device), { type: this.singleType, address, size, direction }, call);
    super.dmaUnmapPhys(cpu, device, address, size, direction, attributes);
  }

  override dmaMappingError(device: DmaDevice, address: number): boolean {
    this.mappingChecks.errorChecked(this.owner(device), address);
    return super.dmaMappingError(device, address);
  }

  override dmaMapSg(
    cpu: Cpu,
    device: DmaDevice,
    list: ScatterList,
    direction: DmaDirection,
    attributes: number,
  ): number {
    const owner = this.owner(device);
    const { mappingChecks } = this;
    const call = callOf(cpu, 'dma_map_sg', { nents: list.count, dir: direction, attrs: attributes });
    for (let index = 0; index < list.count; index += 1) {
      this.checkArea(device, list.phys[index]!, list.length[index]!, call);
      mappingChecks.segmentLength(owner, list.length[index]!, call);
    }
    const segments = super.dmaMapSg(cpu, device, list, direction, attributes);
    if (segments <= 0) return segments;
    const done = withResult(call, segments);
    const history = new CallHistory();
    history.add(done);
    for (let index = 0; index < segments; index += 1) {
      const address = list.dmaAddress[index]!;
      const size = list.dmaLength[index]!;
      const counts = { sgCallEntries: list.count, sgMappedEntries: segments };
      const phys = list.phys[index]!;
      const mapping = { type: 'scatter-gather', address, size, phys, direction, attributes, ...counts } as const;
      mappingChecks.mapped(owner, mapping, done, history);
      mappingChecks.segmentBoundary(owner, address, size, done);
    }
    return segments;
  }

  override dmaUnmapSg(
    cpu: Cpu,
    device: DmaDevice,
    list: ScatterList,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const call = callOf(cpu, 'dma_unmap_sg', { nents: list.count, dir: direction, attrs: attributes });
    this.mappingChecks.unmapSg(this.owner(device), list, direction, call);
    super.dmaUnmapSg(cpu, device, list, direction, attributes);
  }

  override dmaSyncSingleForCpu(
    cpu: Cpu,
    device: DmaDevice,
    address: number,
    size: number,
    direction: DmaDirection,
  ): void {
    this.checkSyncSingle(cpu, device, address, size, direction, true);
    super.dmaSyncSingleForCpu(cpu, device, address, size, direction);
  }

  override dmaSyncSingleForDevice(
    cpu: Cpu,
    device: DmaDevice,
    address: number,
    size: number,
    direction: DmaDirection,
  ): void {
    this.checkSyncSingle(cpu, device, address, size, direction, false);
    super.dmaSyncSingleForDevice(cpu, device, address, size, direction);
  }

  override dmaSyncSgForCpu(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection): void {
    this.checkSyncSg(cpu, device, list, direction, true);
    this.insideList = true;
    super.dmaSyncSgForCpu(cpu, device, list, direction);
    this.insideList = false;
  }

  override dmaSyncSgForDevice(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection): void {
    this.checkSyncSg(cpu, device, list, direction, false);
    this.insideList = true;
    super.dmaSyncSgForDevice(cpu, device, list, direction);
    this.insideList = false;
  }

  override dmaIovaTryAlloc(cpu: Cpu, device: DmaDevice, state: DmaIovaState, phys: number, size: number): boolean {
    const call = callOf(cpu, 'dma_iova_try_alloc', { phys, size });
    if (!super.dmaIovaTryAlloc(cpu, device, state, phys, size)) return false;
    this.twoStepChecks.allocated(this.owner(device), state, withResult(call, state.address));
    return true;
  }

  override dmaIovaLink(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    phys: number,
    offset: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): number {
    const owner = this.owner(device);
    const piece = { offset, size, direction, attributes };
    const call = callOf(cpu, 'dma_iova_link', { phys, offset, size, dir: direction, attrs: attributes });
    const record = this.twoStepChecks.find(owner, state, call);
    if (record !== null) {
      if ((attributes & DMA_ATTR_MMIO) === 0) this.checkArea(device, phys, size, call);
      this.twoStepChecks.link(owner, record, phys, piece, call);
    }
    const error = super.dmaIovaLink(cpu, device, state, phys, offset, size, direction, attributes);
    if (error === 0 && record !== null) this.twoStepChecks.linked(record, piece);
    return error;
  }

  override dmaIovaSync(cpu: Cpu, device: DmaDevice, state: DmaIovaState, offset: number, size: number): number {
    const owner = this.owner(device);
    const call = callOf(cpu, 'dma_iova_sync', { offset, size });
    const record = this.twoStepChecks.find(owner, state, call);
    if (record !== null) this.twoStepChecks.sync(owner, record, offset, size, call);
    return super.dmaIovaSync(cpu, device, state, offset, size);
  }

  override dmaIovaUnlink(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    offset: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const owner = this.owner(device);
    const call = callOf(cpu, 'dma_iova_unlink', { offset, size, dir: direction, attrs: attributes });
    const record = this.twoStepChecks.find(owner, state, call);
    if (record !== null) this.twoStepChecks.unlink(owner, record, { offset, size, direction, attributes }, call);
    super.dmaIovaUnlink(cpu, device, state, offset, size, direction, attributes);
  }

  override dmaIovaDestroy(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    mappedLength: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    const owner = this.owner(device);
    const call = callOf(cpu, 'dma_iova_destroy', { mapped_len: mappedLength, dir: direction, attrs: attributes });
    const record = this.twoStepChecks.find(owner, state, call);
    const piece = { offset: 0, size: mappedLength, direction, attributes };
    if (record !== null) this.twoStepChecks.destroy(owner, state, record, piece, call);
    super.dmaIovaDestroy(cpu, device, state, mappedLength, direction, attributes);
  }

  override dmaIovaFree(cpu: Cpu, device: DmaDevice, state: DmaIovaState): void {
    const owner = this.owner(device);
    const call = callOf(cpu, 'dma_iova_free', { addr: state.address, size: state.size });
    const record = this.twoStepChecks.find(owner, state, call);
    if (record !== null) this.twoStepChecks.free(owner, state, record, call);
    super.dmaIovaFree(cpu, device, state);
  }

  override dmaAllocCoherent(cpu: Cpu, device: DmaDevice, size: number): CoherentMemory | null {
    const call = callOf(cpu, 'dma_alloc', { size });
    const memory = super.dmaAllocCoherent(cpu, device, size);
    if (memory === null) return null;
    const { address, phys } = memory;
    const mapping = { type: 'coherent', address, size, phys, direction: DMA_BIDIRECTIONAL, attributes: 0 } as const;
    this.mappingChecks.mapped(this.owner(device), mapping, withResult(call, address));
    return memory;
  }

  override dmaFreeCoherent(cpu: Cpu, device: DmaDevice, size: number, memory: CoherentMemory): void {
    const { address, phys } = memory;
    const call = callOf(cpu, 'dma_free', { addr: address, size });
    const given = { type: 'coherent', address, size, phys, direction: DMA_BIDIRECTIONAL } as const;
    this.mappingChecks.unmap(this.owner(device), given, call);
    super.dmaFreeCoherent(cpu, device, size, memory);
  }

  /** With the checker, always: what is never unmapped could not be told from a leak (kernel/dma/mapping.c). */
  override dmaNeedUnmap(device: DmaDevice): boolean {
    return this.checker.heard || super.dmaNeedUnmap(device);
  }

  /**
   * The driver lets go of its device (`BUS_NOTIFY_UNBOUND_DRIVER`): nothing may be mapped any more. `keepsCoherent`: its queues
   * are not taken down, because the emulation ends here, and do not count.
   */
  driverUnbound(cpu: Cpu, device: DmaDevice, keepsCoherent = false): void {
    const call = callOf(cpu, 'device_release_driver', {});
    this.mappingChecks.driverUnbound(this.owner(device), keepsCoherent, call);
  }

  private checkSyncSingle(
    cpu: Cpu,
    device: DmaDevice,
    address: number,
    size: number,
    direction: DmaDirection,
    forCpu: boolean,
  ): void {
    if (this.insideList) return;
    const name = forCpu ? 'dma_sync_single_for_cpu' : 'dma_sync_single_for_device';
    const call = callOf(cpu, name, { addr: address, size, dir: direction });
    const reference = { type: this.singleType, address, size, direction, sgCallEntries: 0 };
    this.mappingChecks.sync(this.owner(device), reference, forCpu, call);
  }

  private checkSyncSg(cpu: Cpu, device: DmaDevice, list: ScatterList, direction: DmaDirection, forCpu: boolean): void {
    const name = forCpu ? 'dma_sync_sg_for_cpu' : 'dma_sync_sg_for_device';
    const call = callOf(cpu, name, { nents: list.count, dir: direction });
    this.mappingChecks.syncSg(this.owner(device), list, direction, forCpu, call);
  }

  private get singleType(): 'single' | 'phy' {
    return this.profile.singleMapCall === 'dma_map_page' ? 'single' : 'phy';
  }

  private checkArea(device: DmaDevice, phys: number, size: number, call: RecordedCall): void {
    const problem = this.areas?.check(phys, size) ?? null;
    if (problem !== null) this.checker.report(problem.kind, problem.message, device, call);
  }

  private owner(device: DmaDevice): CheckedDevice {
    const owner = this.owners.get(device);
    if (owner === undefined) throw new Error(`${device.name} is not attached to the DMA API`);
    return owner;
  }
}

function callOf(cpu: Cpu, name: string, given: CallArguments): RecordedCall {
  return { at: cpu.now, cpu: cpu.id, name, arguments: given };
}

function withResult(call: RecordedCall, result: number): RecordedCall {
  const name = call.name === 'dma_map_sg' ? 'nents_mapped' : 'dma_addr';
  return { ...call, arguments: { ...call.arguments, [name]: result } };
}
