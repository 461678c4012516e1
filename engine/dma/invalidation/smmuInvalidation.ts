/**
 * Invalidation of a domain behind an SMMUv3: the commands that the driver queues (Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c
 * `arm_smmu_tlb_inv_range_domain`, `__arm_smmu_tlb_inv_range`, `arm_smmu_inv_size_too_big`, `arm_smmu_tlb_inv_context`,
 * `arm_smmu_atc_inv_domain`, `arm_smmu_atc_inv_to_cmd`). Without range
 * invalidation every page takes a command of its own; from as many as a table has entries on, the whole address space goes. With it a
 * command takes up to 32 units of a power of two. However many commands, one CMD_SYNC follows them. Only then are the device
 * TLBs told, by a batch of ATC_INV with a CMD_SYNC of its own: what they ask for meanwhile must not come from the TLB.
 * Leaves out: stage 2 domains, the size of the pages that were unmapped (each is told as 4 KiB), the pieces of 64 commands
 * in which a long list goes into the queue, errata that repeat commands.
 */
import {
  CMD_TLBI_NH_ASID,
  CMD_TLBI_NH_VA,
  COMMAND_WORDS,
  invalidateAddress,
  invalidateAddressRange,
  invalidateDevice,
  invalidateSpace,
  RANGE_UNITS_MAX,
} from '../../iommu/smmu/smmuCommands.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import type { KernelProfile } from '../kernels/profiles.ts';
import type { RemappingHardware } from '../remappingHardware.ts';
import type { DomainInvalidation } from './domainInvalidation.ts';

export interface SmmuInvalidationOptions {
  readonly profile: Pick<KernelProfile, 'smmuDeviceTlbOrder'>;
  readonly costs: DmaCosts;
  readonly iommu: RemappingHardware;
  readonly domainId: number;
  readonly counters: Counters;
}

/** `arm_smmu_inv_size_too_big`: entries of a table of 4 KiB. */
const TOO_MANY_COMMANDS = 512;
const GUEST = 0;
/** TG of 4 KiB, and the level of its leaves. */
const GRANULE_4K = 1;
const LEAF_LEVEL = 3;
const ANY_LEVEL = 0;
const LARGEST_SCALE = 31;
/** `ATC_INV_SIZE_ALL`. */
const ATC_SIZE_ALL = 52;
const NO_SUBSTREAM = -1;

export class SmmuInvalidation implements DomainInvalidation {
  private readonly iommu: RemappingHardware;
  private readonly costs: DmaCosts;
  private readonly counters: Counters;
  private readonly asid: number;
  private readonly batch = new Uint32Array(TOO_MANY_COMMANDS * COMMAND_WORDS);
  private readonly deviceTlbOrder: KernelProfile['smmuDeviceTlbOrder'];
  /** StreamIDs, in the order in which they are told. */
  private readonly deviceTlbs: number[] = [];
  private deviceBatch = new Uint32Array(0);

  constructor(options: SmmuInvalidationOptions) {
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.asid = options.domainId;
    this.deviceTlbOrder = options.profile.smmuDeviceTlbOrder;
  }

  addDeviceTlb(sourceId: number): void {
    this.deviceTlbs.unshift(sourceId);
    if (this.deviceTlbOrder === 'by_stream') this.deviceTlbs.sort((a, b) => a - b);
    this.deviceBatch = new Uint32Array(this.deviceTlbs.length * COMMAND_WORDS);
  }

  /** `hint`: only leaves changed, and the commands say so. */
  flushRange(cpu: Cpu, start: number, end: number, hint: boolean): void {
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    const first = Math.floor(start / PAGE_SIZE);
    const pages = Math.floor(end / PAGE_SIZE) - first + 1;
    const ranges = this.iommu.rangeInvalidation === true;
    if (!ranges && pages >= TOO_MANY_COMMANDS) {
      this.flushSpace(cpu);
    } else {
      cpu.spend(this.costs.invalidateRange);
      this.submit(cpu, ranges ? this.addRanges(first, pages, hint) : this.addPages(first, pages, hint));
    }
    this.flushDeviceTlbs(cpu, first, first + pages - 1);
  }

  flushAll(cpu: Cpu): void {
    this.flushSpace(cpu);
    this.flushDeviceTlbs(cpu, 0, Infinity);
  }

  flushNotPresent(): void {
    // the hardware keeps nothing that was not present
  }

  /** `arm_smmu_tlb_inv_asid`. */
  private flushSpace(cpu: Cpu): void {
    cpu.spend(this.costs.invalidateDomain);
    invalidateSpace(this.batch, 0, CMD_TLBI_NH_ASID, GUEST, this.asid);
    this.submit(cpu, 1);
  }

  /** `arm_smmu_atc_inv_domain`: the smallest naturally aligned power of two around the pages [first, last]. */
  private flushDeviceTlbs(cpu: Cpu, first: number, last: number): void {
    const { deviceTlbs, deviceBatch } = this;
    if (deviceTlbs.length === 0) return;
    let span = 1;
    let log2Span = 0;
    while (log2Span < ATC_SIZE_ALL && Math.floor(first / span) !== Math.floor(last / span)) {
      span *= 2;
      log2Span += 1;
    }
    const page = first - (first % span);
    for (let device = 0; device < deviceTlbs.length; device += 1) {
      invalidateDevice(deviceBatch, device, deviceTlbs[device]!, NO_SUBSTREAM, page, log2Span);
    }
    cpu.waitUntil(this.iommu.invalidationQueue.submit(deviceBatch, deviceTlbs.length, cpu.now));
  }

  private addPages(first: number, pages: number, leaf: boolean): number {
    for (let index = 0; index < pages; index += 1) {
      invalidateAddress(this.batch, index, CMD_TLBI_NH_VA, GUEST, this.asid, first + index, leaf);
    }
    return pages;
  }

  /** From the lowest bit of what is left upward, five bits at a time; the number of commands. */
  private addRanges(first: number, pages: number, leaf: boolean): number {
    let count = 0;
    let page = first;
    let left = pages;
    while (left > 0) {
      let scale = 0;
      while (scale < LARGEST_SCALE && left % 2 ** (scale + 1) === 0) scale += 1;
      const unit = 2 ** scale;
      const units = Math.floor(left / unit) % RANGE_UNITS_MAX;
      const levelHint = leaf ? LEAF_LEVEL : ANY_LEVEL;
      invalidateAddressRange(
        this.batch,
        count,
        CMD_TLBI_NH_VA,
        GUEST,
        this.asid,
        page,
        leaf,
        units,
        scale,
        GRANULE_4K,
        levelHint,
      );
      count += 1;
      page += units * unit;
      left -= units * unit;
    }
    return count;
  }

  private submit(cpu: Cpu, count: number): void {
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.batch, count, cpu.now));
  }
}
