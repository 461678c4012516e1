/**
 * Page faults: what a process finds at an address that has no entry, or none that allows what it wants (Linux mm/memory.c:
 * `handle_mm_fault`, `do_anonymous_page`, `do_wp_page`, `do_fault`, `wp_page_copy`). Reading untouched anonymous memory finds the
 * zero page; writing finds a page of its own; writing what others share copies it, and that replacement is an invalidation.
 * A page that was swapped out comes back (`do_swap_page`).
 * Leaves out: NUMA hinting, the huge zero page, soft-dirty and accessed bits.
 */
import type { AddressSpace } from './addressSpace.ts';
import { PTE_DIRTY, PTE_MIGRATION, PTE_PRESENT, PTE_SWAP, PTE_WRITE } from './cpuPageTable.ts';
import { EFAULT, ENOMEM } from './memoryErrors.ts';
import { swapIn } from './swapArea.ts';
import { HUGE_PAGES } from './userPages.ts';
import type { VmArea } from './vmAreas.ts';

/**
 * 0, -EFAULT (no area, or it does not allow this) or -ENOMEM. `unshare` (FAULT_FLAG_UNSHARE): a page of its own although it
 * only reads, since a pin must go on seeing what the process will write.
 */
export function handleMmFault(mm: AddressSpace, page: number, write: boolean, unshare = false): number {
  const area = mm.areas.find(page);
  if (area === null || (write ? !area.writable : !area.readable)) return EFAULT;
  // a page under way: the fault waits until it has arrived
  if ((mm.table.flagsOf(page) & PTE_MIGRATION) !== 0) mm.migrations.get(page)!.finish();
  const flags = mm.table.flagsOf(page);
  if (flags === 0) {
    mm.faults += 1;
    return populate(mm, area, page, write || (unshare && copiesOnWrite(area)));
  }
  if ((flags & PTE_SWAP) !== 0) return swapIn(mm, area, page);
  if (write && (flags & PTE_WRITE) === 0) {
    mm.faults += 1;
    return allowWrite(mm, area, page);
  }
  if (unshare && mustUnshare(mm, area, page)) {
    mm.faults += 1;
    return replaceByCopy(mm, page, PTE_PRESENT);
  }
  return 0;
}

/** Whether a pin for reading needs a page of its own first (`gup_must_unshare`). */
export function mustUnshare(mm: AddressSpace, area: VmArea, page: number): boolean {
  const { table, pages } = mm;
  if (!copiesOnWrite(area) || (table.flagsOf(page) & PTE_WRITE) !== 0) return false;
  const frame = table.pageOf(page);
  return frame === pages.zeroPage || pages.references(frame) - pages.pinCount(frame) > 1;
}

/** `is_cow_mapping`: private, so that a write makes a page of its own. */
function copiesOnWrite(area: VmArea): boolean {
  return area.kind === 'anonymous' || area.kind === 'file';
}

function populate(mm: AddressSpace, area: VmArea, page: number, write: boolean): number {
  const { table, pages } = mm;
  const writeFlags = area.writable ? PTE_WRITE | PTE_DIRTY : 0;
  switch (area.kind) {
    case 'anonymous': {
      if (write && populateHuge(mm, area, page)) return 0;
      if (!write) {
        table.set(page, pages.zeroPage, PTE_PRESENT);
        return 0;
      }
      const frame = pages.allocate();
      if (frame < 0) return ENOMEM;
      table.set(page, frame, PTE_PRESENT | writeFlags);
      return 0;
    }
    case 'file': {
      const cached = area.file!.pageAt(area.offset + page - area.start);
      if (cached < 0) return ENOMEM;
      const frame = write ? pages.allocate() : cached;
      if (frame < 0) return ENOMEM;
      if (write) pages.copy(cached, frame);
      else pages.hold(frame);
      table.set(page, frame, PTE_PRESENT | (write ? writeFlags : 0));
      return 0;
    }
    case 'pfnmap':
    case 'p2p': {
      const frame = area.offset + page - area.start;
      pages.hold(frame);
      table.set(page, frame, PTE_PRESENT | (area.writable ? PTE_WRITE : 0));
      return 0;
    }
  }
}

/** One entry for 2 MiB, where the area holds them whole and nothing is there yet; without memory for it, small pages do. */
function populateHuge(mm: AddressSpace, area: VmArea, page: number): boolean {
  const first = page - (page % HUGE_PAGES);
  if (!area.hugePages || first < area.start || first + HUGE_PAGES > area.end) return false;
  if (!mm.table.isEmptyRegion(first)) return false;
  const frame = mm.pages.allocateHuge();
  if (frame < 0) return false;
  mm.table.setHuge(first, frame, PTE_PRESENT | (area.writable ? PTE_WRITE | PTE_DIRTY : 0));
  return true;
}

/** `do_wp_page`: a page that nobody shares becomes writable as it is; every other is copied. */
function allowWrite(mm: AddressSpace, area: VmArea, page: number): number {
  const { table, pages } = mm;
  const frame = table.pageOf(page);
  const alone = frame !== pages.zeroPage && pages.references(frame) - pages.pinCount(frame) === 1;
  if (!copiesOnWrite(area) || alone) {
    table.set(page, frame, table.flagsOf(page) | PTE_WRITE | PTE_DIRTY);
    return 0;
  }
  return replaceByCopy(mm, page, PTE_PRESENT | PTE_WRITE | PTE_DIRTY);
}

/** `wp_page_copy`. */
function replaceByCopy(mm: AddressSpace, page: number, flags: number): number {
  const { table, pages } = mm;
  const old = table.pageOf(page);
  const frame = pages.allocate();
  if (frame < 0) return ENOMEM;
  pages.copy(old, frame);
  mm.invalidate(page, page + 1, 'clear', () => {
    table.set(page, frame, flags);
  });
  pages.release(old);
  return 0;
}
