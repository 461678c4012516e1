/**
 * What no request of an NVMe drive can be, whatever a recording says of it (NVM Express Base Specification 2.0, 4.1: a transfer is
 * whole logical blocks in pieces of whole doublewords; physical addresses have at most 52 bits). A recording is hostile input:
 * sizes that a drive never sees would make a replay walk through terabytes, or never end.
 */
import { LabError } from '../time/labError.ts';
import type { RecordedMemory } from './recordingVectors.ts';

const LARGEST_REQUEST_BYTES = 64 * 2 ** 20;
const PHYSICAL_ADDRESS_END = 2 ** 52;
const LOGICAL_BLOCK_BYTES = 512;
const DOUBLEWORD_BYTES = 4;
const REMEDY = 'Record again, or restore the text of the trace.';

/** Throws when no machine can hold the memory of a request; `where` is file and line. */
export function checkRecordedMemory(memory: RecordedMemory, where: string): void {
  if (memory.bytes > LARGEST_REQUEST_BYTES) {
    throw new LabError(where, `this command maps ${memory.bytes} bytes, more than any NVMe command moves.`, REMEDY);
  }
  for (const { phys, length } of memory.vectors) {
    if (phys + length <= PHYSICAL_ADDRESS_END) continue;
    throw new LabError(where, `0x${phys.toString(16)} is no physical address: those have at most 52 bits.`, REMEDY);
  }
}

/** Throws when a drive could not move the memory of a request. */
export function checkRecordedTransfer(memory: RecordedMemory, where: string): void {
  const { bytes, vectors } = memory;
  if (bytes % LOGICAL_BLOCK_BYTES !== 0) {
    throw new LabError(where, `this command maps ${bytes} bytes, which are not whole blocks of 512.`, REMEDY);
  }
  const odd = vectors.find(({ phys, length }) => phys % DOUBLEWORD_BYTES !== 0 || length % DOUBLEWORD_BYTES !== 0);
  if (odd === undefined) return;
  const piece = `${odd.length} bytes at 0x${odd.phys.toString(16)}`;
  throw new LabError(where, `this command maps ${piece}, and a drive moves whole doublewords of 4 bytes only.`, REMEDY);
}
