/**
 * What each socket of a lab brings to its machine: CPUs, a node of memory, and the IOMMU that serves its root ports. The bytes of all
 * nodes are one memory: the pages of a node follow those of the node before, and each has an allocator of its own, so that tables,
 * queues and buffers lie on the node of their socket, as Linux allocates them.
 */
import { DeviceDomains } from '../dma/attachDomain.ts';
import { Iommu } from '../iommu/iommu.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { Cpu } from '../time/cpu.ts';
import type { PlacedSocket } from './enumeration.ts';
import type { HardwareCosts } from './presets.ts';
import type { Part, PartOf } from './schema.ts';

const PAGES_PER_GIB = 2 ** 30 / PAGE_SIZE;

export interface Host {
  readonly placed: PlacedSocket;
  /** Number of the socket and of its node. */
  readonly node: number;
  readonly memoryPart: PartOf<'memory'>;
  readonly frames: FrameAllocator;
  readonly cpus: readonly Cpu[];
  readonly iommuPart: PartOf<'iommu'> | null;
  readonly iommu: Iommu | null;
  /** The tables of devices behind its IOMMU. */
  readonly domains: DeviceDomains | null;
}

export interface Hosts {
  readonly memory: PhysicalMemory;
  readonly hosts: readonly Host[];
}

export function buildHosts(
  parts: readonly Part[],
  sockets: readonly PlacedSocket[],
  costs: HardwareCosts,
  metrics: Metrics,
): Hosts {
  const nodes = sockets.map(({ part }) => childOf(parts, part.id, 'memory')!);
  const pages = nodes.reduce((sum, { sizeGiB }) => sum + sizeGiB * PAGES_PER_GIB, 0);
  const memory = new PhysicalMemory(pages * PAGE_SIZE);
  let firstPage = 0;
  let firstCpu = 0;
  const hosts = sockets.map((placed, node): Host => {
    const memoryPart = nodes[node]!;
    const endPage = firstPage + memoryPart.sizeGiB * PAGES_PER_GIB;
    // Page 0 stays free: an address of 0 is a mistake, here as in a kernel.
    const lowest = Math.max(1, firstPage);
    const frames = new FrameAllocator(memory, lowest, endPage - lowest);
    firstPage = endPage;
    const lowestCpu = firstCpu;
    const cpus = Array.from({ length: placed.part.cpus }, (_, index) => new Cpu(lowestCpu + index));
    firstCpu += cpus.length;
    const iommuPart = childOf(parts, placed.part.id, 'iommu') ?? null;
    const iommu = iommuPart === null ? null : buildIommu(iommuPart, costs, memory, frames, metrics);
    const domains = iommu === null ? null : new DeviceDomains(memory, frames, iommu, iommuPart?.levels);
    return { placed, node, memoryPart, frames, cpus, iommuPart, iommu, domains };
  });
  return { memory, hosts };
}

function buildIommu(
  part: PartOf<'iommu'>,
  costs: HardwareCosts,
  memory: PhysicalMemory,
  frames: FrameAllocator,
  { counters, log }: Metrics,
): Iommu {
  const geometry = {
    iotlb: {
      entries4K: part.iotlbEntries4K - (part.iotlbReserved ?? 0),
      entries2M: part.iotlbEntries2M,
      entries1G: part.iotlbEntries1G,
      ways: part.iotlbWays,
      replacement: part.iotlbReplacement ?? 'lru',
      hashed: part.iotlbHashed ?? false,
      unified: part.iotlbUnified ?? false,
    },
    pagingCache: {
      entries512G: part.pagingCache512G,
      entries1G: part.pagingCache1G,
      entries2M: part.pagingCache2M,
      ...(part.pagingCacheWays === undefined ? {} : { ways: part.pagingCacheWays }),
    },
    contextCacheEntries: part.contextCacheEntries,
    walkers: part.walkers,
  };
  const { id, vendor = 'vtd', cachingMode = false, scalableMode = false } = part;
  return new Iommu({ name: id, memory, frames, geometry, costs, counters, log, vendor, cachingMode, scalableMode });
}

function childOf<Kind extends 'memory' | 'iommu'>(
  parts: readonly Part[],
  socketId: string,
  kind: Kind,
): PartOf<Kind> | undefined {
  return parts.find((part): part is PartOf<Kind> => part.kind === kind && 'parent' in part && part.parent === socketId);
}
