/**
 * The DMA API as a driver with a mistake in it calls it: now and then a call is left out, made twice or made with other
 * arguments, and goes on to the real API as it is then. What follows from it, a leak or a range handed out twice, follows as
 * it would on a real machine.
 */
import { DMA_MAPPING_ERROR } from '../../memory/addresses.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import type { DmaDevice } from '../device.ts';
import type { ScatterList } from '../scatterList.ts';
import type { DmaIovaState } from '../twoStep.ts';
import { CheckedDmaApi, type CheckedDmaApiOptions } from './checkedDmaApi.ts';
import type { DriverFault, FaultPlan } from './driverFaults.ts';

export interface FaultyDmaApiOptions extends CheckedDmaApiOptions {
  readonly faults: readonly FaultPlan[];
}

interface CountedFault extends FaultPlan {
  chances: number;
}

export class FaultyDmaApi extends CheckedDmaApi {
  private readonly faults: readonly CountedFault[];

  constructor(options: FaultyDmaApiOptions) {
    super(options);
    this.faults = options.faults.map((fault) => ({ ...fault, chances: 0 }));
  }

  override dmaUnmapPhys(
    cpu: Cpu,
    device: DmaDevice,
    address: number,
    size: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    if (this.strikes('forgetUnmap')) return;
    const wrongSize = this.strikes('unmapOtherSize') ? otherSize(size) : size;
    const wrongDirection = this.strikes('unmapOtherDirection') ? otherDirection(direction) : direction;
    super.dmaUnmapPhys(cpu, device, address, wrongSize, wrongDirection, attributes);
    if (this.strikes('unmapTwice')) super.dmaUnmapPhys(cpu, device, address, size, direction, attributes);
  }

  override dmaMappingError(device: DmaDevice, address: number): boolean {
    return this.strikes('forgetErrorCheck') ? address === DMA_MAPPING_ERROR : super.dmaMappingError(device, address);
  }

  override dmaUnmapSg(
    cpu: Cpu,
    device: DmaDevice,
    list: ScatterList,
    direction: DmaDirection,
    attributes: number,
  ): void {
    if (this.strikes('forgetUnmap')) return;
    if (this.strikes('unmapWrongFunction')) {
      super.dmaUnmapPhys(cpu, device, list.dmaAddress[0]!, list.dmaLength[0]!, direction, attributes);
      return;
    }
    const wrongDirection = this.strikes('unmapOtherDirection') ? otherDirection(direction) : direction;
    super.dmaUnmapSg(cpu, device, list, wrongDirection, attributes);
    if (this.strikes('unmapTwice')) super.dmaUnmapSg(cpu, device, list, direction, attributes);
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
    const error = super.dmaIovaLink(cpu, device, state, phys, offset, size, direction, attributes);
    if (error === 0 && this.strikes('linkTwice')) {
      super.dmaIovaLink(cpu, device, state, phys, offset, size, direction, attributes);
    }
    return error;
  }

  override dmaIovaSync(cpu: Cpu, device: DmaDevice, state: DmaIovaState, offset: number, size: number): number {
    return this.strikes('forgetSync') ? 0 : super.dmaIovaSync(cpu, device, state, offset, size);
  }

  override dmaIovaDestroy(
    cpu: Cpu,
    device: DmaDevice,
    state: DmaIovaState,
    mappedLength: number,
    direction: DmaDirection,
    attributes: number,
  ): void {
    if (this.strikes('forgetUnmap')) return;
    const wrongLength = this.strikes('unmapOtherSize') ? otherSize(mappedLength) : mappedLength;
    const wrongDirection = this.strikes('unmapOtherDirection') ? otherDirection(direction) : direction;
    super.dmaIovaDestroy(cpu, device, state, wrongLength, wrongDirection, attributes);
    if (this.strikes('unmapTwice')) super.dmaIovaDestroy(cpu, device, state, mappedLength, direction, attributes);
  }

  /** Whether the fault is planned and its turn has come. */
  private strikes(kind: DriverFault): boolean {
    for (const fault of this.faults) {
      if (fault.kind !== kind) continue;
      fault.chances += 1;
      if (fault.chances % fault.every === 0) return true;
    }
    return false;
  }
}

/** A little less, or a little more where there is no less: what a driver writes that counts in other units. */
function otherSize(size: number): number {
  return size > 1 ? size - 1 : size + 1;
}

function otherDirection(direction: DmaDirection): DmaDirection {
  return direction === DMA_TO_DEVICE ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
}
