/**
 * How the hardware is told which domain a device has: what every vendor's driver offers to the common code (Linux
 * include/linux/iommu.h, `iommu_domain_ops.attach_dev`). Tables are made when the first device is attached.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';

export interface DeviceTables {
  /** The first tag that a domain may have; tags below are taken by the vendor's driver or reserved. */
  readonly firstDomainId: number;
  /** Whether the vendor's driver lets devices ask for translations. */
  readonly enablesAts: boolean;
  /** Makes the root, empty; returns its page. */
  createRoot(): number;
  /** `ats`: the device may ask for translations. */
  attach(rootPage: number, sourceId: number, domainId: number, tablePage: number, levels: number, ats: boolean): void;
  /** The device's addresses are physical ones. `ats`: as above, where the vendor's driver grants it to such devices too. */
  attachPassthrough(rootPage: number, sourceId: number, ats: boolean): void;
  /**
   * Writes the command that makes the hardware read the device's entry again and, where a device that may ask for translations must then
   * forget those that it has, one for that; the number of commands.
   */
  forgetDevice(commands: Uint32Array, sourceId: number, ats: boolean): number;
}

export interface DeviceTablesOptions {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  /** VT-d's. */
  readonly scalableMode: boolean;
}
