/**
 * Whose a cached translation is: the domain (VT-d, AMD), virtual machine (SMMUv3) or guest (RISC-V) and the address space in it, which is a
 * PASID, ASID or PSCID, or none, as for a second stage's own translations (VT-d specification 6.2.1; SMMUv3 specification IHI 0070, 3.3.3;
 * RISC-V IOMMU specification 1.0, 4.1). Both together are one number, so that a lookup compares one; without an address space it is the
 * domain's own.
 */

/** No address space; and in an invalidation, all of them. */
export const NO_SPACE = -1;
export const EVERY_SPACE = -2;
/** In an invalidation: whatever the domain. */
export const EVERY_DOMAIN = -1;

/** Domains have 16 bits, and RISC-V's guests begin at 1; address spaces have 20. */
const DOMAINS = 2 ** 17;
/** One past the last owner. */
export const OWNERS = 2 ** 38;

export function ownerOf(domainId: number, space: number): number {
  return (space + 1) * DOMAINS + domainId;
}

/** Of an owner, or of one with a multiple of OWNERS added. */
export function domainOf(owner: number): number {
  return owner & (DOMAINS - 1);
}

export function spaceOf(owner: number): number {
  return Math.floor((owner % OWNERS) / DOMAINS) - 1;
}

export function hasSpace(owner: number): boolean {
  return owner % OWNERS >= DOMAINS;
}
