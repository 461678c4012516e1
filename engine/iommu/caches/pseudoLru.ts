/**
 * Tree pseudo-LRU: for each set a binary tree of one bit a node, which points away from the way used last. Following the bits from the
 * root finds a way that has not been used for long, at a cost of one bit a way (the replacement of many set-associative caches; see
 * Hennessy and Patterson, Computer Architecture, B.1). Ways are a power of two.
 */
export class PseudoLru {
  private readonly ways: number;
  /** By set and node; the root is node 1, the children of node n are 2n and 2n + 1. */
  private readonly pointsRight: Uint8Array;

  constructor(sets: number, ways: number) {
    if ((ways & (ways - 1)) !== 0) throw new Error(`pseudo-LRU needs a power of two of ways, not ${String(ways)}`);
    this.ways = ways;
    this.pointsRight = new Uint8Array(sets * ways);
  }

  /** A way was used: every node on its path points to the other side. */
  use(set: number, way: number): void {
    const base = set * this.ways;
    for (let node = this.ways + way; node > 1; node >>>= 1) this.pointsRight[base + (node >>> 1)] = (node & 1) ^ 1;
  }

  /** The way to give up. */
  victim(set: number): number {
    const base = set * this.ways;
    let node = 1;
    while (node < this.ways) node = node * 2 + this.pointsRight[base + node]!;
    return node - this.ways;
  }
}
