/**
 * Functional translation through two stages, over real table bits: a guest's first-stage tables of four levels, whose addresses four
 * levels of second-stage tables translate, so that a walk reads 24 entries.
 */
import { VTD_FIRST_STAGE } from '../../iommu/formats/vtdFirstStage.ts';
import { READ_WRITE } from '../../iommu/formats/pageTableFormat.ts';
import { VTD_SECOND_STAGE } from '../../iommu/formats/vtdSecondStage.ts';
import { GenericPageTable } from '../../iommu/tables/tableOperationsGeneric.ts';
import { NestedWalker } from '../../iommu/walk/nestedWalker.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { RandomStream } from '../../time/random.ts';
import { measurePairs, type PairFigure } from './pairs.ts';

const MEMORY_BYTES = 2 ** 30;
const LEVELS = 4;
const PAGES = 2_048;
const STREAM = 1 << 18;
const NOBODY = {
  tablesReplaced: () => undefined,
  rangeUnmapped: () => undefined,
  alreadyMapped: () => undefined,
  topChanged: () => undefined,
};

export function measureTwoStage(rounds: number): PairFigure {
  const memory = new PhysicalMemory(MEMORY_BYTES);
  const frames = new FrameAllocator(memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
  const counters = new Counters();
  const first = new GenericPageTable(memory, frames, VTD_FIRST_STAGE, LEVELS, counters, NOBODY);
  const physPages = Float64Array.from({ length: PAGES }, () => frames.allocatePage());
  for (let page = 0; page < PAGES; page += 1) first.map(page, physPages[page]!, 1, READ_WRITE);
  const second = new GenericPageTable(memory, frames, VTD_SECOND_STAGE, LEVELS, counters, NOBODY);
  // the guest's physical memory is the machine's, page by page, so that no leaf saves a level
  const used = MEMORY_BYTES / PAGE_SIZE;
  for (let page = 1; page < used; page += 1) second.map(page, page, 1, READ_WRITE);
  const walker = new NestedWalker(memory, VTD_FIRST_STAGE, VTD_SECOND_STAGE);
  const random = new RandomStream(1);
  const stream = Uint32Array.from({ length: STREAM }, () => random.below(PAGES));
  const bare = (): number => {
    let sum = 0;
    for (let index = 0; index < STREAM; index += 1) sum += physPages[stream[index]!]!;
    return sum;
  };
  const emulated = (): number => {
    let sum = 0;
    for (let index = 0; index < STREAM; index += 1) {
      const page = stream[index]!;
      if (!walker.walkBothStages(1, page, false, first.rootPage, LEVELS, second.rootPage, LEVELS)) {
        throw new Error('a mapped page faulted');
      }
      sum += walker.physPage(page);
    }
    return sum;
  };
  if (bare() !== emulated()) throw new Error('two stages translate to other pages than were mapped');
  return measurePairs(STREAM, rounds, bare, emulated);
}
