/**
 * Why a request was refused before its pages were looked up, in scalable mode (VT-d specification 7.1.3, fault reasons in scalable mode).
 * Leaves out: those of page requests, and of a root table that cannot be read at all.
 */
export const SCALABLE_ROOT_INACCESSIBLE = 0x38;
export const SCALABLE_ROOT_NOT_PRESENT = 0x39;
export const SCALABLE_CONTEXT_INACCESSIBLE = 0x40;
export const SCALABLE_CONTEXT_NOT_PRESENT = 0x41;
export const SCALABLE_TRANSLATION_REQUEST = 0x44;
export const SCALABLE_PASID_NOT_ENABLED = 0x45;
export const SCALABLE_PASID_TOO_LARGE = 0x46;
export const SCALABLE_REQUEST_PASID = 0x48;
export const SCALABLE_DIRECTORY_INACCESSIBLE = 0x50;
export const SCALABLE_DIRECTORY_NOT_PRESENT = 0x51;
export const SCALABLE_PASID_INACCESSIBLE = 0x58;
export const SCALABLE_PASID_NOT_PRESENT = 0x59;
export const SCALABLE_PASID_INVALID = 0x5b;
