/**
 * Where the pages of a workload's buffers lie in physical memory. A long-running machine's memory is fragmented: pages that
 * follow each other in a buffer lie anywhere, or in short runs. The layout is drawn from a seeded stream.
 * Leaves out: buffers that lie on several nodes, and page kinds other than ordinary memory.
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

/** Cuts one stretch of memory into runs with a page between any two, and deals them out in random order. */
function scatteredBuffers(frames: FrameAllocator, random: RandomStream, count: number, chance: number): BufferPages {
  const lengths: number[] = [];
  for (let page = 0; page < count; page += 1) {
    if (page > 0 && random.fraction() < chance) lengths[lengths.length - 1]! += 1;
    else lengths.push(1);
  }
  const starts: number[] = [];
  let next = frames.allocateContiguous(count + lengths.length);
  for (const length of lengths) {
    starts.push(next);
    next += length;
    frames.freePage(next);
    next += 1;
  }
  const order = lengths.map((_, run) => run);
  for (let index = order.length - 1; index > 0; index -= 1) swap(order, index, random.below(index + 1));
  const pages = new Float64Array(count);
  let filled = 0;
  for (const run of order) {
    for (let page = 0; page < lengths[run]!; page += 1) {
      pages[filled] = starts[run]! + page;
      filled += 1;
    }
  }
  // Small pages are folios of their own, also where two of them are neighbours by chance.
  return { pages, folios: pages };
}

function swap(values: number[], a: number, b: number): void {
  const kept = values[a]!;
  values[a] = values[b]!;
  values[b] = kept;
}
