/**
 * Entries that point at a table, in the device and the process directory alike: 0 V, 53:10 PPN, all else reserved (RISC-V IOMMU
 * specification 1.0, 2.1.1 and 2.2.1).
 */
export const VALID = 1;
const PPN_SHIFT = 10;
const LOW_PPN_BITS = 2 ** 22;
const PPN_HIGH_MASK = 0x3f_ffff;
/** Bits 9:1 in the low word, 63:54 in the high one. */
const RESERVED_LOW = 0x3fe;
const RESERVED_HIGH = 0xffc0_0000;

export function pointerLow(tablePage: number): number {
  return ((tablePage << PPN_SHIFT) | VALID) >>> 0;
}

export function pointerHigh(tablePage: number): number {
  return Math.floor(tablePage / LOW_PPN_BITS);
}

export function pointerPage(low: number, high: number): number {
  return (low >>> PPN_SHIFT) + (high & PPN_HIGH_MASK) * LOW_PPN_BITS;
}

export function isPlainPointer(low: number, high: number): boolean {
  return (low & RESERVED_LOW) === 0 && (high & RESERVED_HIGH) === 0;
}
