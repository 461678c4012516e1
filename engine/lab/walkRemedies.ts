/** Why a translation is refused, as the vendor's manual says it, and what helps whoever looks into it (engine/iommu/faultNames.ts). */
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_RESERVED_BITS } from '../iommu/faults.ts';
import { lacksPermission, type FaultName, type FaultPlace, type VendorNames } from '../iommu/faultNames.ts';

const ATTACH = 'The kernel has not attached the device to a domain at this moment: choose a later one.';
const BEYOND = 'Choose an address that the tables reach, as one of the IOVA table.';
const BROKEN = 'Something has written into this table that is no entry: look at the entry named invalid.';
const UNMAPPED = 'Nothing is mapped there at this moment: choose a live range of the IOVA table, or another moment.';
const UNUSED = 'Software has to set the accessed or dirty bit of this entry: this hardware only checks it.';
const GUEST = 'The second stage refuses this address of the guest: map it there, for this direction.';
const OTHER_DIRECTION = 'The page is mapped for the other direction only: map it for both, or turn the access round.';

export interface Refusal extends FaultName {
  readonly remedy: string;
}

export function refusal(names: VendorNames, reason: number, place: FaultPlace): Refusal {
  return { ...names.fault(reason, place), remedy: remedyOf(reason, place) };
}

function remedyOf(reason: number, place: FaultPlace): string {
  const { tables, nested, permissions } = place;
  if (tables === 'devices') return ATTACH;
  if (reason === FAULT_ADDRESS_BEYOND_WIDTH) return BEYOND;
  if (reason === FAULT_RESERVED_BITS) return BROKEN;
  if (permissions !== 0 && !lacksPermission(place)) return UNUSED;
  if (nested) return GUEST;
  return permissions === 0 ? UNMAPPED : OTHER_DIRECTION;
}
