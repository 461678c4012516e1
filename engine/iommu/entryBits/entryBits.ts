/** The bits of an entry of any page-table format by name: one table of fields for each family of formats. */
import { AMD_V1_BITS } from './amdBits.ts';
import { armStage1Bits, armStage2Bits } from './armBits.ts';
import { decode, type BitField, type EntryField, type EntryPlace } from './bitField.ts';
import { RISCV_BITS } from './riscvBits.ts';
import { VTD_SECOND_STAGE_BITS, X86_64_BITS } from './vtdBits.ts';

const FIELDS: ReadonlyMap<string, readonly BitField[]> = new Map([
  ['vtd-second-stage', VTD_SECOND_STAGE_BITS],
  ['vtd-first-stage', X86_64_BITS],
  ['amd-v1', AMD_V1_BITS],
  ['amd-v2', X86_64_BITS],
  ['arm-stage1-4k', armStage1Bits(12)],
  ['arm-stage1-16k', armStage1Bits(14)],
  ['arm-stage1-64k', armStage1Bits(16)],
  ['arm-stage2-4k', armStage2Bits(12)],
  ['arm-stage2-16k', armStage2Bits(14)],
  ['arm-stage2-64k', armStage2Bits(16)],
  ['riscv-sv', RISCV_BITS],
  ['riscv-svx4', RISCV_BITS],
]);

/** The fields from bit 63 down; of a format that has no table of names here, the whole entry as one. */
export function entryFields(format: string, low: number, high: number, place: EntryPlace): EntryField[] {
  return decode(FIELDS.get(format) ?? [], low, high, place);
}

/** Names of formats whose bits are known. */
export const NAMED_FORMATS: readonly string[] = [...FIELDS.keys()];
