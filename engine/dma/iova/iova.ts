/**
 * The tree of IOVA ranges: top-down first fit below a limit, aligned to the size (Linux drivers/iommu/iova.c:
 * `__alloc_and_insert_iova_range`, `__cached_rbnode_insert_update`, `__cached_rbnode_delete_update`, `iova_find_limit`).
 * Addresses depend on the kernel's two cached nodes and its 32-bit shortcut, so both are kept exactly. The kernel's
 * red-black tree is only ever used for the neighbours of a node and for finding a range by its first page: a linked list in
 * address order and a map give both, in constant time.
 * Leaves out: the per-CPU cache in front of it, which is in iovaRcache.ts.
 */

/** Granules of 4 KiB below 4 GiB (`dma_32bit_pfn`). */
export const DMA_32BIT_PFN = 0x10_0000;

const ANCHOR = 0;
const NONE = -1;
const INITIAL_NODES = 256;
/** Beyond it a 32-bit count of leading zeros says nothing. */
const LARGEST_SHIFTED = 2 ** 31;

/** `size_aligned`: the alignment of a range of this many pages, the next power of two. */
export function roundUpPowerOfTwo(pages: number): number {
  if (pages <= 1) return 1;
  if (pages <= LARGEST_SHIFTED) return 2 ** (32 - Math.clz32(pages - 1));
  let rounded = LARGEST_SHIFTED;
  while (rounded < pages) rounded *= 2;
  return rounded;
}

export class IovaTree {
  /** Neighbours passed by the last search, the first one not counted. */
  lastSteps = 0;
  private readonly startPfn: number;
  /** Granules below 4 GiB. */
  private readonly dma32BitPfn: number;
  private lo = new Float64Array(INITIAL_NODES);
  private hi = new Float64Array(INITIAL_NODES);
  private left = new Int32Array(INITIAL_NODES);
  private right = new Int32Array(INITIAL_NODES);
  private used = 1;
  private freeNode = NONE;
  private readonly nodeOf = new Map<number, number>();
  private cachedNode = ANCHOR;
  private cached32Node = ANCHOR;
  private max32AllocSize: number;

  /** `dma32BitPfn` follows from the granule, in which all else counts. */
  constructor(startPfn = 1, dma32BitPfn = DMA_32BIT_PFN) {
    this.startPfn = startPfn;
    this.dma32BitPfn = dma32BitPfn;
    this.max32AllocSize = dma32BitPfn;
    this.lo[ANCHOR] = Infinity;
    this.hi[ANCHOR] = Infinity;
    this.left[ANCHOR] = NONE;
    this.right[ANCHOR] = NONE;
  }

  /** Ranges in the tree, reserved ones included. */
  get size(): number {
    return this.nodeOf.size;
  }

  /** `alloc_iova`: first page of a new range, 0 when nothing below the limit is free. */
  allocate(pages: number, limitPfn: number, sizeAligned = true): number {
    this.lastSteps = 0;
    if (limitPfn < this.dma32BitPfn && pages >= this.max32AllocSize) return 0;
    const { lo, hi, left } = this;
    const align = sizeAligned ? roundUpPowerOfTwo(pages) : 1;
    let current = limitPfn <= this.dma32BitPfn ? this.cached32Node : this.cachedNode;
    const retryPfn = hi[current]!;
    let lowPfn = this.startPfn;
    let highPfn = limitPfn + 1;
    for (;;) {
      let newPfn: number;
      let above: number;
      do {
        if (lo[current]! < highPfn) highPfn = lo[current]!;
        newPfn = highPfn - pages;
        newPfn -= ((newPfn % align) + align) % align;
        above = current;
        current = left[current]!;
        this.lastSteps += 1;
      } while (current !== NONE && newPfn <= hi[current]! && newPfn >= lowPfn);
      if (highPfn >= pages && newPfn >= lowPfn) {
        const node = this.insertBelow(above, newPfn, newPfn + pages - 1);
        if (newPfn + pages - 1 < this.dma32BitPfn) this.cached32Node = node;
        else this.cachedNode = node;
        this.lastSteps -= 1;
        return newPfn;
      }
      if (lowPfn !== this.startPfn || retryPfn >= limitPfn) break;
      highPfn = limitPfn + 1;
      lowPfn = retryPfn + 1;
      current = this.firstNodeFrom(limitPfn);
    }
    this.max32AllocSize = pages;
    return 0;
  }

