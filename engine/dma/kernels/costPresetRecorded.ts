/**
 * The default costs: instructions that real kernels executed per call, taken apart into the steps of the call. The kernels ran
 * with one instruction per tick, so the counts are exact and hold no cache misses; a cell is the minimum of 300 runs.
 * How they were taken apart: n calls give the cost per call; scattered against contiguous lists give the cost of a run
 * against that of an entry; 64 pages against 32 give the tree against the cache; strict against lazy give invalidation
 * against queueing. What two steps share was split where a published figure tells (page-table cost per entry, DMA API cost
 * table of the literature) and is marked derived. A kernel between two recorded ones takes its parts from both.
 */
import type { DmaCostRow, DmaCostTable } from './costs.ts';

function recorded(v612: number, v617: number, v73: number, source: string): DmaCostRow {
  return {
    unit: 'instructions',
    values: { '6.12': v612, '6.17': v617, '7.3': v73 },
    mark: 'measured',
    derivedIn: ['6.17'],
    source,
  };
}

function derived(v612: number, v617: number, v73: number, source: string): DmaCostRow {
  return { unit: 'instructions', values: { '6.12': v612, '6.17': v617, '7.3': v73 }, mark: 'derived', source };
}

function assumed(unit: 'instructions' | 'ns', value: number, source: string): DmaCostRow {
  return { unit, values: { '6.12': value, '6.17': value, '7.3': value }, mark: 'assumed', source };
}

const TABLE = 'executed instructions of recorded kernels 6.12, 7.2 and 7.3';

export const RECORDED_INSTRUCTIONS: DmaCostTable = {
  instructionTime: {
    unit: 'ns',
    values: { '6.12': 0.14, '6.17': 0.14, '7.3': 0.14 },
    mark: 'derived',
    source: 'lazy minus passthrough is 0.32 us per NVMe request in published figures and about 2,250 instructions here',
  },
  mapPhysCall: derived(181, 181, 178, `${TABLE}: map per call, less IOVA and page table`),
  unmapPhysCall: derived(343, 343, 429, `${TABLE}: unmap per call, less page table, invalidation and IOVA`),
  mapSgCall: derived(212, 212, 254, `${TABLE}: sg of one entry, less IOVA, run and entry`),
  mapSgPerEntry: derived(130, 130, 143, `${TABLE}: sg contiguous per entry, less one leaf`),
  unmapSgCall: derived(185, 185, 183, `${TABLE}: unmap of sg, less page table, invalidation and IOVA`),
  iovaTryAllocCall: derived(40, 40, 40, `${TABLE}: alloc of one page, split between call and allocator`),
  iovaLinkCall: derived(105, 105, 105, `${TABLE}: link per page of 7.2 and 7.3, less the run of a list`),
  iovaSyncCall: recorded(57, 57, 57, `${TABLE}: link of one page, less alloc and link`),
  iovaUnlinkCall: derived(100, 100, 100, `${TABLE}: destroy, less page table, invalidation and IOVA`),
  iovaFreeCall: derived(20, 20, 20, `${TABLE}: free of one page, split between call and allocator`),
  iovaAllocCached: derived(
    197,
    197,
    197,
    `${TABLE}: alloc of one page, split; 6.12 has no such cell and takes the same`,
  ),
  iovaAllocRounding: recorded(15, 15, 15, `${TABLE}: alloc of 2 to 16 pages against 1`),
  iovaAllocTree: recorded(300, 300, 300, `${TABLE}: alloc, sg and link of 64 pages against 32`),
  iovaTreeStep: assumed('instructions', 12, 'one step of rb_prev with its comparisons'),
  iovaFreeCached: derived(88, 88, 88, `${TABLE}: free of one page, split`),
  iovaFreeTree: recorded(220, 220, 220, `${TABLE}: free of 64 pages against 32`),
  pageTableMapCall: derived(413, 413, 812, `${TABLE}: sg scattered against contiguous, per run`),
  pageTableMapPerEntry: derived(
    13,
    13,
    10,
    'generic page table cover letter, 2025: ns per entry of VT-d, over 0.14 ns',
  ),
  pageTableUnmapCall: derived(615, 615, 555, `${TABLE}: unmap of sg and destroy, split between call and page table`),
  pageTableUnmapPerEntry: recorded(22.5, 22.5, 18.5, `${TABLE}: unmap of sg and destroy, per page`),
  tablePageAllocate: assumed('ns', 400, 'a zeroed page from the page allocator'),
  cacheLineClean: assumed(
    'ns',
    100,
    'no published figure for a line; unmaps on Tegra take 0.25 us an entry longer when each is cleaned by itself',
  ),
  invalidateRange: derived(675, 650, 643, `${TABLE}: strict against lazy unmap, plus queueing, less IOVA`),
  invalidateDomain: assumed('instructions', 643, 'as the invalidation of a range, whose descriptor it shares'),
  flushQueueEnqueue: assumed('instructions', 150, 'within 3 to 70 ns of the literature'),
  flushQueueRelease: assumed('instructions', 15, 'one step round the ring'),
  directMapCall: recorded(86, 86, 196, `${TABLE}: map in passthrough, per call`),
  directUnmapCall: recorded(66, 66, 77, `${TABLE}: unmap in passthrough, per call`),
  directMapSgCall: recorded(83, 83, 90, `${TABLE}: sg in passthrough, fixed`),
  directMapSgPerEntry: recorded(56, 56, 171, `${TABLE}: sg in passthrough, per entry`),
  directUnmapSgCall: recorded(52, 52, 53, `${TABLE}: unmap of sg in passthrough, fixed`),
  directUnmapSgPerEntry: recorded(46, 46, 44, `${TABLE}: unmap of sg in passthrough, per entry`),
  directTwoStepCall: assumed('instructions', 20, 'zeroing the state and one test'),
  coherentAllocCall: assumed('ns', 400, 'a zeroed page from the page allocator'),
  coherentFreeCall: assumed('ns', 100, 'a page back to the page allocator'),
  bounceMapCall: assumed('instructions', 350, 'a search of a few slots, and the marks of 2 to 64 of them'),
  bounceUnmapCall: assumed('instructions', 250, 'the marks of 2 to 64 slots'),
  bounceCopyPer64Bytes: assumed('ns', 6.4, 'a copy at 10 GB/s, from memory to memory'),
};
