/**
 * The DMA API itself: how many mappings a second the emulator makes and takes down, page table, IOVA allocator and
 * invalidation queue included. The bare loop writes and clears one array element for each page.
 */
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { DomainType } from '../../dma/device.ts';
import { ScatterList } from '../../dma/scatterList.ts';
import { DmaIovaState } from '../../dma/twoStep.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { Cpu } from '../../time/cpu.ts';
import { RandomStream } from '../../time/random.ts';
import { benchMachine, type BenchMachine } from './benchMachine.ts';
import { measurePairs, type PairFigure } from './pairs.ts';

/** Pages of one operation where it maps many: 128 KiB, the largest range that the IOVA cache keeps. */
export const PAGES_PER_OPERATION = 32;
const SINGLE_OPERATIONS = 1 << 18;
const MANY_OPERATIONS = 1 << 14;
/** Scattered pages that operations take in turn. */
const POOL_PAGES = 4_096;

interface MappingMachine extends BenchMachine {
  readonly cpu: Cpu;
  /** Physical addresses, no two of them adjacent. */
  readonly pool: Float64Array;
}

function mappingMachine(domain: DomainType): MappingMachine {
  const random = new RandomStream(1);
  const pool = Float64Array.from(
    { length: POOL_PAGES },
    (_, index) => (2 * index + 2 * POOL_PAGES * random.below(16)) * PAGE_SIZE,
  );
  return { ...benchMachine(domain), cpu: new Cpu(0), pool };
}

function bareLoop(operations: number, pages: number, pool: Float64Array): () => number {
  const table = new Float64Array(pages);
  return () => {
    let sum = 0;
    let next = 0;
    for (let operation = 0; operation < operations; operation += 1) {
      for (let page = 0; page < pages; page += 1) {
        table[page] = pool[next]! + 3;
        next = (next + 1) % POOL_PAGES;
      }
      for (let page = 0; page < pages; page += 1) {
        sum += table[page]!;
        table[page] = 0;
      }
    }
    return sum;
  };
}

/** `dma_map_phys` and `dma_unmap_phys` of one page. */
export function measureSinglePages(rounds: number, domain: DomainType): PairFigure {
  const { api, cpu, device, pool } = mappingMachine(domain);
  const emulated = (): number => {
    let sum = 0;
    for (let operation = 0; operation < SINGLE_OPERATIONS; operation += 1) {
      const address = api.dmaMapPhys(cpu, device, pool[operation % POOL_PAGES]!, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
      api.dmaUnmapPhys(cpu, device, address, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
      sum += address;
    }
    return sum;
  };
  return measurePairs(SINGLE_OPERATIONS, rounds, bareLoop(SINGLE_OPERATIONS, 1, pool), emulated);
}

/** `dma_map_sg` and `dma_unmap_sg` of 32 scattered pages. */
export function measureScatterLists(rounds: number): PairFigure {
  const { api, cpu, device, pool } = mappingMachine('strict');
  const list = new ScatterList(PAGES_PER_OPERATION);
  const emulated = (): number => {
    let sum = 0;
    let next = 0;
    for (let operation = 0; operation < MANY_OPERATIONS; operation += 1) {
      list.reset();
      for (let page = 0; page < PAGES_PER_OPERATION; page += 1) {
        list.add(pool[next]!, PAGE_SIZE);
        next = (next + 1) % POOL_PAGES;
      }
      sum += api.dmaMapSg(cpu, device, list, DMA_BIDIRECTIONAL, 0);
      api.dmaUnmapSg(cpu, device, list, DMA_BIDIRECTIONAL, 0);
    }
    return sum;
  };
  const bare = bareLoop(MANY_OPERATIONS, PAGES_PER_OPERATION, pool);
  return measurePairs(MANY_OPERATIONS, rounds, bare, emulated);
}

/** `dma_iova_try_alloc`, 32 scattered pages by `dma_iova_link` with so many pages a link, sync and destroy. */
export function measureTwoStep(rounds: number, pagesPerLink: number): PairFigure {
  const { api, cpu, device, pool } = mappingMachine('strict');
  const state = new DmaIovaState();
  const bytes = PAGES_PER_OPERATION * PAGE_SIZE;
  const linkBytes = pagesPerLink * PAGE_SIZE;
  const emulated = (): number => {
    let failed = 0;
    let next = 0;
    for (let operation = 0; operation < MANY_OPERATIONS; operation += 1) {
      if (!api.dmaIovaTryAlloc(cpu, device, state, 0, bytes)) failed += 1;
      for (let offset = 0; offset < bytes; offset += linkBytes) {
        failed += api.dmaIovaLink(cpu, device, state, pool[next]!, offset, linkBytes, DMA_BIDIRECTIONAL, 0);
        next = (next + 1) % POOL_PAGES;
      }
      failed += api.dmaIovaSync(cpu, device, state, 0, bytes);
      api.dmaIovaDestroy(cpu, device, state, bytes, DMA_BIDIRECTIONAL, 0);
    }
    if (failed !== 0) throw new Error('a link of the bench failed');
    return failed;
  };
  const bare = bareLoop(MANY_OPERATIONS, PAGES_PER_OPERATION, pool);
  return measurePairs(MANY_OPERATIONS, rounds, bare, emulated);
}
