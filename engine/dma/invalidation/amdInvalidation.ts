/**
 * Invalidation of an AMD domain: the commands that the driver queues (Linux drivers/iommu/amd/iommu.c
 * `amd_iommu_domain_flush_pages`, `amd_iommu_domain_flush_all`; AMD specification 48882, 2.4.3). Nothing is told after a map, since
 * the hardware keeps nothing that was not present. AMD's driver has no events of its own here.
 * Leaves out: device TLBs, and the flush after a map that emulated hardware asks for (NpCache).
 */
import { invalidateDomain, invalidatePages } from '../../iommu/amd/amdCommands.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import type { DomainInvalidation } from './domainInvalidation.ts';
import type { RemappingHardware } from '../remappingHardware.ts';

export interface AmdInvalidationOptions {
  readonly costs: DmaCosts;
  readonly iommu: RemappingHardware;
  readonly domainId: number;
  readonly counters: Counters;
}

export class AmdInvalidation implements DomainInvalidation {
  private readonly iommu: RemappingHardware;
  private readonly costs: DmaCosts;
  private readonly counters: Counters;
  private readonly domainId: number;
  private readonly command = new Uint32Array(4);

  constructor(options: AmdInvalidationOptions) {
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.domainId = options.domainId;
  }

  /** The command always names the upper levels too: AMD's driver gives no hint. */
  flushRange(cpu: Cpu, start: number, end: number): void {
    cpu.spend(this.costs.invalidateRange);
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    invalidatePages(this.command, 0, this.domainId, Math.floor(start / PAGE_SIZE), Math.floor(end / PAGE_SIZE));
    this.submit(cpu);
  }

  flushAll(cpu: Cpu): void {
    cpu.spend(this.costs.invalidateDomain);
    invalidateDomain(this.command, 0, this.domainId);
    this.submit(cpu);
  }

  flushNotPresent(): void {
    // the hardware keeps nothing that was not present
  }

  private submit(cpu: Cpu): void {
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.command, 1, cpu.now));
  }
}
