/**
 * Names of AMD's IOMMU: events of its log, with the flags of IO_PAGE_FAULT as Linux prints them (AMD specification 48882, 2.5.2 and 2.5.3;
 * Linux drivers/iommu/amd/amd_iommu_types.h EVENT_TYPE, iommu.c `iommu_print_event`). Page tables are numbered from those of pages, 1, up.
 *
 * Flags: GN 0 a guest's address, PR 4 the page was present, RW 5 a write, PE 6 not permitted, RZ 7 reserved bits were set.
 * Leaves out: events of commands, interrupts and page requests.
 */
import {
  FAULT_CONTEXT_NOT_PRESENT,
  FAULT_RESERVED_BITS,
  FAULT_ROOT_NOT_PRESENT,
  FAULT_TYPE_BLOCKED,
} from '../faults.ts';
import {
  hexadecimal,
  lacksPermission,
  pageTableWords,
  type FaultName,
  type FaultPlace,
  type VendorNames,
} from '../faultNames.ts';

const ILLEGAL_DEV_TABLE_ENTRY = 0x1;
const IO_PAGE_FAULT = 0x2;
const DEV_TAB_HARDWARE_ERROR = 0x3;
const GUEST = 1 << 0;
const PRESENT = 1 << 4;
const WRITE_ACCESS = 1 << 5;
const NOT_PERMITTED = 1 << 6;
const RESERVED_SET = 1 << 7;

export const AMD_NAMES: VendorNames = {
  deviceCache: 'device table cache',
  deviceEntries: 'entries of the device table and of GCR3 tables',
  level: (level) => level + 1,
  fault: (reason, place) => (place.tables === 'devices' ? deviceFault(reason, place) : pageFault(reason, place)),
};

function pageFault(reason: number, place: FaultPlace): FaultName {
  return named(
    IO_PAGE_FAULT,
    `IO_PAGE_FAULT flags=${hexadecimal(flagsOf(reason, place), 4)}`,
    pageTableWords(reason, place),
  );
}

function deviceFault(reason: number, place: FaultPlace): FaultName {
  switch (reason) {
    case FAULT_ROOT_NOT_PRESENT:
      return named(DEV_TAB_HARDWARE_ERROR, 'DEV_TAB_HARDWARE_ERROR', 'the device table cannot be read');
    case FAULT_RESERVED_BITS:
      return named(
        ILLEGAL_DEV_TABLE_ENTRY,
        'ILLEGAL_DEV_TABLE_ENTRY',
        'the device table entry asks for what there is not',
      );
    case FAULT_TYPE_BLOCKED:
      return named(
        ILLEGAL_DEV_TABLE_ENTRY,
        'ILLEGAL_DEV_TABLE_ENTRY',
        'the device table entry does not allow translation requests',
      );
    case FAULT_CONTEXT_NOT_PRESENT:
      return { ...pageFault(reason, place), words: 'the device table entry lets the device do nothing of this kind' };
    default:
      return pageFault(reason, place);
  }
}

function flagsOf(reason: number, place: FaultPlace): number {
  const guest = place.tables === 'first' ? GUEST : 0;
  const write = place.write ? WRITE_ACCESS : 0;
  if (reason === FAULT_RESERVED_BITS) return guest | write | PRESENT | RESERVED_SET;
  if (place.permissions === 0) return guest | write;
  return guest | write | PRESENT | (lacksPermission(place) ? NOT_PERMITTED : 0);
}

function named(number: number, name: string, words: string): FaultName {
  return { number, code: `event ${hexadecimal(number)}, ${name}`, words };
}
