/**
 * A mapping scheme: how a driver gets the memory of one request mapped for its device. The interface follows the iterator of
 * Linux block/blk-mq-dma.c (`blk_rq_dma_map_iter_start`, `blk_rq_dma_map_iter_next`, `blk_rq_dma_unmap`), because a driver
 * takes its descriptor memory between the first vector and the later ones: a scheme that maps everything at once simply has
 * nothing left to map after the start. A region of memory to be registered is such a request as well.
 * Leaves out: integrity payloads.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { ENOMEM, EOPNOTSUPP, EREMOTEIO } from '../dma/errno.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';

/** As lab documents have them. */
export const SCHEME_NAMES = [
  'map_sg',
  'map_phys',
  'two_step',
  'two_step_per_page',
  'premapped',
  'rfc_link_range',
  'uniform_only',
  'uniform_split',
  'hybrid',
  'iova_export',
] as const;
export type SchemeName = (typeof SCHEME_NAMES)[number];

/** `BLK_STS_*` of include/linux/blk_types.h, as far as a mapping can end in them. */
export type BlockStatus = 'ok' | 'resource' | 'ioerr' | 'inval';

export interface MappingScheme {
  readonly name: SchemeName;
  /** Maps the first vector, or the whole request where the scheme can. What the device may use stands in `mapped`. */
  mapStart(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus;
  /** Maps one more vector and returns true; false: nothing was left, or `mapped.status` says what failed. */
  mapNext(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean;
  /** The driver will describe the request by a list that does not record lengths: keep what the unmap will need. */
  keepVectors(mapped: MappedRequest): void;
  /** Memory that the scheme holds between requests, beyond what each of them has. */
  readonly heldBytes: number;
  /**
   * Told of each buffer of a workload before its first request; a scheme that maps request by request has nothing to do. `pages`:
   * physical page numbers; `attributes` (`DMA_ATTR_*`, default 0): of the mapping that is made of them.
   */
  registerBuffer(cpu: Cpu, pages: Float64Array, attributes?: number): BlockStatus;
  /** Lets go of the registered buffers. */
  release(cpu: Cpu): void;
  /** Undoes everything that `mapped` holds, a request that failed halfway included. */
  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void;
}

/** `errno_to_blk_status` (block/blk-core.c), for the errors that a link can return. */
export function statusOfErrno(error: number): BlockStatus {
  if (error === ENOMEM) return 'resource';
  return error === EOPNOTSUPP || error === EREMOTEIO ? 'inval' : 'ioerr';
}
