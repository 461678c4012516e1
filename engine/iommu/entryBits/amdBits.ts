/** Names of the bits of AMD's v1 page-table entries (AMD specification 48882, 2.2.3, I/O page tables for host translations). */
import { address, bit, gate, type BitField } from './bitField.ts';

const OWN_SIZE = 0;
const SIZE_IN_ADDRESS = 7;

function nextLevelText(value: number): string {
  if (value === OWN_SIZE) return "a leaf of this level's own size";
  return value === SIZE_IN_ADDRESS ? 'a leaf whose size the address says' : `points at a table of level ${value}`;
}

export const AMD_V1_BITS: readonly BitField[] = [
  gate(0, 'PR', 'present', 'not present'),
  bit(5, 'A', 'used since it was cleared', 'not used, or not kept'),
  bit(6, 'D', 'written since it was cleared', 'not written, or not kept', 'leaf'),
  { high: 11, low: 9, name: 'NextLevel', says: nextLevelText },
  address(51, 12),
  bit(59, 'U', 'the untranslated attribute of requests', '', 'leaf'),
  bit(60, 'FC', 'coherence with processor caches forced', 'coherent as the request says', 'leaf'),
  gate(61, 'IR', 'reads allowed', 'no reads'),
  gate(62, 'IW', 'writes allowed', 'no writes'),
];
