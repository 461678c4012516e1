/**
 * Invalidation of a VT-d domain: the descriptors that the driver queues, and the events that it leaves (Linux
 * drivers/iommu/intel/cache.c `cache_tag_flush_range`, `cache_tag_flush_all`, `cache_tag_flush_range_np`; VT-d specification
 * 6.5.2.3). Without caching mode the hardware keeps nothing that was not present, and a map needs no flush.
 * Leaves out: device TLBs.
 */
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { PageTableFormat } from '../../iommu/formats/pageTableFormat.ts';
import { VTD_FIRST_STAGE } from '../../iommu/formats/vtdFirstStage.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import type { DomainInvalidation } from './domainInvalidation.ts';
import type { KernelProfile } from '../kernels/profiles.ts';
import { AlignedRange } from './rangeInvalidation.ts';
import type { RemappingHardware } from '../remappingHardware.ts';
import { ALL_ADDRESSES_END, type DmaTrace } from '../trace.ts';

/** CAP.MAMV: the largest address mask that common hardware takes in one page-selective descriptor. */
const DEFAULT_ADDRESS_MASK_LIMIT = 18;
const IOTLB_DESCRIPTOR = 0x2;
/** `qi_flush_piotlb`: first-stage translations are tagged by PASID too; requests without one have PASID 0. */
const PASID_IOTLB_DESCRIPTOR = 0x6;
const DRAIN_READS_AND_WRITES = 0xc0;
const GRANULARITY_DOMAIN = 2 << 4;
const GRANULARITY_PAGE = 3 << 4;
const INVALIDATION_HINT = 1 << 6;
const WHOLE_DOMAIN_MASK = 52;
const FOUR_GIB = 2 ** 32;

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
  /** Type and drain bits of this domain's descriptors. */
  private readonly descriptorType: number;
  private readonly cachingMode: boolean;
  private readonly maximumAddressMask: number;
  private readonly traceDomainRange: boolean;
  private readonly givesHint: boolean;
  private readonly aligned = new AlignedRange();
  private readonly descriptor = new Uint32Array(4);

  constructor(options: VtdInvalidationOptions) {
    this.iommu = options.iommu;
    this.costs = options.costs;
    this.counters = options.counters;
    this.trace = options.trace;
    this.domainId = options.domainId;
    this.descriptorType =
      options.format === VTD_FIRST_STAGE ? PASID_IOTLB_DESCRIPTOR : IOTLB_DESCRIPTOR | DRAIN_READS_AND_WRITES;
    this.cachingMode = options.cachingMode ?? false;
    this.maximumAddressMask = options.maximumAddressMask ?? DEFAULT_ADDRESS_MASK_LIMIT;
    this.traceDomainRange = options.profile.domainFlushTracesRange;
    this.givesHint = options.profile.givesInvalidationHint;
  }

  /** `cache_tag_flush_range`. */
  flushRange(cpu: Cpu, start: number, end: number, hint: boolean): void {
    const { aligned, trace } = this;
    aligned.align(start, end);
    if (trace !== null) {
      const { address, mask, pages } = aligned;
      trace.emit({ event: 'cache_tag_flush_range', start, end, address, mask, pages });
    }
    this.submitAligned(cpu, hint && this.givesHint);
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
    this.submitDomain(cpu);
  }

  /** `cache_tag_flush_range_np`. */
  flushNotPresent(cpu: Cpu, start: number, end: number): void {
    if (!this.cachingMode) return;
    const { aligned, trace } = this;
    aligned.align(start, end);
    if (trace !== null) {
      const { address, mask, pages } = aligned;
      trace.emit({ event: 'cache_tag_flush_range_np', start, end, address, mask, pages });
    }
    this.submitAligned(cpu, false);
  }

  private submitAligned(cpu: Cpu, hint: boolean): void {
    const { trace, descriptor, domainId } = this;
    const { address, mask } = this.aligned;
    cpu.spend(this.costs.invalidateRange);
    this.counters.values[COUNTER.iotlbSyncs]! += 1;
    if (mask > this.maximumAddressMask) {
      this.submitDomain(cpu);
      return;
    }
    descriptor[0] = (this.descriptorType | GRANULARITY_PAGE | (domainId << 16)) >>> 0;
    descriptor[1] = 0;
    descriptor[2] = (address % FOUR_GIB) + (hint ? INVALIDATION_HINT : 0) + mask;
    descriptor[3] = Math.floor(address / FOUR_GIB);
    if (trace !== null) trace.emit({ event: 'qi_submit', granularity: 'page', domainId, address, mask, hint });
    this.submit(cpu);
  }

  private submitDomain(cpu: Cpu): void {
    const { descriptor, trace, domainId } = this;
    descriptor[0] = (this.descriptorType | GRANULARITY_DOMAIN | (domainId << 16)) >>> 0;
    descriptor[1] = 0;
    descriptor[2] = 0;
    descriptor[3] = 0;
    if (trace !== null) {
      trace.emit({ event: 'qi_submit', granularity: 'domain', domainId, address: 0, mask: 0, hint: false });
    }
    this.submit(cpu);
  }

  private submit(cpu: Cpu): void {
    cpu.waitUntil(this.iommu.invalidationQueue.submit(this.descriptor, 1, cpu.now));
  }
}
