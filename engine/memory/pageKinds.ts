/**
 * What kind of memory stands behind a page of physical addresses, which decides how it may be mapped for a device: ordinary
 * RAM or a peer device's memory (Linux include/linux/pci-p2pdma.h, `is_pci_p2pdma_page` and `struct p2pdma_provider`); private
 * or shared in a confidential guest (arch/x86/include/asm/mem_encrypt.h); and whether a page holds small objects of kmalloc
 * (`dma_kmalloc_needs_bounce` in include/linux/dma-map-ops.h).
 * Leaves out: device-private and device-coherent memory, which no bus address reaches.
 */

/** Who owns a range of peer memory: `struct p2pdma_provider`, with the requester id that stands for its owner. */
export interface P2pdmaProvider {
  /** PCI address of the owner, for messages. */
  readonly name: string;
  /** Bus address less CPU physical address of its memory. */
  readonly busOffset: number;
  /** bus << 8 | device << 3 | function. */
  readonly sourceId: number;
}

export type PageKind = 'ram' | 'p2p';

interface PeerRange {
  readonly first: number;
  /** One past the last page. */
  readonly end: number;
  readonly provider: P2pdmaProvider;
}

const CHUNK_PAGES = 1024;
/** Of a page: shared with the host. */
const SHARED = 1;
const KMALLOC_SMALL = 2;

export class PageKinds {
  /** In a confidential guest RAM is private until it is shared. */
  readonly confidential: boolean;
  /** Sorted and disjoint. */
  private readonly peers: PeerRange[] = [];
  private lowestPeer = Infinity;
  private recent: PeerRange | null = null;
  private readonly chunks = new Map<number, Uint8Array>();

  constructor(options: { confidential?: boolean } = {}) {
    this.confidential = options.confidential ?? false;
  }

  /** Makes a range RAM, or the memory of a peer. */
  setRange(firstPage: number, pages: number, kind: 'ram' | P2pdmaProvider): void {
    const end = firstPage + pages;
    const kept: PeerRange[] = [];
    for (const range of this.peers) {
      if (range.end <= firstPage || range.first >= end) {
        kept.push(range);
        continue;
      }
      if (range.first < firstPage) kept.push({ ...range, end: firstPage });
      if (range.end > end) kept.push({ ...range, first: end });
    }
    if (kind !== 'ram' && pages > 0) kept.push({ first: firstPage, end, provider: kind });
    kept.sort((left, right) => left.first - right.first);
    this.peers.splice(0, this.peers.length, ...kept);
    this.lowestPeer = kept[0]?.first ?? Infinity;
    this.recent = null;
  }

  kindOf(page: number): PageKind {
    return this.providerOf(page) === null ? 'ram' : 'p2p';
  }

  /** Null for RAM. */
  providerOf(page: number): P2pdmaProvider | null {
    if (page < this.lowestPeer) return null;
    const { recent, peers } = this;
    if (recent !== null && page >= recent.first && page < recent.end) return recent.provider;
    let low = 0;
    let high = peers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (peers[middle]!.end <= page) low = middle + 1;
      else high = middle;
    }
    const found = peers[low];
    if (found === undefined || page < found.first) return null;
    this.recent = found;
    return found.provider;
  }

  /** True for RAM of a confidential guest that the host cannot read. A peer's memory is never private. */
  isPrivate(page: number): boolean {
    return this.confidential && (this.flagsOf(page) & SHARED) === 0 && this.providerOf(page) === null;
  }

  setPrivate(firstPage: number, pages: number, isPrivate: boolean): void {
    this.setFlag(firstPage, pages, SHARED, !isPrivate);
  }

  /** True where objects smaller than a cache line may lie beside others. */
  isKmallocSmall(page: number): boolean {
    return (this.flagsOf(page) & KMALLOC_SMALL) !== 0;
  }

  setKmallocSmall(firstPage: number, pages: number, small: boolean): void {
    this.setFlag(firstPage, pages, KMALLOC_SMALL, small);
  }

  private flagsOf(page: number): number {
    const chunk = this.chunks.get(Math.floor(page / CHUNK_PAGES));
    return chunk === undefined ? 0 : chunk[page % CHUNK_PAGES]!;
  }

  private setFlag(firstPage: number, pages: number, flag: number, on: boolean): void {
    for (let page = firstPage; page < firstPage + pages; page += 1) {
      const index = Math.floor(page / CHUNK_PAGES);
      let chunk = this.chunks.get(index);
      if (chunk === undefined) {
        if (!on) continue;
        chunk = new Uint8Array(CHUNK_PAGES);
        this.chunks.set(index, chunk);
      }
      const place = page % CHUNK_PAGES;
      chunk[place] = on ? chunk[place]! | flag : chunk[place]! & ~flag;
    }
  }
}
