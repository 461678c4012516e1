/**
 * Pages that change under a process that does not notice: moved to another frame, taken to a peer's memory or back, shared with a
 * child, made private or shared in a confidential guest (Linux mm/migrate.c, `dup_mmap` and `copy_present_pte` in mm/memory.c,
 * mm/migrate_device.c, arch/x86/mm/pat/set_memory.c). A pinned page never moves.
 * Leaves out: the reverse map, so a page that several page tables hold is not migrated; batches of pages.
 */
import { AddressSpace, type PageMigration } from './addressSpace.ts';
import { convertPages } from './confidentialMemory.ts';
import { PTE_DIRTY, PTE_MIGRATION, PTE_PRESENT, PTE_SWAP, PTE_WRITE } from './cpuPageTable.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from './memoryErrors.ts';
import { HUGE_PAGES } from './userPages.ts';

/**
 * Takes a page's entry away, so that a migration entry stands there until `finish`. A negative errno: there is no page (-EFAULT),
 * it is none that moves (-EINVAL), or somebody else holds it (-EAGAIN).
 */
export function beginMigration(mm: AddressSpace, page: number): PageMigration | number {
  const { table, pages, migrations } = mm;
  const flags = table.flagsOf(page);
  if ((flags & PTE_PRESENT) === 0) return EFAULT;
  const frame = table.pageOf(page);
  if (mm.areas.find(page)?.kind !== 'anonymous' || isPeer(mm, frame) || frame === pages.zeroPage) return EINVAL;
  if (pages.references(frame) !== 1) return EAGAIN;
  mm.invalidate(page, page + 1, 'clear', () => {
    table.set(page, frame, (flags & ~PTE_PRESENT) | PTE_MIGRATION);
  });
  const migration = {
    finish: () => {
      if (migrations.get(page) !== migration) return;
      migrations.delete(page);
      const target = pages.allocate();
      if (target >= 0) {
        if (pages.kinds !== null) pages.kinds.setPrivate(target, 1, pages.kinds.isPrivate(frame));
        pages.copy(frame, target);
        if (pages.isDirty(frame)) pages.markDirty(target);
        pages.release(frame);
      }
      // the entry may have been write-protected on the way
      table.set(page, target >= 0 ? target : frame, (table.flagsOf(page) & ~PTE_MIGRATION) | PTE_PRESENT);
    },
  };
  migrations.set(page, migration);
  return migration;
}

/** Moves a page to another frame at once: 0, or why not. */
export function migratePage(mm: AddressSpace, page: number): number {
  const migration = beginMigration(mm, page);
  if (typeof migration === 'number') return migration;
  migration.finish();
  return 0;
}

/**
 * The process's page goes to a peer's memory, as a GPU driver that migrates does where the CPU can see its memory. `peerPage`
 * must be one of a provider. 0 or a negative errno.
 */
export function movePageToPeer(mm: AddressSpace, page: number, peerPage: number): number {
  if (!isPeer(mm, peerPage)) return EINVAL;
  return replaceFrame(mm, page, () => {
    mm.pages.hold(peerPage);
    return peerPage;
  });
}

/** The other way: to a new frame of RAM. */
export function movePageToRam(mm: AddressSpace, page: number): number {
  return replaceFrame(mm, page, () => mm.pages.allocate());
}

/**
 * Makes the RAM pages of a range private, or shared with the host (KVM_MEMORY_ATTRIBUTE_PRIVATE and set_memory_decrypted). What
 * they held is garbled, since it was written under the other key. Pinned pages stay: -EAGAIN, and nothing has changed.
 */
