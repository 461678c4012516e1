/**
 * Where the pages of a workload's buffers lie in physical memory. A long-running machine's memory is fragmented: pages that
 * follow each other in a buffer lie anywhere, or in short runs. The layout is drawn from a seeded stream.
 * Leaves out: NUMA nodes and page kinds other than ordinary memory.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { RandomStream } from '../time/random.ts';

/** `contiguous`: each buffer is one folio. A number: the chance that a page follows the one before it in memory. */
export type Contiguity = 'scattered' | 'contiguous' | number;

/** The largest folio that memory is asked to align: 2 MiB. */
const LARGEST_ALIGNMENT_PAGES = 512;

export interface BufferPages {
  /** Page numbers, buffer after buffer. */
  readonly pages: Float64Array;
  /** A number for each page that names its folio. */
  readonly folios: Float64Array;
}

export function allocateBuffers(
  frames: FrameAllocator,
  random: RandomStream,
  buffers: number,
  pagesPerBuffer: number,
  contiguity: Contiguity,
): BufferPages {
  if (contiguity === 'contiguous') return contiguousBuffers(frames, buffers, pagesPerBuffer);
  const chance = contiguity === 'scattered' ? 0 : contiguity;
  return scatteredBuffers(frames, random, buffers * pagesPerBuffer, chance);
}

function contiguousBuffers(frames: FrameAllocator, buffers: number, pagesPerBuffer: number): BufferPages {
  const pages = new Float64Array(buffers * pagesPerBuffer);
  const folios = new Float64Array(pages.length);
  const alignment = Math.min(LARGEST_ALIGNMENT_PAGES, 2 ** Math.ceil(Math.log2(pagesPerBuffer)));
  for (let buffer = 0; buffer < buffers; buffer += 1) {
    const first = frames.allocateContiguous(pagesPerBuffer, alignment);
    for (let index = 0; index < pagesPerBuffer; index += 1) {
      pages[buffer * pagesPerBuffer + index] = first + index;
      folios[buffer * pagesPerBuffer + index] = first;
    }
  }
  return { pages, folios };
}

/** Cuts one stretch of memory into runs and deals them out in random order, never two that follow each other. */
function scatteredBuffers(frames: FrameAllocator, random: RandomStream, count: number, chance: number): BufferPages {
  const first = frames.allocateContiguous(count);
  const runs: number[] = [];
  for (let page = 0; page < count; page += 1) {
    const continues = page > 0 && random.fraction() < chance;
    if (!continues) runs.push(page);
  }
  const order = runs.map((_, index) => index);
  for (let index = order.length - 1; index > 0; index -= 1) swap(order, index, random.below(index + 1));
  separate(order);
  const pages = new Float64Array(count);
  let filled = 0;
  for (const run of order) {
    const end = runs[run + 1] ?? count;
    for (let page = runs[run]!; page < end; page += 1) {
      pages[filled] = first + page;
      filled += 1;
    }
  }
  // Small pages are folios of their own, also where two of them are neighbours by chance.
  return { pages, folios: pages };
}

/** Where a run directly follows its neighbour in memory, trades it for a later one. */
function separate(order: number[]): void {
  for (let index = 1; index < order.length; index += 1) {
    if (order[index] !== order[index - 1]! + 1) continue;
    const other = index + 1 < order.length ? index + 1 : 0;
    swap(order, index, other);
  }
}

function swap(values: number[], a: number, b: number): void {
  const kept = values[a]!;
  values[a] = values[b]!;
  values[b] = kept;
}
