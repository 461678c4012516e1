/**
 * Names of the bits of VT-d's paging entries (VT-d specification 9.7, first-stage paging entries; 9.8, second-stage paging
 * entries). AMD's v2 tables have the entries of x86-64 processors as well (AMD specification 48882, 2.2.6).
 */
import { address, bit, gate, type BitField } from './bitField.ts';

/** What PS says at a level above the lowest. */
const pageSize = bit(7, 'PS', 'a large page', 'points at a table');
const PAGE_SIZE: BitField = {
  ...pageSize,
  says: (value, place) => (place.level === 0 ? '' : pageSize.says(value, place)),
};

const MEMORY_TYPES: Readonly<Record<number, string>> = {
  0: 'uncacheable',
  1: 'write combining',
  4: 'write through',
  5: 'write protected',
  6: 'write back',
};

export const VTD_SECOND_STAGE_BITS: readonly BitField[] = [
  gate(0, 'R', 'reads allowed', 'no reads'),
  gate(1, 'W', 'writes allowed', 'no writes'),
  bit(2, 'X', 'execution allowed', 'no execution: only looked at where requests ask for it'),
  { high: 5, low: 3, name: 'EMT', where: 'leaf', says: (value) => `memory type ${MEMORY_TYPES[value] ?? 'reserved'}` },
  bit(6, 'IPAT', "the processor's page attribute table is ignored", '', 'leaf'),
  PAGE_SIZE,
  bit(8, 'A', 'used since it was cleared', 'not used, or not kept by this IOMMU'),
  bit(9, 'D', 'written since it was cleared', 'not written, or not kept by this IOMMU', 'leaf'),
  bit(11, 'SNP', 'processor caches are snooped whatever the request says', 'snooped as the request says', 'leaf'),
  address(51, 12),
  bit(62, 'TM', 'reserved: until revision 3.2 of the specification a transient mapping', ''),
];

export const X86_64_BITS: readonly BitField[] = [
  gate(0, 'P', 'present, reads allowed', 'not present'),
  bit(1, 'R/W', 'writes allowed', 'no writes'),
  bit(2, 'U/S', 'requests of user privilege allowed', 'requests of supervisor privilege only'),
  bit(3, 'PWT', 'write through', ''),
  bit(4, 'PCD', 'not cached', ''),
  bit(5, 'A', 'used since it was cleared, or set beforehand', 'not used'),
  bit(6, 'D', 'written since it was cleared, or set beforehand', 'not written', 'leaf'),
  PAGE_SIZE,
  bit(8, 'G', 'global', '', 'leaf'),
  address(51, 12),
  bit(63, 'XD', 'no execution', ''),
];
