/**
 * A walk over the device ranges of a request that maps further vectors only when the walk gets there, as
 * `blk_rq_dma_map_iter_next` does (Linux block/blk-mq-dma.c): the order of mapping and descriptor allocation is visible in
 * recordings.
 */
import type { MappedRequest } from '../schemes/mappedRequest.ts';
import type { MappingRequest } from '../schemes/mappingRequest.ts';
import type { MappingScheme } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';

export class MappedRanges {
  /** What is left of the present range. */
  address = 0;
  length = 0;
  private index = 0;

  start(mapped: MappedRequest): void {
    this.index = 0;
    this.address = mapped.address[0]!;
    this.length = mapped.length[0]!;
  }

  advance(bytes: number): void {
    this.address += bytes;
    this.length -= bytes;
  }

  /** Steps to the next range; false: there is none, or mapping it failed (`mapped.status`). */
  next(scheme: MappingScheme, cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean {
    if (this.index + 1 >= mapped.count && !scheme.mapNext(cpu, request, mapped)) return false;
    this.index += 1;
    this.address = mapped.address[this.index]!;
    this.length = mapped.length[this.index]!;
    return true;
  }
}
