/**
 * Invalidation of an AMD domain: the commands that the driver queues (Linux drivers/iommu/amd/iommu.c
 * `amd_iommu_domain_flush_pages`, `amd_iommu_domain_flush_all`; AMD specification 48882, 2.4.3). Behind the IOMMU's own command stands one
 * for each device TLB of the domain, the device attached last first, and one COMPLETION_WAIT behind all. Nothing is told after a map, since
 * the hardware keeps nothing that was not present. AMD's driver has no events of its own here.
 * Leaves out: the flush after a map that emulated hardware asks for (NpCache).
 */
import {
  COMMAND_WORDS,
  invalidateDevicePages,
  invalidateDomain,
  invalidatePages,
} from '../../iommu/amd/amdCommands.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import { DEVICE_QUEUE_DEPTH, type DomainInvalidation } from './domainInvalidation.ts';
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
  private commands = new Uint32Array(COMMAND_WORDS);
  /** Requester ids, in the order of attachment. */
  private readonly deviceTlbs: number[] = [];

  constructor(options: AmdInvalidationOptions) {
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.domainId = options.domainId;
  }

  addDeviceTlb(sourceId: number): void {
    this.deviceTlbs.push(sourceId);
    this.commands = new Uint32Array((1 + this.deviceTlbs.length) * COMMAND_WORDS);
  }

  /** The command always names the upper levels too: AMD's driver gives no hint. */
  flushRange(cpu: Cpu, start: number, end: number): void {
    cpu.spend(this.costs.invalidateRange);
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    const first = Math.floor(start / PAGE_SIZE);
    const last = Math.floor(end / PAGE_SIZE);
    invalidatePages(this.commands, 0, this.domainId, first, last);
    this.submit(cpu, first, last);
  }

  flushAll(cpu: Cpu): void {
    cpu.spend(this.costs.invalidateDomain);
    invalidateDomain(this.commands, 0, this.domainId);
    this.submit(cpu, 0, Infinity);
  }

  flushNotPresent(): void {
    // the hardware keeps nothing that was not present
  }

  /** Puts the device TLBs' commands behind the first one (`device_flush_iotlb`). */
  private submit(cpu: Cpu, first: number, last: number): void {
    const { commands, deviceTlbs } = this;
    let count = 1;
    for (let device = deviceTlbs.length - 1; device >= 0; device -= 1) {
      invalidateDevicePages(commands, count, deviceTlbs[device]!, DEVICE_QUEUE_DEPTH, first, last);
      count += 1;
    }
    cpu.waitUntil(this.iommu.invalidationQueue.submit(commands, count, cpu.now));
  }
}