  /** `free_iova`: false when no range starts at this page. */
  free(pfn: number): boolean {
    const node = this.nodeOf.get(pfn);
    if (node === undefined) return false;
    const lo = this.lo[node]!;
    const next = this.right[node]!;
    if (node === this.cached32Node || (this.hi[node]! < this.dma32BitPfn && lo >= this.lo[this.cached32Node]!)) {
      this.cached32Node = next;
    }
    if (lo < this.dma32BitPfn) this.max32AllocSize = this.dma32BitPfn;
    if (lo >= this.lo[this.cachedNode]!) this.cachedNode = next;
    this.remove(node);
    return true;
  }

  /** `reserve_iova`: takes [lo, hi] out of use; ranges that it touches become one with it. */
  reserve(lo: number, hi: number): void {
    let from = lo;
    let to = hi;
    let above = ANCHOR;
    let node = this.left[ANCHOR]!;
    while (node !== NONE && this.lo[node]! > to) {
      above = node;
      node = this.left[node]!;
    }
    while (node !== NONE && this.hi[node]! >= from) {
      const overlapped = node;
      node = this.left[node]!;
      from = Math.min(from, this.lo[overlapped]!);
      to = Math.max(to, this.hi[overlapped]!);
      this.remove(overlapped);
    }
    this.insertBelow(above, from, to);
  }

  /** Every range in address order, for inspection and tests. */
  *ranges(): Generator<{ readonly lo: number; readonly hi: number }> {
    const nodes: number[] = [];
    for (let node = this.left[ANCHOR]!; node !== NONE; node = this.left[node]!) nodes.push(node);
    for (const node of nodes.reverse()) yield { lo: this.lo[node]!, hi: this.hi[node]! };
  }

  /** The lowest node that starts at or above the limit. */
  private firstNodeFrom(limitPfn: number): number {
    let node = ANCHOR;
    for (let below = this.left[node]!; below !== NONE && this.lo[below]! >= limitPfn; below = this.left[node]!) {
      node = below;
    }
    return node;
  }

  private insertBelow(above: number, lo: number, hi: number): number {
    const node = this.takeNode();
    const below = this.left[above]!;
    this.lo[node] = lo;
    this.hi[node] = hi;
    this.left[node] = below;
    this.right[node] = above;
    this.left[above] = node;
    if (below !== NONE) this.right[below] = node;
    this.nodeOf.set(lo, node);
    return node;
  }

  private remove(node: number): void {
    const below = this.left[node]!;
    const above = this.right[node]!;
    this.left[above] = below;
    if (below !== NONE) this.right[below] = above;
    this.nodeOf.delete(this.lo[node]!);
    this.right[node] = this.freeNode;
    this.freeNode = node;
  }

  private takeNode(): number {
    if (this.freeNode !== NONE) {
      const node = this.freeNode;
      this.freeNode = this.right[node]!;
      return node;
    }
    if (this.used === this.lo.length) this.grow();
    const node = this.used;
    this.used += 1;
    return node;
  }

  private grow(): void {
    const capacity = this.lo.length * 2;
    const widerPfns = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(capacity);
      to.set(from);
      return to;
    };
    const widerLinks = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(capacity);
      to.set(from);
      return to;
    };
    this.lo = widerPfns(this.lo);
    this.hi = widerPfns(this.hi);
    this.left = widerLinks(this.left);
    this.right = widerLinks(this.right);
  }
}
