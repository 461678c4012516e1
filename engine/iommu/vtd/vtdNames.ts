/**
 * Names of VT-d (VT-d specification 7.1.3, fault reasons of legacy and of scalable mode; Linux drivers/iommu/intel/dmar.c
 * `dma_remap_fault_reasons`, `dma_remap_sm_fault_reasons`). Paging structures are numbered from those of pages, 1, up.
 * Leaves out: faults of page requests and of interrupt remapping.
 */
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_CONTEXT_INVALID,
  FAULT_CONTEXT_NOT_PRESENT,
  FAULT_RESERVED_BITS,
  FAULT_ROOT_NOT_PRESENT,
  FAULT_TYPE_BLOCKED,
} from '../faults.ts';
import { hexadecimal, isDenied, pageTableWords, type FaultPlace, type VendorNames } from '../faultNames.ts';
import { CONTEXT_RESERVED_BITS, LEGACY_REQUEST_WITH_PASID, ROOT_RESERVED_BITS } from './contextTable.ts';
import {
  SCALABLE_CONTEXT_INACCESSIBLE,
  SCALABLE_CONTEXT_NOT_PRESENT,
  SCALABLE_DIRECTORY_INACCESSIBLE,
  SCALABLE_DIRECTORY_NOT_PRESENT,
  SCALABLE_PASID_INACCESSIBLE,
  SCALABLE_PASID_INVALID,
  SCALABLE_PASID_NOT_ENABLED,
  SCALABLE_PASID_NOT_PRESENT,
  SCALABLE_PASID_TOO_LARGE,
  SCALABLE_REQUEST_PASID,
  SCALABLE_ROOT_INACCESSIBLE,
  SCALABLE_ROOT_NOT_PRESENT,
  SCALABLE_TRANSLATION_REQUEST,
} from './scalableFaults.ts';

const DEVICE_WORDS: ReadonlyMap<number, string> = new Map([
  [FAULT_ROOT_NOT_PRESENT, 'the device has no root entry'],
  [FAULT_CONTEXT_NOT_PRESENT, 'the device has no context entry'],
  [FAULT_CONTEXT_INVALID, 'the context entry asks for what there is not'],
  [ROOT_RESERVED_BITS, 'the root entry has reserved bits set'],
  [CONTEXT_RESERVED_BITS, 'the context entry has reserved bits set'],
  [LEGACY_REQUEST_WITH_PASID, 'requests with a PASID need scalable mode'],
  [FAULT_TYPE_BLOCKED, "the device's entry does not allow requests of this kind"],
  [SCALABLE_ROOT_INACCESSIBLE, 'the root entry cannot be read'],
  [SCALABLE_ROOT_NOT_PRESENT, 'the device has no root entry'],
  [SCALABLE_CONTEXT_INACCESSIBLE, 'the context entry cannot be read'],
  [SCALABLE_CONTEXT_NOT_PRESENT, 'the device has no context entry'],
  [SCALABLE_TRANSLATION_REQUEST, 'the context entry does not allow translation requests'],
  [SCALABLE_PASID_NOT_ENABLED, 'the context entry does not allow requests with a PASID'],
  [SCALABLE_PASID_TOO_LARGE, 'the PASID lies beyond the PASID directory'],
  [SCALABLE_REQUEST_PASID, 'the PASID of plain requests lies beyond the PASID directory'],
  [SCALABLE_DIRECTORY_INACCESSIBLE, 'the PASID directory cannot be read'],
  [SCALABLE_DIRECTORY_NOT_PRESENT, 'the PASID directory has no table for the PASID'],
  [SCALABLE_PASID_INACCESSIBLE, 'the PASID table cannot be read'],
  [SCALABLE_PASID_NOT_PRESENT, 'the PASID has no entry'],
  [SCALABLE_PASID_INVALID, 'the PASID entry asks for what there is not'],
]);

const FIRST_STAGE_ABSENT = 0x71;
const FIRST_STAGE_RESERVED = 0x72;
const NESTED_BEYOND_WIDTH = 0x74;
const SECOND_STAGE_ABSENT = 0x79;
const SECOND_STAGE_RESERVED = 0x7a;
const NOT_CANONICAL = 0x80;
const BEYOND_WIDTH = 0x83;
const WRITE_NOT_ALLOWED = 0x85;
const READ_NOT_ALLOWED = 0x86;

/** What scalable mode calls what legacy mode has fewer reasons for. */
function scalableReason(reason: number, { tables, nested, write, permissions }: FaultPlace): number {
  if (reason === FAULT_TYPE_BLOCKED) return SCALABLE_TRANSLATION_REQUEST;
  const first = tables === 'first';
  if (reason === FAULT_RESERVED_BITS) return first ? FIRST_STAGE_RESERVED : SECOND_STAGE_RESERVED;
  if (reason === FAULT_ADDRESS_BEYOND_WIDTH) return first ? NOT_CANONICAL : nested ? NESTED_BEYOND_WIDTH : BEYOND_WIDTH;
  if (!isDenied(reason)) return reason;
  if (permissions === 0) return first ? FIRST_STAGE_ABSENT : SECOND_STAGE_ABSENT;
  return write ? WRITE_NOT_ALLOWED : READ_NOT_ALLOWED;
}

function namesOf(deviceCache: string, deviceEntries: string, scalable: boolean): VendorNames {
  return {
    deviceCache,
    deviceEntries,
    level: (level) => level + 1,
    fault: (reason, place) => {
      const number = scalable ? scalableReason(reason, place) : reason;
      const words = DEVICE_WORDS.get(number) ?? pageTableWords(reason, place);
      return { number, code: `reason ${hexadecimal(number)}`, words };
    },
  };
}

export const VTD_LEGACY_NAMES = namesOf('context cache', 'root and context entries', false);
export const VTD_SCALABLE_NAMES = namesOf('context and PASID caches', 'root, context and PASID entries', true);
