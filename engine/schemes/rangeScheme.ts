/**
 * What schemes have in common that reserve one range of IOVA for the whole request and enter its vectors one after another. Vectors that are
 * reached by their bus address leave no hole: the range holds what needs translation, and the device's list names both. So one range is all
 * that must be remembered for the way back, whatever the mixture. Where there is no translation, or a junction inside a page, each vector is
 * mapped by itself (vectors.ts).
 * Leaves out: cache maintenance piece by piece for devices that are not coherent, which would have to tell peers' memory from RAM at unmap.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_IOVA_STATE_BYTES, type MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { attributesOf, busAddressOf, findWays, wayOf } from './peerVectors.ts';
import { RequestScheme } from './requestScheme.ts';
import { statusOfErrno, type BlockStatus } from './scheme.ts';

export abstract class RangeScheme extends RequestScheme {
  protected mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    mapped.bookkeepingBytes = DMA_IOVA_STATE_BYTES;
    if (!findWays(this.dma, this.device, cpu, request, mapped, this.knownUniform(request))) return mapped.status;
    if (!this.accepts(request, mapped)) return mapped.status;
    const gapless = (request.gapMask & this.dma.dmaGetMergeBoundary(this.device)) === 0;
    const first = firstTranslated(request, mapped);
    if (first === -1) return this.nameBusAddresses(request, mapped);
    const bytes = translatedBytes(request, mapped);
    if (gapless && this.reserve(cpu, mapped, request.vectorPhys[first]!, bytes)) {
      return this.enterAll(cpu, request, mapped);
    }
    return mapped.status === 'ok' ? this.mapVectors(cpu, request, mapped) : mapped.status;
  }

  protected unmapOwn(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    if (mapped.mappedBy === 'iova') this.leave(cpu, direction, mapped, mapped.enteredBytes);
  }

  /** Whether the caller's word is taken that the first vector speaks for all. */
  protected knownUniform(_request: MappingRequest): boolean {
    return false;
  }

  /** False: the scheme cannot serve this mixture, and `mapped` says why. */
  protected accepts(_request: MappingRequest, _mapped: MappedRequest): boolean {
    return true;
  }

  /** False: no range; with a status other than ok the request is refused, else each vector is mapped by itself. */
  protected abstract reserve(cpu: Cpu, mapped: MappedRequest, phys: number, bytes: number): boolean;

  /** Enters one vector at `offset` of the range; 0 or a negative errno, after which nothing of the vector is entered. */
  protected abstract enter(
    cpu: Cpu,
    request: MappingRequest,
    mapped: MappedRequest,
    phys: number,
    offset: number,
    length: number,
    attributes: number,
  ): number;

  /** After the last vector: 0 or a negative errno. */
  protected abstract finish(cpu: Cpu, mapped: MappedRequest, entered: number): number;

  /** Takes out the first `entered` bytes, and gives the range back. */
  protected abstract leave(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest, entered: number): void;

  private enterAll(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    let entered = 0;
    let error = 0;
    for (let index = 0; index < request.vectorCount && error === 0; index += 1) {
      const phys = request.vectorPhys[index]!;
      const length = request.vectorLength[index]!;
      const way = wayOf(mapped, index);
      if (way === 'bus_addr') {
        mapped.addRange(busAddressOf(this.dma, phys), length);
        continue;
      }
      const attributes = request.attributes | attributesOf(way);
      error = this.enter(cpu, request, mapped, phys, entered, length, attributes);
      if (error !== 0) break;
      mapped.noteEntered(length, attributes);
      mapped.extendRange(mapped.iova.address + entered, length);
      entered += length;
    }
    if (error === 0) error = this.finish(cpu, mapped, entered);
    if (error !== 0) {
      this.leave(cpu, request.direction, mapped, entered);
      mapped.status = statusOfErrno(error);
      return mapped.status;
    }
    mapped.mappedBy = 'iova';
    mapped.enteredBytes = entered;
    mapped.vectorsMapped = request.vectorCount;
    return 'ok';
  }

  /** Nothing needs translation, so nothing is mapped and nothing is to be undone. */
  private nameBusAddresses(request: MappingRequest, mapped: MappedRequest): BlockStatus {
    for (let index = 0; index < request.vectorCount; index += 1) {
      mapped.extendRange(busAddressOf(this.dma, request.vectorPhys[index]!), request.vectorLength[index]!);
    }
    mapped.bookkeepingBytes = 0;
    mapped.mappedBy = 'bus';
    mapped.vectorsMapped = request.vectorCount;
    return 'ok';
  }
}

function firstTranslated(request: MappingRequest, mapped: MappedRequest): number {
  for (let index = 0; index < request.vectorCount; index += 1) if (wayOf(mapped, index) !== 'bus_addr') return index;
  return -1;
}

function translatedBytes(request: MappingRequest, mapped: MappedRequest): number {
  let bytes = 0;
  for (let index = 0; index < request.vectorCount; index += 1) {
    if (wayOf(mapped, index) !== 'bus_addr') bytes += request.vectorLength[index]!;
  }
  return bytes;
}
