/**
 * A scatterlist as a struct of arrays (Linux include/linux/scatterlist.h): what a driver hands to dma_map_sg, and what it
 * gets back. Reused from call to call; grows, never shrinks.
 * Leaves out: chained tables.
 */
export class ScatterList {
  /** Entries that the driver filled in (`orig_nents`). */
  count = 0;
  /** DMA segments after mapping (`nents`). */
  mappedCount = 0;
  /** `SG_DMA_SWIOTLB`: every entry was mapped by itself, since some may be bounced. */
  mappedSingly = false;
  /** Whether any segment is a bus address. */
  hasBusAddresses = false;
  phys: Float64Array;
  length: Float64Array;
  dmaAddress: Float64Array;
  dmaLength: Float64Array;
  /** `SG_DMA_BUS_ADDRESS` of each segment: 1 for a peer's bus address, which nobody mapped. Valid if `hasBusAddresses`. */
  busAddress: Uint8Array;

  constructor(capacity = 128) {
    this.phys = new Float64Array(capacity);
    this.length = new Float64Array(capacity);
    this.dmaAddress = new Float64Array(capacity);
    this.dmaLength = new Float64Array(capacity);
    this.busAddress = new Uint8Array(capacity);
  }

  reset(): void {
    this.count = 0;
    this.mappedCount = 0;
    this.mappedSingly = false;
    this.hasBusAddresses = false;
  }

  add(phys: number, length: number): void {
    if (this.count === this.phys.length) this.grow();
    this.phys[this.count] = phys;
    this.length[this.count] = length;
    this.count += 1;
  }

  private grow(): void {
    const wider = (from: Float64Array): Float64Array => {
      const to = new Float64Array(from.length * 2);
      to.set(from);
      return to;
    };
    this.phys = wider(this.phys);
    this.length = wider(this.length);
    this.dmaAddress = wider(this.dmaAddress);
    this.dmaLength = wider(this.dmaLength);
    this.busAddress = new Uint8Array(this.phys.length);
  }
}
