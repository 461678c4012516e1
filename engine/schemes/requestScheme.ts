/**
 * What schemes have in common that map each request by itself and hold nothing between requests: the shortcut for a single segment, and
 * vectors mapped one by one where that is all that is left (single.ts, vectors.ts). A subclass says how it begins, and undoes what is
 * its own.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import type { BlockStatus, MappingScheme, SchemeName } from './scheme.ts';
import { mapSingle, unmapSingle } from './single.ts';
import { keepVectorsOf, mapNextVector, unmapVectors } from './vectors.ts';

export abstract class RequestScheme implements MappingScheme {
  abstract readonly name: SchemeName;
  readonly heldBytes = 0;
  protected readonly dma: DmaApi;
  protected readonly device: DmaDevice;

  constructor(dma: DmaApi, device: DmaDevice) {
    this.dma = dma;
    this.device = device;
  }

  registerBuffer(): BlockStatus {
    return 'ok';
  }

  release(): void {
    // each request gave back what it had
  }

  mapStart(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    mapped.reset();
    mapped.attributes = request.attributes;
    // the shortcut of the drivers is for memory that needs no question
    if (request.singleSegment && !this.isPeers(request.vectorPhys[0]!))
      return mapSingle(this.dma, this.device, cpu, request, mapped);
    return this.mapSeveral(cpu, request, mapped);
  }

  mapNext(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean {
    return mapNextVector(this.dma, this.device, cpu, request, mapped);
  }

  keepVectors(mapped: MappedRequest): void {
    keepVectorsOf(this.dma, this.device, mapped);
  }

  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    const { dma, device } = this;
    if (mapped.mappedBy === 'single') unmapSingle(dma, device, cpu, direction, mapped);
    else if (mapped.mappedBy === 'vectors') unmapVectors(dma, device, cpu, direction, mapped);
    else if (mapped.mappedBy !== 'nothing') this.unmapOwn(cpu, direction, mapped);
    mapped.mappedBy = 'nothing';
  }

  /** See MappingScheme.mapStart; more than one segment. */
  protected abstract mapSeveral(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus;

  /** Undoes what is neither a single segment nor vectors. */
  protected abstract unmapOwn(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void;

  private isPeers(phys: number): boolean {
    return this.dma.pageKinds !== null && this.dma.p2pdmaProviderOf(Math.floor(phys / PAGE_SIZE)) !== null;
  }

  protected mapVectors(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    mapped.mappedBy = 'vectors';
    return this.mapNext(cpu, request, mapped) ? 'ok' : mapped.status;
  }
}
