/** The names of misuses and of a driver's mistakes, for whoever shows them. The page sees the lab, not the DMA API. */
export { DRIVER_FAULTS } from '../dma/checker/driverFaults.ts';
export { MISUSE_TITLES, type ApiMisuse, type CheckerResult, type MisuseKind } from '../dma/checker/misuse.ts';
