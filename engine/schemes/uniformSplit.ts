/**
 * An API that takes memory of one kind at a time, under a caller that needs one region of all of it: the request is cut at every boundary
 * between kinds, and each piece is a transaction of its own, with its range, sync and unmap. The device still gets one list. The mail calls this
 * doable and less performant than one transaction; what it costs more is to be seen here.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { Cpu } from '../time/cpu.ts';
import { MappedRequest } from './mappedRequest.ts';
import { MappingRequest } from './mappingRequest.ts';
import { findWays, wayOf } from './peerVectors.ts';
import { RequestScheme } from './requestScheme.ts';
import type { BlockStatus } from './scheme.ts';
import { TwoStepScheme } from './twoStep.ts';

export class UniformSplitScheme extends RequestScheme {
  readonly name = 'uniform_split';
  private readonly transaction: TwoStepScheme;

  constructor(dma: DmaApi, device: DmaDevice) {
    super(dma, device);
    this.transaction = new TwoStepScheme(dma, device);
  }

  protected mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    if (!findWays(this.dma, this.device, cpu, request, mapped, false)) return mapped.status;
    mapped.mappedBy = 'transactions';
    for (let first = 0; first < request.vectorCount;) {
      const next = endOfKind(request, mapped, first);
      if (this.mapPiece(cpu, request, mapped, first, next) !== 'ok') {
        this.unmapOwn(cpu, request.direction, mapped);
        mapped.mappedBy = 'nothing';
        return mapped.status;
      }
      first = next;
    }
    mapped.vectorsMapped = request.vectorCount;
    return 'ok';
  }

  protected unmapOwn(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    for (const transaction of mapped.transactions) this.transaction.unmap(cpu, direction, transaction);
    mapped.transactions.length = 0;
  }

  private mapPiece(cpu: Cpu, request: MappingRequest, mapped: MappedRequest, first: number, next: number): BlockStatus {
    const piece = new MappingRequest(next - first);
    piece.reset(request.direction);
    piece.uniform = true;
    piece.attributes = request.attributes;
    for (let index = first; index < next; index += 1) {
      piece.addVector(request.vectorPhys[index]!, request.vectorLength[index]!);
    }
    piece.segments = next - first;
    const part = MappedRequest.empty(next - first);
    mapped.transactions.push(part);
    this.transaction.mapStart(cpu, piece, part);
    if (part.status === 'ok') while (this.transaction.mapNext(cpu, piece, part));
    mapped.bookkeepingBytes += part.bookkeepingBytes;
    mapped.status = part.status;
    mapped.refusal = part.refusal;
    for (let range = 0; range < part.count; range += 1) mapped.addRange(part.address[range]!, part.length[range]!);
    return part.status;
  }
}

function endOfKind(request: MappingRequest, mapped: MappedRequest, first: number): number {
  let next = first + 1;
  while (next < request.vectorCount && wayOf(mapped, next) === wayOf(mapped, first)) next += 1;
  return next;
}
