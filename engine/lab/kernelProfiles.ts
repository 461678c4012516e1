/**
 * The kernel profiles as the app shows them: what each is called, and the sheet of its behaviours with the origin of each.
 * The page sees the lab, not the DMA API.
 */
export { kernelProfileSheet, kernelProfileTitle, type ProfileSheetLine } from '../dma/kernels/profiles.ts';
