/**
 * A mapping scheme that is timed: the virtual CPU time of all its calls of the DMA API, those that map and those that undo it.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { MappedRequest } from '../schemes/mappedRequest.ts';
import type { MappingRequest } from '../schemes/mappingRequest.ts';
import type { BlockStatus, MappingScheme, SchemeName } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';

export class MeteredScheme implements MappingScheme {
  readonly name: SchemeName;
  /** Picoseconds so far. */
  mapping = 0;
  unmapping = 0;
  private readonly scheme: MappingScheme;

  constructor(scheme: MappingScheme) {
    this.name = scheme.name;
    this.scheme = scheme;
  }

  get heldBytes(): number {
    return this.scheme.heldBytes;
  }

  registerBuffer(cpu: Cpu, pages: Float64Array, attributes?: number): BlockStatus {
    const before = cpu.now;
    const status = this.scheme.registerBuffer(cpu, pages, attributes);
    this.mapping += cpu.now - before;
    return status;
  }

  mapStart(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): BlockStatus {
    const before = cpu.now;
    const status = this.scheme.mapStart(cpu, request, mapped);
    this.mapping += cpu.now - before;
    return status;
  }

  mapNext(cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean {
    const before = cpu.now;
    const more = this.scheme.mapNext(cpu, request, mapped);
    this.mapping += cpu.now - before;
    return more;
  }

  keepVectors(mapped: MappedRequest): void {
    this.scheme.keepVectors(mapped);
  }

  unmap(cpu: Cpu, direction: DmaDirection, mapped: MappedRequest): void {
    const before = cpu.now;
    this.scheme.unmap(cpu, direction, mapped);
    this.unmapping += cpu.now - before;
  }

  release(cpu: Cpu): void {
    const before = cpu.now;
    this.scheme.release(cpu);
    this.unmapping += cpu.now - before;
  }
}
