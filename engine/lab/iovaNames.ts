/** What an IOVA space is described in, for whoever shows it. The page sees the lab, not the DMA API. */
export { IOVA_STATES, type IovaRange, type IovaSnapshot, type IovaState } from '../dma/iova/iovaSnapshot.ts';
