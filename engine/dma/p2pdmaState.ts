/**
 * What a caller of the DMA API holds while it maps memory that may be peers' (Linux include/linux/pci-p2pdma.h): drivers ask with it through
 * `DmaApi.pciP2pdmaState`, and know no more of the fabric.
 */
export { P2pdmaMapState, type P2pdmaMapType } from '../pcie/p2pdma.ts';
