/**
 * What each socket of a lab brings to its machine: CPUs, a node of memory, and the IOMMU that serves its root ports. The bytes of all
 * nodes are one memory: the pages of a node follow those of the node before, and each has an allocator of its own, so that tables,
 * queues and buffers lie on the node of their socket, as Linux allocates them. Where there are several nodes, caches, or walkers that
 * do not look into them, a memory system says what each access takes; else every access takes the same.
 */
import { DeviceDomains } from '../dma/attachDomain.ts';
import { Iommu, type IommuOptions } from '../iommu/iommu.ts';
import { CachedTables } from '../iommu/tables/cachedTables.ts';
import type { TableWrites } from '../iommu/tables/tableWrites.ts';
import { WriteBackTables } from '../iommu/tables/writeBackTables.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { CpuMemory } from '../memory/cpuMemory.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { LastLevelCache } from '../memory/lastLevelCache.ts';
import { MemorySystem } from '../memory/memorySystem.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { Cpu } from '../time/cpu.ts';
import type { PlacedSocket } from './enumeration.ts';
import type { HardwareCosts } from './presets.ts';
import type { Part, PartOf } from './schema.ts';

const PAGES_PER_GIB = 2 ** 30 / PAGE_SIZE;
const MIB = 2 ** 20;

export interface Host {
  readonly placed: PlacedSocket;
  /** Number of the socket and of its node. */
  readonly node: number;
  readonly memoryPart: PartOf<'memory'>;
  readonly frames: FrameAllocator;
  /** Memory as its CPUs write it. */
  readonly cpuMemory: PhysicalMemory;
  readonly cpus: readonly Cpu[];
  readonly iommuPart: PartOf<'iommu'> | null;
  readonly iommu: Iommu | null;
  /** The tables of devices behind its IOMMU. */
  readonly domains: DeviceDomains | null;
}

export interface Hosts {
  readonly memory: PhysicalMemory;
  /** Null: every access takes the same. */
  readonly memorySystem: MemorySystem | null;
  readonly hosts: readonly Host[];
}

/** `peersEnd`: one past the last address of peers' memory, whose bytes lie behind the nodes'. */
export function buildHosts(
  parts: readonly Part[],
  sockets: readonly PlacedSocket[],
  costs: HardwareCosts,
  metrics: Metrics,
  peersEnd = 0,
): Hosts {
  const nodes = sockets.map(({ part }) => childOf(parts, part.id, 'memory')!);
  const pages = nodes.reduce((sum, { sizeGiB }) => sum + sizeGiB * PAGES_PER_GIB, 0);
  const memory = new PhysicalMemory(Math.max(pages * PAGE_SIZE, peersEnd));
  const memorySystem = buildMemorySystem(parts, sockets, nodes, costs, metrics);
  let firstPage = 0;
  let firstCpu = 0;
  const hosts = sockets.map((placed, node): Host => {
    const memoryPart = nodes[node]!;
    const endPage = firstPage + memoryPart.sizeGiB * PAGES_PER_GIB;
    // Page 0 stays free: an address of 0 is a mistake, here as in a kernel.
    const lowest = Math.max(1, firstPage);
    const frames = new FrameAllocator(memory, lowest, endPage - lowest, memoryPart.id);
    firstPage = endPage;
    const lowestCpu = firstCpu;
    const cpus = Array.from({ length: placed.part.cpus }, (_, index) => new Cpu(lowestCpu + index));
    firstCpu += cpus.length;
    const iommuPart = childOf(parts, placed.part.id, 'iommu') ?? null;
    const tables = iommuPart === null ? null : tableWrites(iommuPart, placed, memory, memorySystem, node);
    const timing = memorySystem?.seenFrom(node, iommuPart?.coherent ?? true) ?? null;
    const own = { memory, frames, tableWrites: tables, ...(timing === null ? {} : { tableReadTiming: timing }) };
    const iommu = iommuPart === null ? null : buildIommu(iommuPart, costs, own, metrics);
    const cached = memorySystem !== null && placed.part.lastLevelCache !== undefined;
    const cpuMemory = cached ? new CpuMemory(memory, memorySystem, node) : memory;
    const domains =
      iommu === null ? null : new DeviceDomains(memory, frames, iommu, iommuPart?.levels, iommuPart?.superpages);
    return { placed, node, memoryPart, frames, cpuMemory, cpus, iommuPart, iommu, domains };
  });
  return { memory, memorySystem, hosts };
}

function buildMemorySystem(
  parts: readonly Part[],
  sockets: readonly PlacedSocket[],
  memories: readonly PartOf<'memory'>[],
  costs: HardwareCosts,
  { counters }: Metrics,
): MemorySystem | null {
  const cached = sockets.some(({ part }) => part.lastLevelCache !== undefined);
  const pastCaches = parts.some((part) => part.kind === 'iommu' && part.coherent === false);
  if (sockets.length === 1 && !cached && !pastCaches) return null;
  const nodes = sockets.map(({ part: { lastLevelCache: size } }, node) => ({
    pages: memories[node]!.sizeGiB * PAGES_PER_GIB,
    cache:
      size === undefined
        ? null
        : new LastLevelCache({ bytes: size.sizeMiB * MIB, ways: size.ways, deviceWays: size.deviceWays }),
  }));
  return new MemorySystem(nodes, costs, counters);
}

function tableWrites(
  part: PartOf<'iommu'>,
  socket: PlacedSocket,
  memory: PhysicalMemory,
  system: MemorySystem | null,
  node: number,
): TableWrites | null {
  if (part.coherent === false) return new WriteBackTables(memory);
  return system === null || socket.part.lastLevelCache === undefined ? null : new CachedTables(memory, system, node);
}

function buildIommu(
  part: PartOf<'iommu'>,
  costs: HardwareCosts,
  own: Pick<IommuOptions, 'memory' | 'frames' | 'tableWrites' | 'tableReadTiming'>,
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
  const { id, vendor = 'vtd', cachingMode = false, scalableMode = false, rangeInvalidation = false } = part;
  const kind = { vendor, cachingMode, scalableMode, rangeInvalidation };
  return new Iommu({ ...own, ...kind, name: id, geometry, costs, counters, log });
}

function childOf<Kind extends 'memory' | 'iommu'>(
  parts: readonly Part[],
  socketId: string,
  kind: Kind,
): PartOf<Kind> | undefined {
  return parts.find((part): part is PartOf<Kind> => part.kind === kind && 'parent' in part && part.parent === socketId);
}
