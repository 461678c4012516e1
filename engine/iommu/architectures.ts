/**
 * The IOMMUs that are emulated, by whose tables and commands they understand: how they find a device's table, what its entries look like,
 * and how software speaks to them. What they have in common is iommu.ts.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Counters } from '../metrics/counters.ts';
import { AmdCommandBuffer } from './amd/amdCommandBuffer.ts';
import { AMD_NAMES } from './amd/amdNames.ts';
import { DeviceTableReader } from './amd/deviceTableReader.ts';
import { HostCaches } from './cacheInvalidation.ts';
import type { DeviceContextReader } from './deviceContext.ts';
import type { VendorNames } from './faultNames.ts';
import {
  WIDE_COMMAND_WORDS,
  type CommandQueue,
  type InvalidatedCaches,
  type InvalidationCosts,
} from './commandRing.ts';
import { AMD_V1 } from './formats/amdV1.ts';
import { ARM_STAGE1_4K } from './formats/armStage1.ts';
import type { PageTableFormat } from './formats/pageTableFormat.ts';
import { RISCV_SV } from './formats/riscvSv.ts';
import { VTD_FIRST_STAGE } from './formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from './formats/vtdSecondStage.ts';
import { RiscvCommandQueue } from './riscv/riscvCommandQueue.ts';
import { RiscvContextReader } from './riscv/riscvContextReader.ts';
import { RISCV_NAMES } from './riscv/riscvNames.ts';
import { NO_CONTENTION, type QueueContention } from './smmu/queueContention.ts';
import { SmmuCommandQueue } from './smmu/smmuCommandQueue.ts';
import { SmmuContextReader } from './smmu/smmuContextReader.ts';
import { SMMU_NAMES } from './smmu/smmuNames.ts';
import { ContextReader } from './vtd/contextTable.ts';
import { InvalidationQueue } from './vtd/invalidationQueue.ts';
import { PasidReader } from './vtd/pasidReader.ts';
import { VTD_LEGACY_NAMES, VTD_SCALABLE_NAMES } from './vtd/vtdNames.ts';

export const IOMMU_VENDORS = ['vtd', 'amd', 'smmuv3', 'riscv'] as const;
export type IommuVendor = (typeof IOMMU_VENDORS)[number];

type CreateQueue = (
  memory: PhysicalMemory,
  frames: FrameAllocator,
  caches: InvalidatedCaches,
  costs: InvalidationCosts,
  counters: Counters,
  contention?: QueueContention,
) => CommandQueue;

export interface IommuArchitecture {
  readonly format: PageTableFormat;
  readonly Reader: new (memory: PhysicalMemory) => DeviceContextReader;
  readonly createQueue: CreateQueue;
  readonly names: VendorNames;
}

const VTD_LEGACY: IommuArchitecture = {
  format: VTD_SECOND_STAGE,
  Reader: ContextReader,
  createQueue: (memory, frames, caches, costs, counters) =>
    new InvalidationQueue(memory, frames, caches, costs, counters),
  names: VTD_LEGACY_NAMES,
};
const VTD_SCALABLE: IommuArchitecture = {
  ...VTD_LEGACY,
  format: VTD_FIRST_STAGE,
  Reader: PasidReader,
  createQueue: (memory, frames, caches, costs, counters) =>
    new InvalidationQueue(memory, frames, caches, costs, counters, WIDE_COMMAND_WORDS),
  names: VTD_SCALABLE_NAMES,
};
const AMD: IommuArchitecture = {
  format: AMD_V1,
  Reader: DeviceTableReader,
  createQueue: (memory, frames, caches, costs, counters) =>
    new AmdCommandBuffer(memory, frames, caches, costs, counters),
  names: AMD_NAMES,
};
const SMMUV3: IommuArchitecture = {
  format: ARM_STAGE1_4K,
  Reader: SmmuContextReader,
  createQueue: (memory, frames, caches, costs, counters, contention = NO_CONTENTION) =>
    new SmmuCommandQueue({
      memory,
      frames,
      caches: new HostCaches(caches),
      costs,
      counters,
      contention,
      deviceTlbs: caches.deviceTlbs,
    }),
  names: SMMU_NAMES,
};

const RISCV: IommuArchitecture = {
  format: RISCV_SV,
  Reader: RiscvContextReader,
  createQueue: (memory, frames, caches, costs, counters) =>
    new RiscvCommandQueue({
      memory,
      frames,
      caches: new HostCaches(caches),
      costs,
      counters,
      deviceTlbs: caches.deviceTlbs,
    }),
  names: RISCV_NAMES,
};

/** `scalableMode` is VT-d's. */
export function architectureOf(vendor: IommuVendor, scalableMode: boolean): IommuArchitecture {
  switch (vendor) {
    case 'vtd':
      return scalableMode ? VTD_SCALABLE : VTD_LEGACY;
    case 'amd':
      return AMD;
    case 'smmuv3':
      return SMMUV3;
    case 'riscv':
      return RISCV;
  }
}
