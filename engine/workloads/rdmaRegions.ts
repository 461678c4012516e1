/**
 * The memory regions of a workload, registered and deregistered under a mapping scheme, and what each costs. Where the scheme refuses a
 * mixture, and the workload allows it, a region becomes several: one for each run of memory of one provider.
 */
import type { MemoryRegion, MemoryRegions } from '../drivers/rdma/memoryRegions.ts';
import { isRefusal, type RegionRefusal } from '../drivers/rdma/umem.ts';
import type { MrCache } from '../drivers/rdma/mrCache.ts';
import type { RequestMetrics } from '../drivers/requestMetrics.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import type { Counters } from '../metrics/counters.ts';
import type { MappingScheme } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { MeteredScheme } from './rdmaMeteredScheme.ts';
import type { RegisteredBuffer, Registrar } from './registrar.ts';

export interface RdmaRegionsOptions {
  readonly regions: MemoryRegions;
  /** Kept keys go when the workload ends, and the adapter's queues after them. */
  readonly cache: Pick<MrCache, 'clear'>;
  readonly adapter: { release(cpu: Cpu): void };
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
interface PinnedBuffer extends RegisteredBuffer {
  readonly regions: readonly MemoryRegion[];
  /** Of the schemes of the parts. */
  readonly meters: readonly MeteredScheme[];
  /** What was held beyond pages and tables when it was registered. */
  readonly bookkeepingBytes: number;
}

export class RdmaRegions implements Registrar<PinnedBuffer> {
  /** What is pinned is mapped as a whole, or not at all. */
  readonly refusal = '';
  private readonly options: RdmaRegionsOptions;
  /** The scheme has refused the mixture once. */
  private splits = false;

  constructor(options: RdmaRegionsOptions) {
    this.options = options;
  }

  /** Byte address and length of the process's memory. */
  register(cpu: Cpu, address: number, length: number): PinnedBuffer | RegionRefusal {
    const { counters, metrics, regions } = this.options;
    const meters: MeteredScheme[] = [];
    const made = this.make(cpu, address, length, meters);
    if (isRefusal(made)) {
      counters.add('regionsRefused', 1);
      return made;
    }
    let bookkeepingBytes = 0;
    for (const region of made) {
      bookkeepingBytes += regions.bytesOf(region).driver;
      counters.add('pagesPinned', region.umem.pageCount);
      counters.add('tableEntries', region.tableEntries);
    }
    counters.add('regionsRegistered', made.length);
    const mapping = meters.reduce((sum, { mapping: spent }) => sum + spent, 0);
    metrics.recordMapLatency(cpu.now, picoseconds(mapping));
    metrics.addBookkeeping(cpu.now, bookkeepingBytes);
    const parts = made.map(({ context: { iova, length: bytes }, key: { key } }) => ({
      address: iova,
      length: bytes,
      key,
    }));
    return { parts, regions: made, meters, bookkeepingBytes };
  }

  deregister(cpu: Cpu, { regions: made, meters, bookkeepingBytes }: PinnedBuffer): void {
    const { metrics, regions } = this.options;
    for (const region of made) regions.deregister(cpu, region);
    const unmapping = meters.reduce((sum, { unmapping: spent }) => sum + spent, 0);
    metrics.recordUnmapLatency(cpu.now, picoseconds(unmapping));
    metrics.addBookkeeping(cpu.now, -bookkeepingBytes);
  }

  release(cpu: Cpu): void {
    const { cache, adapter } = this.options;
    cache.clear(cpu);
    adapter.release(cpu);
  }

  private make(
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
