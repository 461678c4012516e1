/**
 * Commands of a RISC-V IOMMU as software writes them, four words of 32 bits each (RISC-V IOMMU specification 1.0, 4.1; Linux
 * drivers/iommu/riscv/iommu-bits.h).
 *
 * | command        | opcode 6:0, func3 9:7 | operands                                                                          |
 * | -------------- | --- | --------------------------------------------------------------------------------------------------- |
 * | IOTINVAL.VMA   | 1, 0 | AV 10, PSCID 31:12, PSCV 32, GV 33, NL 34, GSCID 59:44, S 73, address 125:74                       |
 * | IOTINVAL.GVMA  | 1, 1 | the same without PSCID and PSCV                                                                    |
 * | IOFENCE.C      | 2, 0 | AV 10 (write data), WSI 11, PR 12, PW 13, data 63:32, address 125:64 of words                      |
 * | IODIR.INVAL_DDT | 3, 0 | DV 33, DID 63:40                                                                                  |
 * | IODIR.INVAL_PDT | 3, 1 | PID 31:12, DV 33, DID 63:40                                                                       |
 * | ATS.INVAL      | 4, 0 | PID 31:12, PV 32, DSV 33, RID 55:40, DSEG 63:56, payload 127:64                                    |
 * | ATS.PRGR       | 4, 1 | the same                                                                                           |
 *
 * With S an address means the range of twice its lowest zero bit; NL takes pointers to tables too. Both are extensions.
 */

export const OPCODE_IOTINVAL = 1;
export const OPCODE_IOFENCE = 2;
export const OPCODE_IODIR = 3;
export const OPCODE_ATS = 4;
export const FUNC_VMA = 0;
export const FUNC_GVMA = 1;
export const FUNC_FENCE = 0;
export const FUNC_INVAL_DDT = 0;
export const FUNC_INVAL_PDT = 1;
export const FUNC_ATS_INVAL = 0;
export const FUNC_ATS_PRGR = 1;

export const COMMAND_WORDS = 4;
export const AV = 1 << 10;
/** In the second word. */
export const PSCV = 1 << 0;
export const GV = 1 << 1;
export const DV = 1 << 1;
export const NL = 1 << 2;
export const GSCID_SHIFT = 12;
export const DID_SHIFT = 8;
/** In the third word. */
export const RANGE = 1 << 9;
export const ADDRESS_SHIFT = 10;
const ADDRESS_LOW = 2 ** 22;
const FUNC_SHIFT = 7;
/** In place of a tag, an address or a device that is left open. */
export const OPEN = -1;

function put(batch: Uint32Array, index: number, first: number, second: number, low: number, high: number): void {
  const word = index * COMMAND_WORDS;
  batch[word] = first;
  batch[word + 1] = second;
  batch[word + 2] = low;
  batch[word + 3] = high;
}

/** IOTINVAL.VMA of pages 2^log2Pages from `page` on, naturally aligned; each of the three may be OPEN. */
export function invalidateVma(
  batch: Uint32Array,
  index: number,
  gscid: number,
  pscid: number,
  page: number,
  log2Pages = 0,
  nonLeaf = false,
): void {
  const first = OPCODE_IOTINVAL | (FUNC_VMA << FUNC_SHIFT) | (page === OPEN ? 0 : AV);
  const tagged = (pscid === OPEN ? 0 : PSCV) | (gscid === OPEN ? 0 : GV | (gscid << GSCID_SHIFT));
  putAddress(batch, index, first | (pscid === OPEN ? 0 : pscid << 12), tagged | (nonLeaf ? NL : 0), page, log2Pages);
}

/** IOTINVAL.GVMA. */
export function invalidateGvma(batch: Uint32Array, index: number, gscid: number, page: number, log2Pages = 0): void {
  const first = OPCODE_IOTINVAL | (FUNC_GVMA << FUNC_SHIFT) | (page === OPEN ? 0 : AV);
  putAddress(batch, index, first, gscid === OPEN ? 0 : GV | (gscid << GSCID_SHIFT), page, log2Pages);
}

function putAddress(
  batch: Uint32Array,
  index: number,
  first: number,
  second: number,
  page: number,
  log2Pages: number,
): void {
  if (page === OPEN) {
    put(batch, index, first >>> 0, second >>> 0, 0, 0);
    return;
  }
  // the lowest zero of the address stands for half the range; a single page has no room to say its size
  const span = 2 ** log2Pages;
  const address = log2Pages === 0 ? page : page - (page % span) + span / 2 - 1;
  const low = ((address % ADDRESS_LOW) * 2 ** ADDRESS_SHIFT + (log2Pages === 0 ? 0 : RANGE)) >>> 0;
  put(batch, index, first >>> 0, second >>> 0, low, Math.floor(address / ADDRESS_LOW));
}

/** IOFENCE.C that waits for reads and writes under way and writes nothing. */
export function fence(batch: Uint32Array, index: number): void {
  put(batch, index, OPCODE_IOFENCE | (3 << 12), 0, 0, 0);
}

/** IODIR.INVAL_DDT; `deviceId` may be OPEN. */
export function invalidateDeviceContext(batch: Uint32Array, index: number, deviceId: number): void {
  put(batch, index, OPCODE_IODIR, deviceId === OPEN ? 0 : (DV | (deviceId << DID_SHIFT)) >>> 0, 0, 0);
}

/** IODIR.INVAL_PDT. */
export function invalidateProcessContext(batch: Uint32Array, index: number, deviceId: number, processId: number): void {
  const first = OPCODE_IODIR | (FUNC_INVAL_PDT << FUNC_SHIFT) | (processId << 12);
  put(batch, index, first >>> 0, (DV | (deviceId << DID_SHIFT)) >>> 0, 0, 0);
}
