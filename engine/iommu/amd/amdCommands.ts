/**
 * Commands of AMD's IOMMU as software writes them, four words of 32 bits each (AMD specification 48882, 2.4; Linux
 * drivers/iommu/amd/iommu.c `build_inv_address`, `build_inv_iommu_pages`, `build_inv_iotlb_pages`, `build_inv_dte`).
 *
 * | command                 | opcode 63:60 | operands                                                                    |
 * | ----------------------- | ------------ | --------------------------------------------------------------------------- |
 * | COMPLETION_WAIT         | 1            | S 0 (store), address 51:3, data 127:64                                      |
 * | INVALIDATE_DEVTAB_ENTRY | 2            | DeviceID 15:0                                                               |
 * | INVALIDATE_IOMMU_PAGES  | 3            | PASID 19:0, DomainID 47:32, S 64, PDE 65 (upper levels too), GN 66, address 127:76 |
 * | INVALIDATE_IOTLB_PAGES  | 4            | DeviceID 15:0, PASID 23:16 and 59:48, Maxpend 31:24, QueueID 47:32, S 64, GN 66, address 127:76 |
 * | INVALIDATE_IOMMU_ALL    | 8            |                                                                             |
 *
 * With S the range is the naturally aligned one whose size is twice the value of the lowest address bit that is zero. Maxpend is how many
 * invalidations the device takes at a time; GN says that the command is for the translations of one process, which PASID names.
 * Leaves out: interrupt tables, prefetch, page requests.
 */
export const OPCODE_SHIFT = 28;
export const COMPLETION_WAIT = 1;
export const INVALIDATE_DEVTAB_ENTRY = 2;
export const INVALIDATE_IOMMU_PAGES = 3;
export const INVALIDATE_IOTLB_PAGES = 4;
export const INVALIDATE_IOMMU_ALL = 8;
export const COMMAND_WORDS = 4;
/** S: of COMPLETION_WAIT that it stores, of an address that it says the size. */
export const STORE = 1;
export const SIZE_IN_ADDRESS = 1;
export const UPPER_LEVELS_TOO = 2;
/** GN: for one process. */
export const FOR_PROCESS = 4;
export const LOW_PAGES = 2 ** 20;
const MAXPEND_SHIFT = 24;
/** Bits 63:12 all ones but the highest: every page. */
const ALL_PAGES_LOW = 0xffff_f000;
const ALL_PAGES_HIGH = 0x7fff_ffff;
/** Pages of the largest range that the driver names short of everything: 2^52 bytes. */
const LARGEST_SPAN = 2 ** 40;

/** `build_inv_iommu_pages` of a domain's pages [first, last]. */
export function invalidatePages(
  batch: Uint32Array,
  index: number,
  domainId: number,
  first: number,
  last: number,
): void {
  const word = index * COMMAND_WORDS;
  batch[word] = 0;
  batch[word + 1] = ((INVALIDATE_IOMMU_PAGES << OPCODE_SHIFT) | domainId) >>> 0;
  writeRange(batch, word, first, last, UPPER_LEVELS_TOO);
}

/** `CMD_INV_IOMMU_ALL_PAGES_ADDRESS`: every page of a domain. */
export function invalidateDomain(batch: Uint32Array, index: number, domainId: number): void {
  invalidatePages(batch, index, domainId, 0, Infinity);
}

/** `build_inv_iotlb_pages` of the pages [first, last] in a device's own cache; every page: to Infinity. */
export function invalidateDevicePages(
  batch: Uint32Array,
  index: number,
  sourceId: number,
  mostPending: number,
  first: number,
  last: number,
): void {
  const word = index * COMMAND_WORDS;
  batch[word] = (sourceId | (mostPending << MAXPEND_SHIFT)) >>> 0;
  batch[word + 1] = ((INVALIDATE_IOTLB_PAGES << OPCODE_SHIFT) | sourceId) >>> 0;
  writeRange(batch, word, first, last, 0);
}

export function invalidateDeviceEntry(batch: Uint32Array, index: number, sourceId: number): void {
  const word = index * COMMAND_WORDS;
  batch[word] = sourceId;
  batch[word + 1] = (INVALIDATE_DEVTAB_ENTRY << OPCODE_SHIFT) >>> 0;
  batch[word + 2] = 0;
  batch[word + 3] = 0;
}

/** `build_inv_address`: the smallest naturally aligned range around [first, last] that the address can say. */
function writeRange(batch: Uint32Array, word: number, first: number, last: number, flags: number): void {
  let span = 1;
  while (span <= LARGEST_SPAN && Math.floor(first / span) !== Math.floor(last / span)) span *= 2;
  if (span > LARGEST_SPAN) {
    batch[word + 2] = (ALL_PAGES_LOW | SIZE_IN_ADDRESS | flags) >>> 0;
    batch[word + 3] = ALL_PAGES_HIGH;
    return;
  }
  // the lowest zero of the address stands for half the span; a single page has no room to say its size, and needs none
  const address = span === 1 ? first : first - (first % span) + span / 2 - 1;
  const sized = span === 1 ? 0 : SIZE_IN_ADDRESS;
  batch[word + 2] = (((address % LOW_PAGES) << 12) | sized | flags) >>> 0;
  batch[word + 3] = Math.floor(address / LOW_PAGES);
}
