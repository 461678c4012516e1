/** Why a transaction was refused: causes of the fault queue (RISC-V IOMMU specification 1.0, 4.2, table of CAUSE encodings). */

export const READ_ACCESS_FAULT = 5;
export const WRITE_ACCESS_FAULT = 7;
export const READ_PAGE_FAULT = 13;
export const WRITE_PAGE_FAULT = 15;
export const READ_GUEST_PAGE_FAULT = 21;
export const WRITE_GUEST_PAGE_FAULT = 23;
export const ALL_DISALLOWED = 256;
export const DDT_ENTRY_ACCESS_FAULT = 257;
export const DDT_ENTRY_NOT_VALID = 258;
export const DDT_ENTRY_MISCONFIGURED = 259;
export const TYPE_DISALLOWED = 260;
export const PDT_ENTRY_ACCESS_FAULT = 265;
export const PDT_ENTRY_NOT_VALID = 266;
export const PDT_ENTRY_MISCONFIGURED = 267;

export const NO_CAUSE = 0;

/** What a translation request (ATS) with this cause is answered (3.6): aborted, unsupported, or with no permissions and no record. */
export function translationResponse(cause: number): 'completerAbort' | 'unsupportedRequest' | 'noAccess' {
  switch (cause) {
    case ALL_DISALLOWED:
    case DDT_ENTRY_ACCESS_FAULT:
    case DDT_ENTRY_NOT_VALID:
    case DDT_ENTRY_MISCONFIGURED:
    case TYPE_DISALLOWED:
      return 'unsupportedRequest';
    case READ_PAGE_FAULT:
    case WRITE_PAGE_FAULT:
    case READ_GUEST_PAGE_FAULT:
    case WRITE_GUEST_PAGE_FAULT:
    case PDT_ENTRY_NOT_VALID:
      return 'noAccess';
    default:
      return 'completerAbort';
  }
}
