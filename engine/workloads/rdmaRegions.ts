/**
 * The memory regions of a workload, registered and deregistered under a mapping scheme, and what each costs. Where the scheme refuses a
 * mixture, and the workload allows it, a region becomes several: one for each run of memory of one provider.
 */
import type { MemoryRegion, MemoryRegions } from '../drivers/rdma/memoryRegions.ts';
import { isRefusal, type RegionRefusal } from '../drivers/rdma/umem.ts';
import type { RequestMetrics } from '../drivers/requestMetrics.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import type { Counters } from '../metrics/counters.ts';
import type { MappingScheme } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { MeteredScheme } from './rdmaMeteredScheme.ts';

export interface RdmaRegionsOptions {
  readonly regions: MemoryRegions;
  readonly mm: AddressSpace;
  /** A scheme for one region. */
  readonly scheme: () => MappingScheme;
  /** `IB_ACCESS_*`. */
  readonly access: number;
  /** The buffers hold peers' memory. */
  readonly peersPages: boolean;
  readonly split: boolean;
  readonly metrics: RequestMetrics;
  readonly counters: Counters;
}

/** One memory region, or several that together are as long. */
export interface RegisteredBuffer {
  readonly parts: readonly MemoryRegion[];
  /** Of the schemes of the parts. */
  readonly meters: readonly MeteredScheme[];
  /** What was held beyond pages and tables when it was registered. */
  readonly bookkeepingBytes: number;
}

export class RdmaRegions {
  private readonly options: RdmaRegionsOptions;
  /** The scheme has refused the mixture once. */
  private splits = false;

  constructor(options: RdmaRegionsOptions) {
    this.options = options;
  }

  /** Byte address and length of the process's memory. */
  register(cpu: Cpu, address: number, length: number): RegisteredBuffer | RegionRefusal {
    const { counters, metrics, regions } = this.options;
    const meters: MeteredScheme[] = [];
    const parts = this.partsOf(cpu, address, length, meters);
    if (isRefusal(parts)) {
      counters.add('regionsRefused', 1);
      return parts;
    }
    let bookkeepingBytes = 0;
    for (const part of parts) {
      bookkeepingBytes += regions.bytesOf(part).driver;
      counters.add('pagesPinned', part.umem.pageCount);
      counters.add('tableEntries', part.tableEntries);
    }
    counters.add('regionsRegistered', parts.length);
    const mapping = meters.reduce((sum, { mapping: spent }) => sum + spent, 0);
    metrics.recordMapLatency(cpu.now, picoseconds(mapping));
    metrics.addBookkeeping(cpu.now, bookkeepingBytes);
    return { parts, meters, bookkeepingBytes };
  }

  deregister(cpu: Cpu, { parts, meters, bookkeepingBytes }: RegisteredBuffer): void {
    const { metrics, regions } = this.options;
    for (const part of parts) regions.deregister(cpu, part);
    const unmapping = meters.reduce((sum, { unmapping: spent }) => sum + spent, 0);
    metrics.recordUnmapLatency(cpu.now, picoseconds(unmapping));
    metrics.addBookkeeping(cpu.now, -bookkeepingBytes);
  }

  private partsOf(
    cpu: Cpu,
    address: number,
    length: number,
    meters: MeteredScheme[],
  ): readonly MemoryRegion[] | RegionRefusal {
    const { regions, mm, access, peersPages, split } = this.options;
    const scheme = (): MeteredScheme => {
      const meter = new MeteredScheme(this.options.scheme());
      meters.push(meter);
      return meter;
    };
    const request = { mm, address, length, access, peersPages };
    if (!this.splits) {
      const whole = regions.register(cpu, { ...request, scheme: scheme() });
      if (!isRefusal(whole)) return [whole];
      if (!split) return whole;
      meters.length = 0;
    }
    const parts = regions.registerPerProvider(cpu, { ...request, scheme: this.options.scheme() }, scheme);
    if (!isRefusal(parts)) this.splits = true;
    return parts;
  }
}
