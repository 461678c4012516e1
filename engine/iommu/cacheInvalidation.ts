/**
 * What an invalidation command asks of the caches, whatever its bits: Arm's and RISC-V's commands name translations by two tags, one
 * of the guest (VMID, GSCID) and one of the address space in it (ASID, PSCID), and either may be left open (SMMUv3 specification IHI
 * 0070, 4.4; RISC-V IOMMU specification 1.0, 4.1.1).
 */
import type { InvalidatedCaches } from './commandRing.ts';

/** The domain of translations that are no guest's. */
export const NO_GUEST = 0;
/** In place of a process: all of a device. */
export const EVERY_PROCESS = -1;

/** Requester ids that there are. */
const SOURCE_IDS = 2 ** 16;

export interface CacheInvalidation {
  /** Every translation, with the pointers to tables above it. */
  dropAll(): void;
  /** Every translation of a guest, or of one address space of it; EVERY_SPACE: of all. */
  dropSpace(guest: number, space: number): void;
  /** Translations of pages [firstPage, lastPage]; unless `leafOnly`, pointers to tables on their way too. */
  dropRange(guest: number, space: number, firstPage: number, lastPage: number, leafOnly: boolean): void;
  /** What was read of devices `sourceId` to `sourceId + count - 1`, or of one process of them. */
  dropDevices(sourceId: number, count: number, process: number): void;
  dropAllDevices(): void;
}

/** The caches of the pipeline (iommu.ts). What is kept of a device goes with any of its processes. */
export class HostCaches implements CacheInvalidation {
  private readonly caches: InvalidatedCaches;

  constructor(caches: InvalidatedCaches) {
    this.caches = caches;
  }

  dropAll(): void {
    this.caches.iotlb.invalidateAll();
    this.caches.pagingCache.invalidateAll();
  }

  dropSpace(guest: number, space: number): void {
    this.dropRange(guest, space, 0, Infinity, false);
  }

  dropRange(guest: number, space: number, firstPage: number, lastPage: number, leafOnly: boolean): void {
    this.caches.iotlb.invalidateRange(guest, space, firstPage, lastPage);
    if (!leafOnly) this.caches.pagingCache.invalidateRange(guest, space, firstPage, lastPage);
  }

  dropDevices(sourceId: number, count: number): void {
    const { contextCache } = this.caches;
    if (count >= SOURCE_IDS) contextCache.invalidateAll();
    else for (let source = sourceId; source < sourceId + count; source += 1) contextCache.invalidateDevice(source, 0);
  }

  dropAllDevices(): void {
    this.caches.contextCache.invalidateAll();
  }
}
