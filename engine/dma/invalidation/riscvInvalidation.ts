/**
 * Invalidation of a domain behind a RISC-V IOMMU: the commands that the driver queues (Linux drivers/iommu/riscv/iommu.c
 * `riscv_iommu_iotlb_inval`, `riscv_iommu_iotlb_sync`). A range below 2 MiB takes one command for each page, a larger one the whole
 * address space; so does a range whose tables were cut off, since a command with an address takes leaves only.
 * Leaves out: domains behind several IOMMUs, the extensions for ranges (S) and tables (NL), which the driver does not use.
 */
import { invalidateVma, COMMAND_WORDS, OPEN } from '../../iommu/riscv/riscvCommands.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import type { RemappingHardware } from '../remappingHardware.ts';
import type { DomainInvalidation } from './domainInvalidation.ts';

export interface RiscvInvalidationOptions {
  readonly costs: DmaCosts;
  readonly iommu: RemappingHardware;
  readonly domainId: number;
  readonly counters: Counters;
}

/** `RISCV_IOMMU_IOTLB_INVAL_LIMIT`, in pages. */
const LIMIT_PAGES = 512;

export class RiscvInvalidation implements DomainInvalidation {
  private readonly iommu: RemappingHardware;
  private readonly costs: DmaCosts;
  private readonly counters: Counters;
  private readonly pscid: number;
  private readonly commands = new Uint32Array(LIMIT_PAGES * COMMAND_WORDS);

  constructor(options: RiscvInvalidationOptions) {
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.pscid = options.domainId;
  }

  addDeviceTlb(): void {
    throw new Error('the driver of the RISC-V IOMMU lets no device ask for translations');
  }

  /** `hint`: only leaves changed. */
  flushRange(cpu: Cpu, start: number, end: number, hint: boolean): void {
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    const first = Math.floor(start / PAGE_SIZE);
    const pages = Math.floor(end / PAGE_SIZE) - first + 1;
    if (!hint || pages >= LIMIT_PAGES) {
      this.flushAll(cpu);
      return;
    }
    cpu.spend(this.costs.invalidateRange);
    for (let index = 0; index < pages; index += 1) invalidateVma(this.commands, index, OPEN, this.pscid, first + index);
    this.submit(cpu, pages);
  }

  flushAll(cpu: Cpu): void {
    cpu.spend(this.costs.invalidateDomain);
    invalidateVma(this.commands, 0, OPEN, this.pscid, OPEN);
    this.submit(cpu, 1);
  }

  flushNotPresent(): void {
    // the hardware keeps nothing that was not present
  }

  private submit(cpu: Cpu, count: number): void {
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.commands, count, cpu.now));
  }
}
