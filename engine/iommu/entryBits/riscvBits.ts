/**
 * Names of the bits of RISC-V page-table entries, Sv39 to Sv57 and their two-stage forms (RISC-V privileged architecture,
 * 12.3 to 12.6, with Svnapot and Svpbmt).
 */
import { bit, gate, type BitField } from './bitField.ts';

const MEMORY_TYPES = ['as the platform says', 'not cacheable, idempotent', 'I/O', 'reserved'] as const;
const PAGE_SHIFT = 12;

/** Of an entry that points at a table these three bits are clear, and allow or refuse nothing. */
function leafOnly(field: BitField, inTable = ''): BitField {
  return { ...field, says: (value, place) => (place.leaf ? field.says(value, place) : inTable) };
}

export const RISCV_BITS: readonly BitField[] = [
  gate(0, 'V', 'valid', 'not valid'),
  leafOnly(bit(1, 'R', 'reads allowed', 'no reads'), 'with W and X clear it points at a table'),
  leafOnly(bit(2, 'W', 'writes allowed', 'no writes')),
  leafOnly(bit(3, 'X', 'execution allowed', 'no execution')),
  bit(4, 'U', 'user access allowed', 'supervisor access only', 'leaf'),
  bit(5, 'G', 'global', ''),
  bit(6, 'A', 'used', 'not used: an access faults, or sets it', 'leaf'),
  bit(7, 'D', 'written', 'not written: a write faults, or sets it', 'leaf'),
  { high: 9, low: 8, name: 'RSW', says: () => 'for software' },
  {
    high: 53,
    low: 10,
    name: 'PPN',
    says: (value, { leaf }) => `${leaf ? 'page' : 'table'} at 0x${(value * 2 ** PAGE_SHIFT).toString(16)}`,
  },
  { high: 62, low: 61, name: 'PBMT', where: 'leaf', says: (value) => MEMORY_TYPES[value] ?? '' },
  bit(63, 'N', 'one of sixteen entries of a 64 KiB page', '', 'leaf'),
];
