/**
 * Invalidation descriptors of VT-d as the driver writes them from a word of a batch on, in 32-bit words (Linux drivers/iommu/intel/iommu.h `qi_desc_iotlb`,
 * `qi_desc_piotlb`, `qi_desc_dev_iotlb`; VT-d specification 6.5.2.3 to 6.5.2.5).
 *
 * | descriptor  | type 3:0 | operands                                                                                   |
 * | ----------- | -------- | ------------------------------------------------------------------------------------------ |
 * | IOTLB       | 2        | granularity 5:4 (2 domain, 3 page), DW 6, DR 7, DID 31:16; AM 69:64, IH 70, ADDR 127:76    |
 * | device TLB  | 3        | MaxInvsPend 20:16, SID 47:32; S 64, ADDR 127:76                                            |
 * | PASID IOTLB | 6        | granularity 5:4 (2 PASID, 3 page), DID 31:16, PASID 51:32; as IOTLB                        |
 *
 * With S a device TLB forgets the naturally aligned range whose size is twice the value of the lowest address bit that is zero.
 * Leaves out: PFSID, by which hardware that asks for it (ECAP.DIT) accounts a virtual function to its physical one.
 */
const IOTLB = 0x2;
const DEVICE_TLB = 0x3;
/** Requests without PASID have the one that stands for them, 0. */
const PASID_IOTLB = 0x6;
const DRAIN_READS_AND_WRITES = 0xc0;
const GRANULARITY_DOMAIN = 2 << 4;
const GRANULARITY_PAGE = 3 << 4;
const INVALIDATION_HINT = 1 << 6;
const SIZE_IN_ADDRESS = 1;
const MAX_PENDING_SHIFT = 16;
/** `QI_DEV_IOTLB_MAX_INVS`: as many are said as 0. */
const MAX_PENDING_VALUES = 32;
const PAGE_SIZE = 4096;
const FOUR_GIB = 2 ** 32;
const LOW_PAGES = 2 ** 20;

/** In legacy mode, and in scalable mode (`qi_shift`), where the upper half of all of these is 0. */
export const DESCRIPTOR_WORDS = 4;
export const SCALABLE_DESCRIPTOR_WORDS = 8;

/** `firstStage`: of first-stage tables, whose translations are tagged by PASID too. */
export function iotlbPages(
  batch: Uint32Array,
  word: number,
  firstStage: boolean,
  domainId: number,
  address: number,
  mask: number,
  hint: boolean,
): void {
  batch[word] = (typeOf(firstStage) | GRANULARITY_PAGE | (domainId << 16)) >>> 0;
  batch[word + 1] = 0;
  batch[word + 2] = (address % FOUR_GIB) + (hint ? INVALIDATION_HINT : 0) + mask;
  batch[word + 3] = Math.floor(address / FOUR_GIB);
}

export function iotlbDomain(batch: Uint32Array, word: number, firstStage: boolean, domainId: number): void {
  batch[word] = (typeOf(firstStage) | GRANULARITY_DOMAIN | (domainId << 16)) >>> 0;
  batch[word + 1] = 0;
  batch[word + 2] = 0;
  batch[word + 3] = 0;
}

/** `address` aligned to 4096 << mask; `maxPending`: invalidations that the device takes at a time. */
export function deviceTlbPages(
  batch: Uint32Array,
  word: number,
  sourceId: number,
  maxPending: number,
  address: number,
  mask: number,
): void {
  const page = address / PAGE_SIZE + (mask === 0 ? 0 : 2 ** (mask - 1) - 1);
  batch[word] = DEVICE_TLB | ((maxPending % MAX_PENDING_VALUES) << MAX_PENDING_SHIFT);
  batch[word + 1] = sourceId;
  batch[word + 2] = (((page % LOW_PAGES) << 12) | (mask === 0 ? 0 : SIZE_IN_ADDRESS)) >>> 0;
  batch[word + 3] = Math.floor(page / LOW_PAGES);
}

function typeOf(firstStage: boolean): number {
  return firstStage ? PASID_IOTLB : IOTLB | DRAIN_READS_AND_WRITES;
}
