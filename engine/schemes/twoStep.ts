/**
 * The two-step API, batched (Linux 6.17 and later; block/blk-mq-dma.c `blk_rq_dma_map_iova`): one IOVA range for the whole request when
 * nothing in its memory leaves a gap, one link for each physically contiguous vector, one sync, one unmap. A range needs 16 bytes of state.
 * Every vector is asked what kind of memory it is, so that a region may be a hodgepodge.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { physAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { RangeScheme } from './rangeScheme.ts';
import type { SchemeName } from './scheme.ts';

export class TwoStepScheme extends RangeScheme {
  readonly name: SchemeName = 'two_step';

  protected reserve(cpu: Cpu, mapped: MappedRequest, phys: number, bytes: number): boolean {
    return this.dma.dmaIovaTryAlloc(cpu, this.device, mapped.iova, physAddr(phys), bytes);
  }

  protected enter(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
    attributes: number,
  ): number {
    const { direction } = request;
    return this.dma.dmaIovaLink(cpu, this.device, mapped.iova, physAddr(phys), offset, length, direction, attributes);
  }

  protected finish(cpu: Cpu, mapped: MappedRequest, entered: number): number {
    return this.dma.dmaIovaSync(cpu, this.device, mapped.iova, 0, entered);
  }

  protected leave(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest, entered: number): void {
    // one call, and so one set of attributes: of a mixture, the request's own
    const [first, ...others] = mapped.stretchAttributes;
    const attributes = first === undefined || others.length > 0 ? mapped.attributes : first;
    this.dma.dmaIovaDestroy(cpu, this.device, mapped.iova, entered, direction, attributes);
  }
}
