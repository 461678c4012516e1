/**
 * The IOMMUs that are emulated, by whose tables and commands they understand: how they find a device's table, what its entries look like,
 * and how software speaks to them. What they have in common is iommu.ts.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Counters } from '../metrics/counters.ts';
import { AmdCommandBuffer } from './amd/amdCommandBuffer.ts';
import { DeviceTableReader } from './amd/amdDeviceTable.ts';
import type { CommandRing, InvalidatedCaches, InvalidationCosts } from './commandRing.ts';
import { AMD_V1 } from './formats/amdV1.ts';
import type { PageTableFormat } from './formats/pageTableFormat.ts';
import { VTD_FIRST_STAGE } from './formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from './formats/vtdSecondStage.ts';
import { ContextReader, type DeviceContextReader } from './vtd/contextTable.ts';
import { InvalidationQueue } from './vtd/invalidationQueue.ts';
import { ScalableReader } from './vtd/scalableTable.ts';
import type { AccessBits } from './walk/walker.ts';

export const IOMMU_VENDORS = ['vtd', 'amd'] as const;
export type IommuVendor = (typeof IOMMU_VENDORS)[number];

type QueueConstructor = new (
  memory: PhysicalMemory,
  frames: FrameAllocator,
  caches: InvalidatedCaches,
  costs: InvalidationCosts,
  counters: Counters,
) => CommandRing;

export interface IommuArchitecture {
  readonly format: PageTableFormat;
  readonly accessBits: AccessBits;
  readonly Reader: new (memory: PhysicalMemory) => DeviceContextReader;
  readonly Queue: QueueConstructor;
}

const VTD_LEGACY: IommuArchitecture = {
  format: VTD_SECOND_STAGE,
  accessBits: 'ignored',
  Reader: ContextReader,
  Queue: InvalidationQueue,
};
const VTD_SCALABLE: IommuArchitecture = { ...VTD_LEGACY, format: VTD_FIRST_STAGE, Reader: ScalableReader };
const AMD: IommuArchitecture = {
  format: AMD_V1,
  accessBits: 'ignored',
  Reader: DeviceTableReader,
  Queue: AmdCommandBuffer,
};
/** `scalableMode` is VT-d's. */
export function architectureOf(vendor: IommuVendor, scalableMode: boolean): IommuArchitecture {
  switch (vendor) {
    case 'vtd':
      return scalableMode ? VTD_SCALABLE : VTD_LEGACY;
    case 'amd':
      return AMD;
  }
}
