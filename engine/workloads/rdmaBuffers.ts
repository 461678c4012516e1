/**
 * The buffers that a process registers: stretches of its address space made of pieces of RAM and of peers' memory in turn, each buffer of
 * the same pieces in pages of its own, aligned to 2 MiB of addresses.
 * Leaves out: huge pages, memory that is swapped or moved.
 */
import type { AddressSpace } from '../memory/addressSpace.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { RandomStream } from '../time/random.ts';
import { LabError } from '../time/labError.ts';
import { allocateBuffers, type Contiguity } from './bufferPages.ts';

/** The pieces of a layout are repeated until a buffer is full; the last one is cut. */
export interface BufferPiece {
  readonly kind: 'ram' | 'peer';
  /** Whose memory; for `peer`. */
  readonly peer?: string | undefined;
  readonly pages: number;
  readonly contiguity: Contiguity;
}

export interface BufferSources {
  readonly mm: AddressSpace;
  readonly frames: FrameAllocator;
  readonly peersPages: PeersPages;
  /** Every peer's page that is taken is noted here, to be given back when the process has ended. */
  readonly taken: PeersPage[];
}

export interface PeersPage {
  readonly peer: string;
  readonly page: number;
}

/** Physical pages of peers' memory that nobody has. */
export interface PeersPages {
  /** Upwards. */
  take(peer: string): number;
  giveBack(peer: string, page: number): void;
}

const FIRST_PAGE = 0x10_0000;
const ALIGNMENT_PAGES = 512;

/** Pages of addresses at which the buffers begin. `name`: where errors lie. */
export function layOutBuffers(
  sources: BufferSources,
  random: RandomStream,
  layout: readonly BufferPiece[],
  buffers: number,
  pages: number,
  name: string,
): Float64Array {
  const starts = new Float64Array(buffers);
  const stride = Math.ceil(pages / ALIGNMENT_PAGES) * ALIGNMENT_PAGES;
  for (let buffer = 0; buffer < buffers; buffer += 1) {
    const start = FIRST_PAGE + buffer * stride;
    for (let done = 0, piece = 0; done < pages; piece += 1) {
      const { pages: wanted, ...rest } = layout[piece % layout.length]!;
      const count = Math.min(wanted, pages - done);
      layOutPiece(sources, random, { ...rest, pages: count }, start + done, name);
      done += count;
    }
    starts[buffer] = start;
  }
  return starts;
}

function layOutPiece(sources: BufferSources, random: RandomStream, piece: BufferPiece, at: number, name: string): void {
  if (piece.kind === 'ram') layOutRam(sources, random, piece, at, name);
  else layOutPeers(sources, random, piece, at);
}

/** A frame that is given back is the next to be handed out, so pages that are given back from the last on are had in their order. */
function layOutRam(
  { mm, frames }: BufferSources,
  random: RandomStream,
  { pages, contiguity }: BufferPiece,
  at: number,
  name: string,
): void {
  const chosen = allocateBuffers(frames, random, 1, pages, contiguity).pages;
  for (let index = pages - 1; index >= 0; index -= 1) frames.freePage(chosen[index]!);
  mm.map({ pages, at });
  for (let page = at; page < at + pages; page += 1) {
    if (mm.fault(page, true) !== 0) {
      throw new LabError(name, 'there is no memory for its regions.', 'Give the machine more memory, or use less.');
    }
  }
}

/** A page of the peer's memory is left out between any two runs. */
function layOutPeers(
  { mm, peersPages, taken }: BufferSources,
  random: RandomStream,
  { pages, contiguity, peer = '' }: BufferPiece,
  at: number,
): void {
  const take = (): number => {
    const page = peersPages.take(peer);
    taken.push({ peer, page });
    return page;
  };
  for (let done = 0; done < pages;) {
    const offset = take();
    let run = 1;
    while (done + run < pages && follows(random, contiguity)) {
      take();
      run += 1;
    }
    if (contiguity !== 'contiguous') take();
    mm.map({ pages: run, at: at + done, kind: 'p2p', offset });
    done += run;
  }
}

function follows(random: RandomStream, contiguity: Contiguity): boolean {
  if (typeof contiguity === 'number') return random.fraction() < contiguity;
  return contiguity === 'contiguous';
}
