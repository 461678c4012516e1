/** Functional translation: IOTLB hits, and walks of four levels over real table bits, against a bare array of addresses. */
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { Iommu } from '../../iommu/iommu.ts';
import { VTD_SECOND_STAGE } from '../../iommu/formats/vtdSecondStage.ts';
import { Walker } from '../../iommu/walk/walker.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { Cpu } from '../../time/cpu.ts';
import { RandomStream } from '../../time/random.ts';
import { benchMachine } from './benchMachine.ts';
import { measurePairs, type PairFigure } from './pairs.ts';

/** Fewer than the IOTLB holds, so that every lookup hits. */
const HOT_PAGES = 64;
/** 32 MiB of 4 KiB pages: sixteen leaf tables. */
const COLD_PAGES = 8_192;
const STREAM = 1 << 20;

interface Translation {
  readonly iommu: Iommu;
  readonly sourceId: number;
  readonly walker: Walker;
  /** Bus page and physical page of each mapping. */
  readonly busPages: Float64Array;
  readonly physPages: Float64Array;
}

function mappedPages(count: number): Translation {
  const { memory, frames, iommu, api, device } = benchMachine('strict');
  const cpu = new Cpu(0);
  const physPages = Float64Array.from({ length: count }, () => frames.allocatePage());
  const busPages = physPages.map((page) => {
    const address = api.dmaMapPhys(cpu, device, page * PAGE_SIZE, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    return Math.floor(address / PAGE_SIZE);
  });
  return { iommu, sourceId: device.sourceId, walker: new Walker(memory, VTD_SECOND_STAGE), busPages, physPages };
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
  const { iommu, sourceId, busPages, physPages } = mappedPages(HOT_PAGES);
  const stream = addressStream(HOT_PAGES);
  const emulated = (): number => {
    let sum = 0;
    for (let index = 0; index < STREAM; index += 1) {
      if (!iommu.translateFunctional(sourceId, busPages[stream[index]!]!, false))
        throw new Error('a mapped page faulted');
      sum += iommu.physPage;
    }
    return sum;
  };
  return measureSame(rounds, bareLoop(stream, physPages), emulated);
}

export function measureWalks(rounds: number): PairFigure {
  const { iommu, sourceId, walker, busPages, physPages } = mappedPages(COLD_PAGES);
  const stream = addressStream(COLD_PAGES);
  // One translation brings the context entry, which names the table.
  iommu.translateFunctional(sourceId, busPages[0]!, false);
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