export function convertRange(mm: AddressSpace, start: number, count: number, isPrivate: boolean): number {
  const { table, pages } = mm;
  const end = start + count;
  const { kinds } = pages;
  if (kinds?.confidential !== true) return EINVAL;
  for (let page = start; page < end; page += 1) {
    if (mm.fault(page, true) !== 0) return EFAULT;
    const frame = table.pageOf(page);
    if (isPeer(mm, frame)) return EINVAL;
    if (pages.references(frame) !== 1) return EAGAIN;
  }
  mm.invalidate(start, end, 'clear', () => {
    for (let page = start; page < end; page += 1) convertPages(pages.memory, kinds, table.pageOf(page), 1, isPrivate);
  });
  return 0;
}

/**
 * `fork`: a child that shares all private pages until one of the two writes. Pages that a device may be writing to are copied
 * for the child at once, so that the parent keeps the pinned ones. Null when memory runs out.
 */
export function forkAddressSpace(parent: AddressSpace, name: string): AddressSpace | null {
  const { pages } = parent;
  const child = new AddressSpace({ name, pages, lockedPagesLimit: parent.lockedPagesLimit });
  for (const area of parent.areas.all) {
    child.areas.insert(area);
    const shared = area.kind === 'pfnmap' || area.kind === 'p2p';
    let complete = true;
    if (shared) complete = shareEntries(parent, child, area.start, area.end, true);
    else {
      parent.invalidate(area.start, area.end, 'protection_page', () => {
        complete = shareEntries(parent, child, area.start, area.end, false);
      });
    }
    if (complete) continue;
    child.exit();
    return null;
  }
  return child;
}

function shareEntries(parent: AddressSpace, child: AddressSpace, start: number, end: number, shared: boolean): boolean {
  const { table, pages, migrations } = parent;
  for (let page = table.next(start, end); page < end; page = table.next(page + 1, end)) {
    migrations.get(page)?.finish();
    if ((table.flagsOf(page) & PTE_SWAP) !== 0 && parent.fault(page, false) !== 0) return false;
    const frame = table.pageOf(page);
    const flags = table.flagsOf(page);
    if (pages.pinCount(frame) > 0 && !shared) {
      const copy = pages.allocate();
      if (copy < 0) return false;
      if (pages.kinds !== null) pages.kinds.setPrivate(copy, 1, pages.kinds.isPrivate(frame));
      pages.copy(frame, copy);
      child.table.set(page, copy, flags);
    } else if (table.isHuge(page) && page % HUGE_PAGES === 0 && page + HUGE_PAGES <= end && noPins(parent, frame)) {
      for (let part = frame; part < frame + HUGE_PAGES; part += 1) pages.hold(part);
      table.protect(page, ~PTE_WRITE, start, end);
      child.table.setHuge(page, frame, flags & ~PTE_WRITE);
      page += HUGE_PAGES - 1;
    } else {
      pages.hold(frame);
      if (!shared) table.protect(page, ~PTE_WRITE, page, page + 1);
      child.table.set(page, frame, shared ? flags : flags & ~PTE_WRITE);
    }
  }
  return true;
}

/** Of a huge entry's frames. */
function noPins(mm: AddressSpace, first: number): boolean {
  for (let frame = first; frame < first + HUGE_PAGES; frame += 1) if (mm.pages.pinCount(frame) > 0) return false;
  return true;
}

function isPeer(mm: AddressSpace, frame: number): boolean {
  return (mm.pages.kinds?.providerOf(frame) ?? null) !== null;
}

function replaceFrame(mm: AddressSpace, page: number, take: () => number): number {
  const { table, pages } = mm;
  const area = mm.areas.find(page);
  if (area === null || area.kind === 'pfnmap') return EFAULT;
  const fault = mm.fault(page, false);
  if (fault !== 0) return fault;
  const old = table.pageOf(page);
  if (pages.pinCount(old) > 0) return EAGAIN;
  const frame = take();
  if (frame < 0) return ENOMEM;
  mm.invalidate(page, page + 1, 'migrate', () => {
    pages.copy(old, frame);
    table.set(page, frame, PTE_PRESENT | (area.writable ? PTE_WRITE | PTE_DIRTY : 0));
  });
  pages.release(old);
  return 0;
}
