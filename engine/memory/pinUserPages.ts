/**
 * Holding a process's pages for DMA (Linux mm/gup.c: `pin_user_pages`, `check_vma_flags`, `gup_must_unshare`,
 * `unpin_user_pages_dirty_lock`; the charge against RLIMIT_MEMLOCK as drivers/infiniband/core/umem.c makes it). And the variant
 * that the thread of March 2024 asks for, which stops where the kind of memory changes.
 * Leaves out: FOLL_FORCE, gup-fast, moving pages out of movable zones for FOLL_LONGTERM, hugetlb and DAX.
 */
import type { AddressSpace } from './addressSpace.ts';
import { EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, EREMOTEIO } from './memoryErrors.ts';
import { handleMmFault, mustUnshare } from './mmFault.ts';
import type { UserPages } from './userPages.ts';
import type { VmArea } from './vmAreas.ts';

/** The device will write. */
export const FOLL_WRITE = 1 << 0;
/** For as long as the user likes, not for one I/O. */
export const FOLL_LONGTERM = 1 << 8;
/** A peer's memory is welcome. */
export const FOLL_PCI_P2PDMA = 1 << 10;
/** Only a sketch on the mailing list: stop before the first page whose provider is not that of the first. */
export const FOLL_STRICT = 1 << 16;

/**
 * Pins `count` pages from page `start` and puts them into `target` at `at`. The number pinned, which may be less than asked, or
 * a negative errno when the first already fails: -EFAULT, -ENOMEM, -EREMOTEIO (a peer's memory without FOLL_PCI_P2PDMA),
 * -EOPNOTSUPP (that flag with FOLL_LONGTERM: the peer could never be unplugged), -EINVAL.
 */
export function pinUserPages(
  mm: AddressSpace,
  start: number,
  count: number,
  flags: number,
  target: Float64Array,
  at = 0,
): number {
  if (count < 0 || at + count > target.length) return EINVAL;
  const { pages } = mm;
  let first: unknown = null;
  for (let done = 0; done < count; done += 1) {
    const frame = framePinnable(mm, start + done, flags);
    if (frame < 0) return done > 0 ? done : frame;
    const provider = pages.kinds?.providerOf(frame) ?? null;
    if (provider !== null && (flags & FOLL_PCI_P2PDMA) === 0) return done > 0 ? done : EREMOTEIO;
    if (done === 0) first = provider;
    else if ((flags & FOLL_STRICT) !== 0 && provider !== first) return done;
    pages.pin(frame);
    target[at + done] = frame;
  }
  return count;
}

/** `unpin_user_pages_dirty_lock`. */
export function unpinUserPages(pages: UserPages, list: Float64Array, count: number, dirty: boolean, at = 0): void {
  for (let index = at; index < at + count; index += 1) pages.unpin(list[index]!, dirty);
}

/** Counts pages against the limit of locked memory before they are pinned: 0 or -ENOMEM. CAP_IPC_LOCK is not asked. */
export function chargePinnedPages(mm: AddressSpace, count: number): number {
  if (mm.pinnedPages + count > mm.lockedPagesLimit) return ENOMEM;
  mm.pinnedPages += count;
  return 0;
}

export function unchargePinnedPages(mm: AddressSpace, count: number): void {
  if (count > mm.pinnedPages) throw new Error(`${mm.name} gives back more locked pages than it was charged for`);
  mm.pinnedPages -= count;
}

/** The frame behind a page of addresses, made present as the pin needs it. */
function framePinnable(mm: AddressSpace, page: number, flags: number): number {
  const write = (flags & FOLL_WRITE) !== 0;
  const longTerm = (flags & FOLL_LONGTERM) !== 0;
  const area = mm.areas.find(page);
  if (area === null) return EFAULT;
  const refused = checkAreaFlags(area, flags);
  if (refused !== 0) return refused;
  const fault = handleMmFault(mm, page, write, longTerm && !write);
  if (fault !== 0) return fault;
  // a short pin may look at the zero page or a file's page, but not at one that a write of the process would leave behind
  const frame = mm.table.pageOf(page);
  if (!write && !longTerm && area.kind === 'anonymous' && frame !== mm.pages.zeroPage && mustUnshare(mm, area, page)) {
    const copied = handleMmFault(mm, page, false, true);
    if (copied !== 0) return copied;
  }
  return mm.table.pageOf(page);
}

/** `check_vma_flags`. */
function checkAreaFlags(area: VmArea, flags: number): number {
  if (area.kind === 'pfnmap') return EFAULT;
  if ((flags & FOLL_LONGTERM) !== 0 && (flags & FOLL_PCI_P2PDMA) !== 0) return EOPNOTSUPP;
  if ((flags & FOLL_WRITE) !== 0) return area.writable ? 0 : EFAULT;
  return area.readable ? 0 : EFAULT;
}
