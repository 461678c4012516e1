/**
 * How a workload's buffers become known to its adapter: pinned and mapped as a whole (rdmaRegions.ts), or page by page on demand
 * (odpRegions.ts).
 */
import type { RegionRefusal } from '../drivers/rdma/umem.ts';
import type { Cpu } from '../time/cpu.ts';

/** A stretch of the process's addresses, in bytes, that one key of the adapter covers. */
export interface RegisteredPart {
  readonly address: number;
  readonly length: number;
  /** As a work request of the far host names it. */
  readonly key: number;
}

export interface RegisteredBuffer {
  /** Together as long as the buffer. */
  readonly parts: readonly RegisteredPart[];
}

export interface Registrar<Buffer extends RegisteredBuffer = RegisteredBuffer> {
  /** Why a page of a registered buffer was refused later, for people; empty: none was. */
  readonly refusal: string;
  /** Byte address and length of the process's memory; refused, nothing is held. */
  register(cpu: Cpu, address: number, length: number): Buffer | RegionRefusal;
  deregister(cpu: Cpu, buffer: Buffer): void;
  /** Everything that is held beside the buffers goes; all of them are deregistered. */
  release(cpu: Cpu): void;
}
