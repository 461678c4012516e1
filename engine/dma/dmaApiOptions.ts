/**
 * Of what a machine the DMA API is a part: memory, IOMMU, bounce buffers, and what is known of pages and peers. Everything
 * beyond memory and IOMMU may be left out.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { P2pdmaTopology } from '../pcie/p2pdma.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import type { DeviceDomains } from './attachDomain.ts';
import type { DmaCosts } from './kernels/costs.ts';
import type { MemoryEncryption } from './memoryEncryption.ts';
import type { KernelProfile } from './kernels/profiles.ts';
import type { RemappingHardware } from './remappingHardware.ts';
import type { Swiotlb } from './swiotlb/swiotlb.ts';
import type { DmaTrace } from './trace.ts';

export interface DmaApiOptions {
  readonly profile: KernelProfile;
  readonly costs: DmaCosts;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly iommu: RemappingHardware | null;
  /** The IOMMU's tables of devices, where several of these speak to it; default: made here. */
  readonly domains?: DeviceDomains | null;
  /** Levels of VT-d's second-stage tables, default 4. AMD's begin with 3 and grow. */
  readonly levels?: number;
  readonly counters: Counters;
  readonly trace: DmaTrace | null;
  /** Runs the flush queue's 10 ms timer; null: the caller says when it fires. */
  readonly timers: EventQueue | null;
  readonly cpus: number;
  readonly log: EventLog | null;
  /** CAP.CM of VT-d: the hardware, or the hypervisor that plays it, keeps what was not present; a map flushes too. */
  readonly cachingMode?: boolean;
  /** CAP.MAMV of VT-d: the largest address mask of one invalidation; default 18. */
  readonly maximumAddressMask?: number;
  /** Bounce buffers; null: memory that would need one cannot be mapped. */
  readonly swiotlb?: Swiotlb | null;
  /** The C-bit of bus addresses; null: memory is not encrypted. */
  readonly encryption?: MemoryEncryption | null;
  /** Which pages are a peer's, private or small; null: all memory is plain RAM. */
  readonly pageKinds?: PageKinds | null;
  /** Who reaches which peer, and how; null: nobody does. */
  readonly p2pdma?: P2pdmaTopology | null;
}
