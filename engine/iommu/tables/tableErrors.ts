/**
 * The errors of page-table operations, negative as in the kernel (include/uapi/asm-generic/errno*.h). They stand here, below
 * the DMA API, because imports point upward only; engine/dma/errno.ts has the rest.
 */
/** Addresses or length that are not whole pages. */
export const ENXIO = -6;
/** A length of 0, or neither reading nor writing allowed. */
export const EINVAL = -22;
/** Addresses beyond what the tables translate. */
export const ERANGE = -34;
/** Something is mapped there already. */
export const EADDRINUSE = -98;
