/**
 * How a paging domain tells its IOMMU that translations changed: what every vendor's driver offers to the common code
 * (Linux include/linux/iommu.h, `iommu_domain_ops`: `iotlb_sync`, `flush_iotlb_all`, `iotlb_sync_map`).
 */
import type { Cpu } from '../../time/cpu.ts';

/** Invalidations that a device takes at a time: what Invalidate Queue Depth 0 of its ATS capability says (`pci_ats_queue_depth`). */
export const DEVICE_QUEUE_DEPTH = 32;

export interface DomainInvalidation {
  /** A device of the domain may ask for translations and keeps them itself: from now on it is told too. */
  addDeviceTlb(sourceId: number): void;
  /**
   * `iotlb_sync`: forgets the range [start, end], in bytes, end inclusive, and waits until it is forgotten. `hint`: only
   * leaves changed, so that caches of upper levels may stay.
   */
  flushRange(cpu: Cpu, start: number, end: number, hint: boolean): void;
  /** `flush_iotlb_all`: forgets the whole domain. */
  flushAll(cpu: Cpu): void;
  /** `iotlb_sync_map`: forgets, where the hardware caches them, that nothing was mapped in the range. */
  flushNotPresent(cpu: Cpu, start: number, end: number): void;
}
