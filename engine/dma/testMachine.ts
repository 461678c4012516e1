/**
 * A small machine for the tests of this folder: memory, an IOMMU that costs nothing, CPUs, one device, and a list of
 * the events that its calls emitted.
 */
import { FREE_IOMMU_COSTS } from '../iommu/freeCosts.ts';
import type { IommuVendor } from '../iommu/architectures.ts';
import { Iommu } from '../iommu/iommu.ts';
import { WriteBackTables } from '../iommu/tables/writeBackTables.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import { Counters } from '../metrics/counters.ts';
import { EventLog } from '../metrics/eventLog.ts';
import type { P2pdmaTopology } from '../pcie/p2pdma.ts';
import { Cpu } from '../time/cpu.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { dmaCostParameters, resolveDmaCosts } from './kernels/costs.ts';
import { createDmaDevice, type DmaDevice, type DomainType } from './device.ts';
import { DmaApi } from './dmaApi.ts';
import type { MemoryEncryption } from './memoryEncryption.ts';
import { kernelProfile, type KernelProfile, type KernelProfileName } from './kernels/profiles.ts';
import { Swiotlb } from './swiotlb/swiotlb.ts';
import type { DmaTraceEvent } from './trace.ts';

const MEMORY_BYTES = 2 ** 33;
/** Where the bounce buffers lie. */
export const BOUNCE_POOL = 0x2000_0000;

export interface TestMachineOptions {
  readonly profile?: KernelProfileName;
  readonly behaviour?: Partial<KernelProfile>;
  readonly domain?: DomainType;
  readonly cpus?: number;
  readonly device?: Partial<DmaDevice>;
  readonly timers?: EventQueue;
  /** Without a trace no event is built: for measurements. */
  readonly traced?: boolean;
  readonly iommu?: boolean;
  readonly vendor?: IommuVendor;
  /** VT-d's scalable mode: first-stage tables. */
  readonly scalableMode?: boolean;
  /** Of tables that do not grow. */
  readonly levels?: number;
  /** Of an SMMU: one command invalidates a range. */
  readonly rangeInvalidation?: boolean;
  /** The IOMMU caches what is not present, so a map must flush. */
  readonly cachingMode?: boolean;
  /** False: walkers do not look into CPU caches, and the kernel cleans what it writes. */
  readonly coherent?: boolean;
  readonly maximumAddressMask?: number;
  readonly encryption?: MemoryEncryption;
  /** Bounce buffers of so many slots, at BOUNCE_POOL. */
  readonly swiotlbSlots?: number;
  readonly swiotlbAreas?: number;
  /** `swiotlb=force`. */
  readonly swiotlbForce?: boolean;
  readonly pageKinds?: PageKinds;
  readonly p2pdma?: P2pdmaTopology;
}

export class TestMachine {
  readonly memory = new PhysicalMemory(MEMORY_BYTES);
  readonly frames = new FrameAllocator(this.memory, 2 ** 20, 2 ** 20);
  readonly counters = new Counters();
  readonly log = new EventLog();
  readonly events: DmaTraceEvent[] = [];
  readonly iommu: Iommu;
  readonly cpus: readonly Cpu[];
  readonly device: DmaDevice;
  readonly api: DmaApi;
  readonly swiotlb: Swiotlb | null;

