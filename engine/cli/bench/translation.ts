/** Functional translation: IOTLB hits, and walks of four levels over real table bits, against a bare array of addresses. */
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { createDmaDevice } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { kernelProfile } from '../../dma/profiles.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { VTD_SECOND_STAGE } from '../../iommu/vtdSecondStage.ts';
import { Walker } from '../../iommu/walker.ts';
import { resolveCosts } from '../../lab/presets.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Cpu } from '../../time/cpu.ts';
import { RandomStream } from '../../time/random.ts';
import { measurePairs, type PairFigure } from './pairs.ts';

const MEMORY_BYTES = 2 ** 30;
const SOURCE_ID = 0x100;
/** Fewer than the IOTLB holds, so that every lookup hits. */
const HOT_PAGES = 64;
/** 32 MiB of 4 KiB pages: sixteen leaf tables. */
const COLD_PAGES = 8_192;
const STREAM = 1 << 20;

interface Translation {
  readonly iommu: Iommu;
  readonly walker: Walker;
  /** Bus page and physical page of each mapping. */
  readonly busPages: Float64Array;
  readonly physPages: Float64Array;
}

function mappedPages(count: number): Translation {
  const memory = new PhysicalMemory(MEMORY_BYTES);
  const frames = new FrameAllocator(memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
  const counters = new Counters();
  const costs = resolveCosts({ preset: 'default', overrides: {} }, '7.3');
  const geometry = {
    iotlb: { entries4K: 128, entries2M: 32, entries1G: 4, ways: 4 },
    pagingCache: { entries512G: 8, entries1G: 16, entries2M: 64 },
    contextCacheEntries: 16,
    walkers: 6,
  };
  const iommu = new Iommu({ name: 'iommu0', memory, frames, geometry, costs: costs.hardware, counters, log: null });
  const profile = kernelProfile('7.3');
  const shared = { memory, frames, counters, log: null };
  const dma = new DmaApi({
    ...shared,
    profile,
    costs: costs.dma,
    iommu,
    levels: 4,
    trace: null,
    timers: null,
    cpus: 1,
  });
  const device = createDmaDevice({ name: '0000:01:00.0', sourceId: SOURCE_ID });
  dma.attach(device, 'strict');
  const cpu = new Cpu(0);
  const physPages = Float64Array.from({ length: count }, () => frames.allocatePage());
  const busPages = physPages.map((page) => {
    const address = dma.dmaMapPhys(cpu, device, page * PAGE_SIZE, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    return Math.floor(address / PAGE_SIZE);
  });
  return { iommu, walker: new Walker(memory, VTD_SECOND_STAGE), busPages, physPages };
}

/** Indices into the mappings, at random: the address stream of both loops. */
function addressStream(count: number): Uint32Array {
  const random = new RandomStream(1);
  return Uint32Array.from({ length: STREAM }, () => random.below(count));
}

function bareLoop(stream: Uint32Array, physPages: Float64Array): () => number {
  return () => {
    let sum = 0;
    for (let index = 0; index < STREAM; index += 1) sum += physPages[stream[index]!]!;
    return sum;
  };
}

export function measureHits(rounds: number): PairFigure {
  const { iommu, busPages, physPages } = mappedPages(HOT_PAGES);
  const stream = addressStream(HOT_PAGES);
  const emulated = (): number => {
    let sum = 0;
    for (let index = 0; index < STREAM; index += 1) {
      if (!iommu.translateFunctional(SOURCE_ID, busPages[stream[index]!]!, false))
        throw new Error('a mapped page faulted');
      sum += iommu.physPage;
    }
    return sum;
  };
  return measureSame(rounds, bareLoop(stream, physPages), emulated);
}

export function measureWalks(rounds: number): PairFigure {
  const { iommu, walker, busPages, physPages } = mappedPages(COLD_PAGES);
  const stream = addressStream(COLD_PAGES);
  // One translation brings the context entry, which names the table.
  iommu.translateFunctional(SOURCE_ID, busPages[0]!, false);
  const { domainId, tablePage } = iommu.contextCache;
  const emulated = (): number => {
    let sum = 0;
    for (let index = 0; index < STREAM; index += 1) {
      const page = busPages[stream[index]!]!;
      if (!walker.walkFromRoot(domainId, page, false, tablePage, 4)) throw new Error('a mapped page faulted');
      sum += walker.physPage(page);
    }
    return sum;
  };
  return measureSame(rounds, bareLoop(stream, physPages), emulated);
}

/** A wrong translation must not pass for a fast one. */
function measureSame(rounds: number, bare: () => number, emulated: () => number): PairFigure {
  if (bare() !== emulated()) throw new Error('the emulator translates to other pages than were mapped');
  return measurePairs(STREAM, rounds, bare, emulated);
}
