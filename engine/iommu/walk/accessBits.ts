/**
 * Accessed and dirty bits of leaves: what an access leaves behind in an entry, for formats that keep them (VT-d specification 3.6.3 and 3.7.4;
 * Arm DDI 0487, D8.4.5 and D8.4.6, where a dirty bit is one that forbids writes; RISC-V privileged architecture, 12.3.1).
 */
import type { PageTableFormat } from '../formats/pageTableFormat.ts';

/**
 * What hardware does about a leaf's accessed and dirty bits: nothing; refuse an access for which they are not set; or set them.
 */
export type AccessBits = 'ignored' | 'checked' | 'updated';

/** The low word of a leaf once it has been read or written, as far as the hardware keeps count. */
export function accessed(format: PageTableFormat, low: number, high: number, write: boolean): number {
  const after = low | format.accessedBit;
  return write && keepsDirty(format, high) ? written(format, after) : after >>> 0;
}

/** Whether a write would leave a leaf's dirty bit as it is. */
export function isDirty(format: PageTableFormat, low: number, high: number): boolean {
  return !keepsDirty(format, high) || (low & format.dirtyBit) === format.dirtyValue;
}

function keepsDirty({ dirtyModifier }: PageTableFormat, high: number): boolean {
  return dirtyModifier === 0 || (high & dirtyModifier) !== 0;
}

/** The low word of a leaf once it has been written. */
export function written(format: PageTableFormat, low: number): number {
  return ((low & ~format.dirtyBit) | format.dirtyValue) >>> 0;
}