  constructor(options: TestMachineOptions = {}) {
    const { memory, frames, counters, log, events } = this;
    const profile = options.profile ?? '7.3';
    this.iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      counters,
      log,
      vendor: options.vendor ?? 'vtd',
      scalableMode: options.scalableMode ?? false,
      rangeInvalidation: options.rangeInvalidation ?? false,
      cachingMode: options.cachingMode ?? false,
      tableWrites: options.coherent === false ? new WriteBackTables(memory) : null,
      geometry: {
        iotlb: { entries4K: 64, entries2M: 16, entries1G: 4, ways: 4 },
        pagingCache: { entries512G: 4, entries1G: 4, entries2M: 16 },
        contextCacheEntries: 4,
        walkers: 1,
      },
      costs: FREE_IOMMU_COSTS,
    });
    this.cpus = Array.from({ length: options.cpus ?? 1 }, (_, id) => new Cpu(id));
    this.device = createDmaDevice({ name: '0000:00:03.0', sourceId: 0x18, ...options.device });
    const costs = resolveDmaCosts(dmaCostParameters('recorded-instructions', profile));
    const trace = options.traced === false ? null : { emit: (event: DmaTraceEvent) => events.push(event) };
    const slots = options.swiotlbSlots ?? 0;
    const force = options.swiotlbForce ?? false;
    const firstPage = BOUNCE_POOL / PAGE_SIZE;
    const areas = options.swiotlbAreas ?? 1;
    const pool = { memory, firstPage, slots, areas, force, costs, counters, trace, log };
    this.swiotlb = slots === 0 ? null : new Swiotlb(pool);
    this.api = new DmaApi({
      profile: { ...kernelProfile(profile), ...options.behaviour },
      costs,
      memory,
      frames,
      iommu: options.iommu === false ? null : this.iommu,
      counters,
      trace,
      timers: options.timers ?? null,
      cpus: this.cpus.length,
      log,
      cachingMode: options.cachingMode ?? false,
      ...(options.levels === undefined ? {} : { levels: options.levels }),
      ...(options.maximumAddressMask === undefined ? {} : { maximumAddressMask: options.maximumAddressMask }),
      swiotlb: this.swiotlb,
      pageKinds: options.pageKinds ?? null,
      p2pdma: options.p2pdma ?? null,
      encryption: options.encryption ?? null,
    });
    this.api.attach(this.device, options.domain ?? 'strict');
  }

  get cpu(): Cpu {
    return this.cpus[0]!;
  }

  /** The events since the last call, each as one short line. */
  takeEvents(): string[] {
    return this.events.splice(0).map(describeEvent);
  }

  /** Fills memory with one value. */
  fill(phys: number, size: number, value: number): void {
    this.memory.writeBytes(phys, new Uint8Array(size).fill(value), 0, size);
  }

  /** The bytes of memory. */
  bytes(phys: number, size: number): Uint8Array {
    const found = new Uint8Array(size);
    this.memory.readBytes(phys, found, 0, size);
    return found;
  }

  /** What a device finds behind a bus address, past all caches: a page, or null for a fault. */
  deviceSees(address: number, write = false): number | null {
    const found = this.iommu.translateFunctional(this.device.sourceId, Math.floor(address / 4096), write);
    return found ? this.iommu.physPage : null;
  }
}

/** An event as the recordings write it: name and numbers. */
function describeEvent(event: DmaTraceEvent): string {
  const hex = (value: number): string => (value < 0 ? '~0' : value.toString(16));
  switch (event.event) {
    case 'alloc_fast': {
      const slow = event.slow > 0 ? ` slow ${event.slow} of ${event.roundedPages}` : '';
      const flush = event.flushRcache ? ' flush' : '';
      return `alloc ${event.pages} below ${hex(event.limitPfn)}${flush} -> ${hex(event.pfn)}${slow}`;
    }
    case 'free_fast':
      return `free ${hex(event.pfn)} ${event.pages}`;
    case 'map':
      return `map ${hex(event.iova)} ${hex(event.phys)} ${event.size}`;
    case 'unmap':
      return `unmap ${hex(event.iova)} ${event.size} ${event.unmapped}`;
    case 'cache_tag_flush_range':
      return `flush ${hex(event.start)}-${hex(event.end)} ${hex(event.address)} mask ${event.mask}`;
    case 'cache_tag_flush_range_np':
      return `flush_np ${hex(event.start)}-${hex(event.end)} ${hex(event.address)} mask ${event.mask}`;
    case 'qi_submit':
      return `qi ${event.granularity} ${hex(event.address)} ${event.mask}${event.hint ? ' hint' : ''}`;
    case 'swiotlb_bounced':
      return `bounce ${hex(event.address)} ${event.size}`;
    case 'call':
      return `${event.name} = ${hex(event.result)}`;
  }
}
