/** Why a translation is refused, in words, and what helps whoever looks into it (engine/iommu/faults.ts has the reasons). */
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_CONTEXT_NOT_PRESENT,
  FAULT_READ_NOT_ALLOWED,
  FAULT_RESERVED_BITS,
  FAULT_ROOT_NOT_PRESENT,
  FAULT_WRITE_NOT_ALLOWED,
  faultWords,
} from '../iommu/faults.ts';

const ATTACH = 'The kernel has not attached the device to a domain at this moment: choose a later one.';

const REMEDIES: ReadonlyMap<number, string> = new Map([
  [FAULT_ROOT_NOT_PRESENT, ATTACH],
  [FAULT_CONTEXT_NOT_PRESENT, ATTACH],
  [FAULT_ADDRESS_BEYOND_WIDTH, 'Choose an address that the tables reach, as one of the IOVA table.'],
  [FAULT_RESERVED_BITS, 'Something has written into this table that is no entry: look at the entry named invalid.'],
]);
const UNMAPPED = 'Nothing is mapped there at this moment: choose a live range of the IOVA table, or another moment.';
const OTHER_DIRECTION = 'The page is mapped for the other direction only: map it for both, or turn the access round.';

export interface Refusal {
  readonly reason: number;
  readonly words: string;
  readonly remedy: string;
}

/** `mapped`: there is a leaf, which does not allow the access. */
export function refusal(reason: number, mapped: boolean): Refusal {
  const denied = reason === FAULT_READ_NOT_ALLOWED || reason === FAULT_WRITE_NOT_ALLOWED;
  const remedy = denied
    ? mapped
      ? OTHER_DIRECTION
      : UNMAPPED
    : (REMEDIES.get(reason) ?? 'The specification of the IOMMU says more.');
  return { reason, words: faultWords(reason), remedy };
}
