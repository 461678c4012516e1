/**
 * Pages that memory has no room for: written to a swap area, their entries gone from the page table, and read back by the next fault (Linux
 * mm/vmscan.c `shrink_folio_list`, mm/rmap.c `try_to_unmap`, mm/memory.c `do_swap_page`). Whoever mirrors the page is told before it goes, so what a
 * device still wrote is part of what is kept.
 * Leaves out: who chooses the page, the device behind the area and its time, the swap cache, pages that several page tables hold.
 */
import type { AddressSpace } from './addressSpace.ts';
import { PAGE_SIZE } from './addresses.ts';
import { PTE_DIRTY, PTE_PRESENT, PTE_SWAP, PTE_WRITE } from './cpuPageTable.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from './memoryErrors.ts';
import type { VmArea } from './vmAreas.ts';

/** What one process has in the swap area, by slot. */
export class SwapArea {
  private readonly slots = new Map<number, Uint8Array>();
  private nextSlot = 1;

  /** Pages that lie here. */
  get used(): number {
    return this.slots.size;
  }

  store(content: Uint8Array): number {
    const slot = this.nextSlot;
    this.nextSlot += 1;
    this.slots.set(slot, content);
    return slot;
  }

  content(slot: number): Uint8Array {
    const content = this.slots.get(slot);
    if (content === undefined) throw new Error(`slot ${String(slot)} of the swap area is empty`);
    return content;
  }

  free(slot: number): void {
    this.slots.delete(slot);
  }
}

/** 0; there is no page (-EFAULT), it is none that is swapped (-EINVAL), or somebody else holds it (-EAGAIN). */
export function swapOut(mm: AddressSpace, page: number): number {
  const { table, pages } = mm;
  if ((table.flagsOf(page) & PTE_PRESENT) === 0) return EFAULT;
  const frame = table.pageOf(page);
  const isPeer = (pages.kinds?.providerOf(frame) ?? null) !== null;
  if (mm.areas.find(page)?.kind !== 'anonymous' || isPeer || frame === pages.zeroPage) return EINVAL;
  // what a confidential guest shares with its host is bounce memory, which the kernel never swaps
  if (pages.kinds?.confidential === true && !pages.kinds.isPrivate(frame)) return EINVAL;
  if (pages.references(frame) !== 1) return EAGAIN;
  mm.invalidate(page, page + 1, 'clear', () => {
    const content = new Uint8Array(PAGE_SIZE);
    pages.memory.readBytes(frame * PAGE_SIZE, content, 0, PAGE_SIZE);
    table.set(page, mm.swap.store(content), PTE_SWAP);
  });
  pages.release(frame);
  return 0;
}

/** 0, or -ENOMEM: the page stays where it is. */
export function swapIn(mm: AddressSpace, area: VmArea, page: number): number {
  const { table, pages, swap } = mm;
  const frame = pages.allocate();
  if (frame < 0) return ENOMEM;
  const slot = table.pageOf(page);
  pages.memory.writeBytes(frame * PAGE_SIZE, swap.content(slot), 0, PAGE_SIZE);
  swap.free(slot);
  mm.faults += 1;
  mm.majorFaults += 1;
  table.set(page, frame, PTE_PRESENT | (area.writable ? PTE_WRITE | PTE_DIRTY : 0));
  return 0;
}
