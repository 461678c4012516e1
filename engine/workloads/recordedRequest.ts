/**
 * What a replay takes from a recording of a real kernel: which requests there were, in which order they were submitted
 * and completed, and where the memory of each one lay. Plain data, so that a workload, the lab document and the
 * conformance suite all read the same thing and none of them has to know the text of ftrace.
 * Leaves out: everything that the emulator produces by itself (calls, IOVAs, page-table operations, invalidations), and
 * time, which in recordings made under software emulation of the CPU means nothing.
 */
import type { KernelProfileName } from '../dma/kernels/profiles.ts';
import type { PhysAddr } from '../memory/addresses.ts';

/** One physically contiguous piece of a request's memory. */
export interface RecordedVector {
  readonly phys: PhysAddr;
  readonly length: number;
}

export interface RecordedRequest {
  /** Position in order of submission, from 0. */
  readonly index: number;
  /** The CPU that submitted it. */
  readonly cpu: number;
  /** The CPU on which its completion was handled. */
  readonly completionCpu: number;
  /** True when the device reads memory (a write to the medium, `DMA_TO_DEVICE`). */
  readonly write: boolean;
  /** First block on the medium, in 512-byte sectors. */
  readonly lba: number;
  /** Bytes of memory mapped: the sum of the vectors. 0 for a command without data, such as a flush. */
  readonly bytes: number;
  readonly vectors: readonly RecordedVector[];
  /**
   * Segments as the block layer counted them when it handed the request to the driver. Not a function of the addresses:
   * 7.x counts bvecs, and two bvecs may happen to be physically adjacent (then this is larger than `vectors.length`).
   */
  readonly segments: number;
  /** Pages that the driver's descriptor pools allocated with `dma_alloc` while this request was prepared. */
  readonly poolPages: number;
  /** Position in order of completion, from 0. */
  readonly completeOrder: number;
}

export type RecordedKernel = Exclude<KernelProfileName, 'ideal'>;
export type RecordedDomain = 'strict' | 'lazy' | 'passthrough';

export interface Recording {
  /** The name under which it was read, such as `7.3-lazy/w64k-rand-qd16-frag`. */
  readonly id: string;
  /** The kernel's full release, as its run.json gives it. */
  readonly kernelRelease: string;
  readonly kernelProfile: RecordedKernel;
  readonly domain: RecordedDomain;
  readonly cpus: number;
  /** The most requests that were in flight at any moment. */
  readonly queueDepth: number;
  /** In order of submission. */
  readonly requests: readonly RecordedRequest[];
}

/** A recording as files: what a lab document carries, byte for byte. */
export interface RecordingFiles {
  readonly name: string;
  /** The ftrace text, gzip'd or plain. */
  readonly trace: Uint8Array;
  /** The text of the run.json that lay beside it. */
  readonly runJson: string;
  /** What the emulated drive and IOMMU of that boot printed, gzip'd or plain, where it was kept. */
  readonly deviceLog?: Uint8Array;
}
