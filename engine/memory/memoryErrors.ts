/**
 * The errors of process memory, negative as in the kernel (include/uapi/asm-generic/errno*.h). They stand here because memory
 * sees neither page tables of devices nor the DMA API, which have their own.
 */
/** Writing where only reading is allowed. */
export const EPERM = -1;
/** It would have to sleep, or somebody holds the page. */
export const EAGAIN = -11;
export const ENOMEM = -12;
/** No mapping, or one that cannot be used this way. */
export const EFAULT = -14;
/** The page tables changed meanwhile; start again. */
export const EBUSY = -16;
export const EINVAL = -22;
export const EOVERFLOW = -75;
export const EOPNOTSUPP = -95;
/** A peer's memory where only RAM is wanted. */
export const EREMOTEIO = -121;
