/**
 * Names of the bits of VMSAv8-64 descriptors, which the SMMUv3 walks (Arm architecture reference manual DDI 0487, D8.3,
 * translation table descriptor formats; SMMUv3 specification IHI 0070, 3.4).
 * Leaves out: 52-bit addresses, which move bits of the address, and the Realm and Secure attributes.
 */
import { address, bit, gate, type BitField } from './bitField.ts';

const SHAREABILITY = ['not shareable', 'reserved', 'outer shareable', 'inner shareable'] as const;

/** Bit 1 is 1 in tables above and in leaves of the last level, 0 in larger leaves. */
const common = (addressLow: number): readonly BitField[] => [
  gate(0, 'V', 'valid', 'not valid'),
  {
    high: 1,
    low: 1,
    name: 'T',
    says: (value, { leaf, level }) =>
      value === 0 ? 'a block' : level === 0 ? 'a page' : leaf ? 'not a block' : 'points at a table',
  },
  address(47, addressLow),
];

const leafBits: readonly BitField[] = [
  { high: 9, low: 8, name: 'SH', where: 'leaf', says: (value) => SHAREABILITY[value] ?? '' },
  bit(10, 'AF', 'used', 'not used yet: an access faults, or sets it', 'leaf'),
  bit(51, 'DBM', 'the hardware keeps whether it is written', '', 'leaf'),
  bit(52, 'Contiguous', 'one of a run of entries that lie side by side', '', 'leaf'),
];

export const armStage1Bits = (addressLow: number): readonly BitField[] => [
  ...common(addressLow),
  ...leafBits,
  { high: 4, low: 2, name: 'AttrIndx', where: 'leaf', says: (value) => `memory attributes ${value} of MAIR` },
  bit(5, 'NS', 'not secure', '', 'leaf'),
  bit(6, 'AP[1]', 'unprivileged access allowed', 'privileged access only', 'leaf'),
  bit(7, 'AP[2]', 'no writes', 'writes allowed', 'leaf'),
  bit(11, 'nG', 'of one address space', 'global', 'leaf'),
  bit(53, 'PXN', 'no privileged execution', '', 'leaf'),
  bit(54, 'UXN', 'no unprivileged execution', '', 'leaf'),
  bit(59, 'PXNTable', 'no privileged execution below', '', 'table'),
  bit(60, 'UXNTable', 'no unprivileged execution below', '', 'table'),
  {
    high: 62,
    low: 61,
    name: 'APTable',
    where: 'table',
    says: (value) => ['', 'no unprivileged access below', 'no writes below', 'neither below'][value] ?? '',
  },
  bit(63, 'NSTable', 'not secure below', '', 'table'),
];

export const armStage2Bits = (addressLow: number): readonly BitField[] => [
  ...common(addressLow),
  ...leafBits,
  { high: 5, low: 2, name: 'MemAttr', where: 'leaf', says: (value) => `memory attributes ${value}` },
  bit(6, 'S2AP[0]', 'reads allowed', 'no reads', 'leaf'),
  bit(7, 'S2AP[1]', 'writes allowed', 'no writes', 'leaf'),
  { high: 54, low: 53, name: 'XN', where: 'leaf', says: (value) => (value === 0 ? '' : 'execution restricted') },
];
