/**
 * The memory of a GPU behind its base address register: real bytes, which peers read and write by bus address through the fabric and
 * the device by offset, one latency and one rate for all of them (PCI Express Base Specification 7.5.1.2.1; the device is the completer
 * of 2.2.9). The bytes lie at the CPU physical addresses of the window, so that the CPU sees the same ones.
 * Leaves out: memory that the register does not cover, caches, error correction.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { DataTiming } from '../../memory/memoryTiming.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { GpuParameters } from './gpuParameters.ts';

export class GpuMemory implements DataTiming {
  readonly firstPage: number;
  readonly pages: number;
  /** Bytes that were read and written, by peers and by the device itself. */
  bytesRead = 0;
  bytesWritten = 0;
  private readonly memory: PhysicalMemory;
  private readonly latency: number;
  private readonly perByte: number;
  private freeAt = 0;

  /** `firstPage`: CPU physical page of the window. */
  constructor(memory: PhysicalMemory, firstPage: number, pages: number, parameters: GpuParameters) {
    this.memory = memory;
    this.firstPage = firstPage;
    this.pages = pages;
    this.latency = parameters.memoryLatency;
    this.perByte = 1e12 / parameters.memoryBytesPerSecond;
  }

  get bytes(): number {
    return this.pages * PAGE_SIZE;
  }

  /** Of a CPU physical address: where in the device it lies; -1: elsewhere. */
  offsetOf(phys: number): number {
    const offset = phys - this.firstPage * PAGE_SIZE;
    return offset >= 0 && offset < this.bytes ? offset : -1;
  }

  physOf(offset: number): number {
    return this.firstPage * PAGE_SIZE + offset;
  }

  dataRead(_physPage: number, _offset: number, bytes: number, at: number): number {
    this.bytesRead += bytes;
    return this.take(bytes, at) + this.latency;
  }

  /** Later accesses see it as soon as it has its turn. */
  dataWrite(_physPage: number, _offset: number, bytes: number, at: number): number {
    this.bytesWritten += bytes;
    return this.take(bytes, at);
  }

  /** What the device itself reads: the bytes, at once; when they are there is the answer. */
  read(offset: number, target: Uint8Array, from: number, bytes: number, at: number): number {
    this.memory.readBytes(this.physOf(offset), target, from, bytes);
    return this.dataRead(0, 0, bytes, at);
  }

  write(offset: number, source: Uint8Array, from: number, bytes: number, at: number): number {
    this.memory.writeBytes(this.physOf(offset), source, from, bytes);
    return this.dataWrite(0, 0, bytes, at);
  }

  private take(bytes: number, at: number): number {
    this.freeAt = Math.ceil(Math.max(this.freeAt, at) + bytes * this.perByte);
    return this.freeAt;
  }
}
