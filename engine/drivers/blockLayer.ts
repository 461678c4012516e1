/**
 * From bio to requests: the queue limits of an NVMe namespace and the cutting of a bio into requests that keep them (Linux
 * block/blk-merge.c `bio_split_io_at`, drivers/nvme/host/core.c `nvme_set_ctrl_limits`). Behind an IOMMU a request is at
 * most `dma_opt_mapping_size` (128 KiB), so that its IOVA comes from the allocator's caches.
 * Leaves out: merging of bios, discards, zoned and partitioned disks, user-set max_sectors_kb.
 */
import type { MappingRequest } from '../schemes/mappingRequest.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE } from '../dma/attributes.ts';
import { kernelProfile, type KernelProfile } from '../dma/kernels/profiles.ts';
import type { SchemeName } from '../schemes/scheme.ts';
import { LOGICAL_BLOCK_BYTES, NVME_CTRL_PAGE_SIZE } from '../devices/nvmeSpecification.ts';
import type { Bio } from './bio.ts';

/** `NVME_MAX_BYTES` / `NVME_MAX_KB_SZ`: 8 MiB. */
const NVME_MAX_BYTES = 8 * 1024 * 1024;

export interface QueueLimits {
  /** `max_hw_sectors`, in bytes. */
  readonly maxTransferBytes: number;
  readonly maxSegments: number;
  readonly virtBoundaryMask: number;
}

export interface QueueLimitInputs {
  readonly maximumDataTransferBytes: number;
  readonly sglSupport: boolean;
  /** `dma_opt_mapping_size` of the device. */
  readonly optMappingBytes: number;
  readonly profile: KernelProfile;
  readonly scheme: SchemeName;
}

export function nvmeQueueLimits(inputs: QueueLimitInputs): QueueLimits {
  const bytes = Math.min(NVME_MAX_BYTES, inputs.maximumDataTransferBytes, inputs.optMappingBytes);
  const maxTransferBytes = Math.max(NVME_CTRL_PAGE_SIZE, bytes - (bytes % NVME_CTRL_PAGE_SIZE));
  // A driver that maps through a scatterlist is the driver of 6.12, whatever the kernel around it.
  const driver = inputs.scheme === 'map_sg' ? kernelProfile('6.12') : inputs.profile;
  const boundary = driver.nvmeVirtBoundaryMask !== 0 || !inputs.sglSupport;
  return {
    maxTransferBytes,
    maxSegments: Math.min(driver.nvmeMaxSegments, maxTransferBytes / NVME_CTRL_PAGE_SIZE + 1),
    virtBoundaryMask: boundary ? NVME_CTRL_PAGE_SIZE - 1 : 0,
  };
}

/**
 * Cuts the next request off the bio, from where the last one ended, into `request`. Returns its bytes, whole logical blocks.
 * 0 with a bio that is not `cut`: what the limits let pass is less than a block, and the bio must end with an error
 * (`bio_split_io_at` gives -EINVAL).
 */
export function cutRequest(bio: Bio, limits: QueueLimits, request: MappingRequest): number {
  request.reset(bio.write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
  const bytes = measureRequest(bio, limits, request);
  const whole = bio.cursorBytes + bytes === bio.bytes;
  takeVectors(bio, bytes, request);
  if (whole && bio.recordedSegments > 0 && bytes === bio.bytes) request.segments = bio.recordedSegments;
  return bytes;
}

/** How many bytes fit, and as how many segments: every (part of a) bvec is one. */
function measureRequest(bio: Bio, limits: QueueLimits, request: MappingRequest): number {
  let bytes = 0;
  let segments = 0;
  let previousEnd = -1;
  for (let vector = bio.cursorVector; vector < bio.vectorCount; vector += 1) {
    const skip = vector === bio.cursorVector ? bio.cursorOffset : 0;
    const phys = bio.phys[vector]! + skip;
    const length = bio.length[vector]! - skip;
    const gap = previousEnd >= 0 && ((previousEnd | phys) & limits.virtBoundaryMask) !== 0;
    if (gap || segments === limits.maxSegments) break;
    segments += 1;
    const room = limits.maxTransferBytes - bytes;
    if (length > room) {
      bytes += room;
      break;
    }
    bytes += length;
    previousEnd = phys + length;
    if (bytes === limits.maxTransferBytes) break;
  }
  request.segments = segments;
  return bytes - (bytes % LOGICAL_BLOCK_BYTES);
}

function takeVectors(bio: Bio, bytes: number, request: MappingRequest): void {
  let left = bytes;
  while (left > 0) {
    const available = bio.length[bio.cursorVector]! - bio.cursorOffset;
    const part = Math.min(left, available);
    request.addVector(bio.phys[bio.cursorVector]! + bio.cursorOffset, part);
    left -= part;
    if (part === available) {
      bio.cursorVector += 1;
      bio.cursorOffset = 0;
    } else {
      bio.cursorOffset += part;
    }
  }
  bio.cursorBytes += bytes;
}
