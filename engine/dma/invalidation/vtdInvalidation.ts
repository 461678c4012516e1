/**
 * Invalidation of a VT-d domain: the descriptors that the driver queues, and the events that it leaves (Linux
 * drivers/iommu/intel/cache.c `cache_tag_flush_range`, `cache_tag_flush_all`, `cache_tag_flush_range_np`; VT-d specification
 * 6.5.2). Behind the IOTLB's descriptor stands one for each device TLB of the domain, in the order in which the devices were attached, in
 * batches of 16 with one wait each: the queue serves them in order, so that no device asks for a translation that the IOTLB still has.
 * Without caching mode the hardware keeps nothing that was not present, and a map needs no flush. The hint that only leaves changed was
 * lost on its way into the descriptor of second-stage tables (`qi_desc_iotlb`) until October 2025, never into that of first-stage ones.
 * Leaves out: the events of device TLBs, PASIDs, devices that must be told twice (`dtlb_extra_inval`).
 */
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { PageTableFormat } from '../../iommu/formats/pageTableFormat.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import { DEVICE_QUEUE_DEPTH, type DomainInvalidation } from './domainInvalidation.ts';
import type { KernelProfile } from '../kernels/profiles.ts';
import { AlignedRange } from './rangeInvalidation.ts';
import type { RemappingHardware } from '../remappingHardware.ts';
import { ALL_ADDRESSES_END, type DmaTrace } from '../trace.ts';
import {
  DESCRIPTOR_WORDS,
  SCALABLE_DESCRIPTOR_WORDS,
  deviceTlbPages,
  iotlbDomain,
  iotlbPages,
} from './vtdDescriptors.ts';

/** CAP.MAMV: the largest address mask that common hardware takes in one page-selective descriptor. */
const DEFAULT_ADDRESS_MASK_LIMIT = 18;
/** `QI_MAX_BATCHED_DESC_COUNT`. */
const BATCH_DESCRIPTORS = 16;
/** `MAX_AGAW_PFN_WIDTH`: every page. */
const WHOLE_DOMAIN_MASK = 52;

export interface VtdInvalidationOptions {
  readonly profile: KernelProfile;
  readonly costs: DmaCosts;
  readonly iommu: RemappingHardware;
  readonly domainId: number;
  readonly format: PageTableFormat;
  readonly counters: Counters;
  readonly trace: DmaTrace | null;
  /** CAP.CM: the hardware (or a hypervisor's shadow) caches entries that are not present, so that a map must flush. */
  readonly cachingMode?: boolean;
  /** CAP.MAMV; default 18. A larger range takes a flush of the whole domain. */
  readonly maximumAddressMask?: number;
}

export class VtdInvalidation implements DomainInvalidation {
  private readonly iommu: RemappingHardware;
  private readonly costs: DmaCosts;
  private readonly counters: Counters;
  private readonly trace: DmaTrace | null;
  private readonly domainId: number;
  private readonly firstStage: boolean;
  private readonly cachingMode: boolean;
  private readonly maximumAddressMask: number;
  private readonly traceDomainRange: boolean;
  private readonly givesHint: boolean;
  private readonly aligned = new AlignedRange();
  private readonly descriptorWords: number;
  private readonly batch: Uint32Array;
  private batched = 0;
  /** Requester ids, in the order of attachment. */
  private readonly deviceTlbs: number[] = [];

  constructor(options: VtdInvalidationOptions) {
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.trace = options.trace;
    this.domainId = options.domainId;
    this.firstStage = options.format.stage === 1;
    this.descriptorWords = options.iommu.scalableMode ? SCALABLE_DESCRIPTOR_WORDS : DESCRIPTOR_WORDS;
    this.batch = new Uint32Array(BATCH_DESCRIPTORS * this.descriptorWords);
    this.cachingMode = options.cachingMode ?? false;
    this.maximumAddressMask = options.maximumAddressMask ?? DEFAULT_ADDRESS_MASK_LIMIT;
    this.traceDomainRange = options.profile.domainFlushTracesRange;
    this.givesHint = this.firstStage || options.profile.givesInvalidationHint;
  }

  /** `cache_tag_assign`, behind the tags of the same IOMMU. */
  addDeviceTlb(sourceId: number): void {
    this.deviceTlbs.push(sourceId);
  }

  /** `cache_tag_flush_range`. */
  flushRange(cpu: Cpu, start: number, end: number, hint: boolean): void {
    const { aligned, trace } = this;
    aligned.align(start, end);
    if (trace !== null) {
      const { address, mask, pages } = aligned;
      trace.emit({ event: 'cache_tag_flush_range', start, end, address, mask, pages });
    }
    this.addAligned(cpu, hint && this.givesHint);
    this.addDeviceTlbs(cpu, aligned.address, aligned.mask);
    this.submit(cpu);
  }

  /** `cache_tag_flush_all`. */
  flushAll(cpu: Cpu): void {
    if (this.trace !== null && this.traceDomainRange) {
      this.trace.emit({
        event: 'cache_tag_flush_range',
        start: 0,
        end: ALL_ADDRESSES_END,
        address: 0,
        mask: WHOLE_DOMAIN_MASK,
        pages: 2 ** WHOLE_DOMAIN_MASK,
      });
    }
    cpu.spend(this.costs.invalidateDomain);
    this.addDomain(cpu);
    this.addDeviceTlbs(cpu, 0, WHOLE_DOMAIN_MASK);
    this.submit(cpu);
  }

  /** `cache_tag_flush_range_np`: device TLBs keep nothing that was not present. */
  flushNotPresent(cpu: Cpu, start: number, end: number): void {
    if (!this.cachingMode) return;
    const { aligned, trace } = this;
    aligned.align(start, end);
    if (trace !== null) {
      const { address, mask, pages } = aligned;
      trace.emit({ event: 'cache_tag_flush_range_np', start, end, address, mask, pages });
    }
    this.addAligned(cpu, false);
    this.submit(cpu);
  }

  private addAligned(cpu: Cpu, hint: boolean): void {
    const { trace, domainId } = this;
    const { address, mask } = this.aligned;
    cpu.spend(this.costs.invalidateRange);
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    if (mask > this.maximumAddressMask) {
      this.addDomain(cpu);
      return;
    }
    if (trace !== null) trace.emit({ event: 'qi_submit', granularity: 'page', domainId, address, mask, hint });
    iotlbPages(this.batch, this.batched * this.descriptorWords, this.firstStage, domainId, address, mask, hint);
    this.added(cpu);
  }

  private addDomain(cpu: Cpu): void {
    const { trace, domainId } = this;
    if (trace !== null) {
      trace.emit({ event: 'qi_submit', granularity: 'domain', domainId, address: 0, mask: 0, hint: false });
    }
    iotlbDomain(this.batch, this.batched * this.descriptorWords, this.firstStage, domainId);
    this.added(cpu);
  }

  /** `cache_tag_flush_devtlb_psi`. */
  private addDeviceTlbs(cpu: Cpu, address: number, mask: number): void {
    for (const sourceId of this.deviceTlbs) {
      deviceTlbPages(this.batch, this.batched * this.descriptorWords, sourceId, DEVICE_QUEUE_DEPTH, address, mask);
      this.added(cpu);
    }
  }

  /** `qi_batch_increment_index`. */
  private added(cpu: Cpu): void {
    this.batched += 1;
    if (this.batched === BATCH_DESCRIPTORS) this.submit(cpu);
  }

  /** `qi_batch_flush_descs`. */
  private submit(cpu: Cpu): void {
    if (this.batched === 0) return;
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.batch, this.batched, cpu.now));
    this.batched = 0;
  }
}
