/**
 * What each vendor's manual calls the things that people meet when a translation is looked into: why a request is refused, the cache of what
 * is read of devices, and the levels of tables. One table a vendor, in its folder; architectures.ts has them all.
 * Leaves out: the IOTLB and the paging-structure caches, which go by these names for every vendor.
 */
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_READ_NOT_ALLOWED,
  FAULT_RESERVED_BITS,
  FAULT_WRITE_NOT_ALLOWED,
} from './faults.ts';
import { READ, WRITE } from './formats/pageTableFormat.ts';

/** Where a request was refused. */
export interface FaultPlace {
  /** Of devices and processes, or of the first or the second stage. */
  readonly tables: 'devices' | 'first' | 'second';
  /** The second stage refused an address of the first one's. */
  readonly nested: boolean;
  readonly write: boolean;
  /** READ and WRITE of the leaf; 0: there is none. */
  readonly permissions: number;
}

export interface FaultName {
  /** The vendor's own: fault reason, event code or cause. */
  readonly number: number;
  /** The number as the manual writes it, with its name where it has one. */
  readonly code: string;
  readonly words: string;
}

export interface VendorNames {
  /** What keeps entries of devices and processes, and what these are called. */
  readonly deviceCache: string;
  readonly deviceEntries: string;
  /** The number of a level, of which 0 has the smallest pages here. */
  level(level: number): number;
  /** `reason`: of faults.ts, or OWN_FAULT and the vendor's number. */
  fault(reason: number, place: FaultPlace): FaultName;
}

export function hexadecimal(number: number, digits = 2): string {
  return `0x${number.toString(16).padStart(digits, '0')}`;
}

export function isDenied(reason: number): boolean {
  return reason === FAULT_READ_NOT_ALLOWED || reason === FAULT_WRITE_NOT_ALLOWED;
}

/** Whether what was found does not allow the access; otherwise nothing was found, or it may not be used yet. */
export function lacksPermission({ permissions, write }: FaultPlace): boolean {
  return permissions !== 0 && (permissions & (write ? WRITE : READ)) === 0;
}

/** What was wrong with page tables, for any vendor. */
export function pageTableWords(reason: number, place: FaultPlace): string {
  switch (reason) {
    case FAULT_ADDRESS_BEYOND_WIDTH:
      return place.nested
        ? "the first stage yields an address beyond the second one's width"
        : "the address lies beyond the domain's address width";
    case FAULT_RESERVED_BITS:
      return 'a page-table entry has reserved bits set';
    default:
      break;
  }
  if (place.permissions === 0) return 'no page is mapped there';
  if (!lacksPermission(place)) return 'the page is mapped, but not marked as used';
  return place.write ? 'the page is not mapped for writing' : 'the page is not mapped for reading';
}
