/**
 * A second set of costs: nanoseconds of a 3 GHz core as the literature gives them (rIOMMU, ASPLOS'15; the generic page table
 * cover letter, 2025). The same for every kernel, except where the page-table code differs.
 */
import type { DmaCostRow, DmaCostTable } from './costs.ts';

function published(value: number, mark: 'measured' | 'derived' | 'assumed', source: string): DmaCostRow {
  return { unit: 'ns', values: { '6.12': value, '6.17': value, '7.3': value }, mark, source };
}

function pageTable(legacy: number, generic: number, source: string): DmaCostRow {
  return { unit: 'ns', values: { '6.12': legacy, '6.17': legacy, '7.3': generic }, mark: 'measured', source };
}

const RIOMMU = "rIOMMU, ASPLOS'15, cycles per DMA API call";
const GENERIC_PT = 'generic page table cover letter, linux-iommu 2025';
const NO_MEASUREMENT = 'no published figure; of the size of its neighbours';

export const PUBLISHED_NANOSECONDS: DmaCostTable = {
  instructionTime: published(0.14, 'derived', 'not used: no parameter of this set counts instructions'),
  mapPhysCall: published(15, 'measured', `${RIOMMU}: "other", 44 cycles`),
  unmapPhysCall: published(15, 'measured', `${RIOMMU}: "other", 44 cycles`),
  mapSgCall: published(15, 'derived', `${RIOMMU}: "other", 44 cycles`),
  mapSgPerEntry: published(6, 'assumed', NO_MEASUREMENT),
  unmapSgCall: published(15, 'derived', `${RIOMMU}: "other", 44 cycles`),
  iovaTryAllocCall: published(10, 'assumed', NO_MEASUREMENT),
  iovaLinkCall: published(15, 'assumed', NO_MEASUREMENT),
  iovaSyncCall: published(10, 'assumed', NO_MEASUREMENT),
  iovaUnlinkCall: published(15, 'assumed', NO_MEASUREMENT),
  iovaFreeCall: published(5, 'assumed', NO_MEASUREMENT),
  iovaAllocCached: published(35, 'measured', `${RIOMMU}: IOVA alloc, 92 to 108 cycles`),
  iovaAllocRounding: published(0, 'assumed', NO_MEASUREMENT),
  iovaAllocTree: published(565, 'assumed', `${RIOMMU}: up to 3,986 cycles where the tree is crowded`),
  iovaTreeStep: published(2, 'assumed', NO_MEASUREMENT),
  iovaFreeCached: published(20, 'measured', `${RIOMMU}: IOVA free, 57 to 62 cycles`),
  iovaFreeTree: published(150, 'assumed', NO_MEASUREMENT),
  pageTableMapCall: pageTable(65, 53, `${GENERIC_PT}: map, fixed`),
  pageTableMapPerEntry: pageTable(1.8, 1.35, `${GENERIC_PT}: map, per entry`),
  pageTableUnmapCall: pageTable(69, 69, `${GENERIC_PT}: unmap, fixed`),
  pageTableUnmapPerEntry: pageTable(1.1, 0.8, `${GENERIC_PT}: unmap, per entry`),
  tablePageAllocate: published(400, 'assumed', NO_MEASUREMENT),
  cacheLineClean: published(
    100,
    'assumed',
    'no published figure for a line; unmaps on Tegra take 0.25 us an entry longer when each is cleaned by itself',
  ),
  invalidateRange: published(20, 'derived', 'building one descriptor'),
  invalidateDomain: published(20, 'derived', 'building one descriptor'),
  flushQueueEnqueue: published(60, 'measured', `${RIOMMU}: deferred unmap, 205 cycles of "other"`),
  flushQueueRelease: published(3, 'assumed', NO_MEASUREMENT),
  directMapCall: published(15, 'assumed', NO_MEASUREMENT),
  directUnmapCall: published(10, 'assumed', NO_MEASUREMENT),
  directMapSgCall: published(15, 'assumed', NO_MEASUREMENT),
  directMapSgPerEntry: published(6, 'assumed', NO_MEASUREMENT),
  directUnmapSgCall: published(10, 'assumed', NO_MEASUREMENT),
  directUnmapSgPerEntry: published(4, 'assumed', NO_MEASUREMENT),
  directTwoStepCall: published(3, 'assumed', NO_MEASUREMENT),
  coherentAllocCall: published(400, 'assumed', NO_MEASUREMENT),
  coherentFreeCall: published(100, 'assumed', NO_MEASUREMENT),
  bounceMapCall: published(50, 'assumed', NO_MEASUREMENT),
  bounceUnmapCall: published(35, 'assumed', NO_MEASUREMENT),
  bounceCopyPer64Bytes: published(6.4, 'assumed', 'a copy at 10 GB/s, from memory to memory'),
};
