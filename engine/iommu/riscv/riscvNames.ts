/**
 * Names of RISC-V's IOMMU: causes of its fault queue (RISC-V IOMMU specification 1.0, 4.2, table of CAUSE encodings), and levels as the
 * privileged architecture numbers them (12.3.2): 0 has the pages. What is read of devices and processes is kept in directory caches.
 */
import { FAULT_TYPE_BLOCKED, OWN_FAULT } from '../faults.ts';
import { pageTableWords, type FaultPlace, type VendorNames } from '../faultNames.ts';
import {
  ALL_DISALLOWED,
  DDT_ENTRY_ACCESS_FAULT,
  DDT_ENTRY_MISCONFIGURED,
  DDT_ENTRY_NOT_VALID,
  PDT_ENTRY_ACCESS_FAULT,
  PDT_ENTRY_MISCONFIGURED,
  PDT_ENTRY_NOT_VALID,
  READ_GUEST_PAGE_FAULT,
  READ_PAGE_FAULT,
  TYPE_DISALLOWED,
  WRITE_GUEST_PAGE_FAULT,
  WRITE_PAGE_FAULT,
} from './riscvCauses.ts';

const CAUSES: ReadonlyMap<number, readonly [name: string, words: string]> = new Map([
  [READ_PAGE_FAULT, ['read page fault', '']],
  [WRITE_PAGE_FAULT, ['write/AMO page fault', '']],
  [READ_GUEST_PAGE_FAULT, ['read guest page fault', '']],
  [WRITE_GUEST_PAGE_FAULT, ['write/AMO guest page fault', '']],
  [
    ALL_DISALLOWED,
    ['all inbound transactions disallowed', 'the IOMMU is off, or its directory does not reach the device'],
  ],
  [DDT_ENTRY_ACCESS_FAULT, ['DDT entry load access fault', 'the device directory cannot be read']],
  [DDT_ENTRY_NOT_VALID, ['DDT entry not valid', 'the device has no context']],
  [DDT_ENTRY_MISCONFIGURED, ['DDT entry misconfigured', 'the device context asks for what there is not']],
  [TYPE_DISALLOWED, ['transaction type disallowed', 'the device context does not allow requests of this kind']],
  [PDT_ENTRY_ACCESS_FAULT, ['PDT entry load access fault', 'the process directory cannot be read']],
  [PDT_ENTRY_NOT_VALID, ['PDT entry not valid', 'the process has no context']],
  [PDT_ENTRY_MISCONFIGURED, ['PDT entry misconfigured', 'the process context asks for what there is not']],
]);

export const RISCV_NAMES: VendorNames = {
  deviceCache: 'device directory cache',
  deviceEntries: 'entries of the device and process directories',
  level: (level) => level,
  fault: (reason, place) => {
    const number = causeOf(reason, place);
    const [name, words] = CAUSES.get(number) ?? ['', ''];
    return {
      number,
      code: `cause ${number}, ${name}`,
      words: words === '' ? pageTableWords(reason, place) : words,
    };
  },
};

function causeOf(reason: number, { tables, write }: FaultPlace): number {
  if (reason === FAULT_TYPE_BLOCKED) return TYPE_DISALLOWED;
  const own = reason >= OWN_FAULT ? reason - OWN_FAULT : 0;
  // the process directory lies at guest addresses: the cause is that of the access it was read for
  if (tables === 'second' || own === READ_GUEST_PAGE_FAULT)
    return write ? WRITE_GUEST_PAGE_FAULT : READ_GUEST_PAGE_FAULT;
  if (own !== 0) return own;
  return write ? WRITE_PAGE_FAULT : READ_PAGE_FAULT;
}
