/**
 * A process's address space: areas, page table, the notifiers that follow its changes, and what the CPU reads and writes through
 * it (Linux struct mm_struct, mm/mmap.c, mm/mprotect.c, mm/memory.c). Every change of entries stands between start and end of
 * an invalidation, as in the kernel. Faults are mmFault.ts; pages that move, pageMovement.ts; addresses are page numbers.
 * Pages that are swapped out are swapArea.ts.
 * Leaves out: locks (one thread), NUMA hinting, userfaultfd, protection keys.
 */
import { LabError } from '../time/labError.ts';
import { PAGE_SIZE } from './addresses.ts';
import { CpuPageTable, PTE_DIRTY, PTE_MIGRATION, PTE_SWAP, PTE_WRITE } from './cpuPageTable.ts';
import { IntervalNotifiers, type InvalidationEvent } from './intervalNotifier.ts';
import type { MappedFile } from './mappedFile.ts';
import { EFAULT, EINVAL, ENOMEM } from './memoryErrors.ts';
import { handleMmFault } from './mmFault.ts';
import { SwapArea } from './swapArea.ts';
import type { UserPages } from './userPages.ts';
import { VmAreas, type VmAreaKind } from './vmAreas.ts';

export interface MapRequest {
  readonly pages: number;
  readonly kind?: VmAreaKind;
  readonly readable?: boolean;
  readonly writable?: boolean;
  readonly hugePages?: boolean;
  /** First page; without it the lowest free place is taken, aligned to 2 MiB where huge entries are wanted. */
  readonly at?: number;
  /** For `file`. */
  readonly file?: MappedFile;
  /** Page of the file, or first physical page of `pfnmap` and `p2p`. */
  readonly offset?: number;
}

export interface AddressSpaceOptions {
  readonly name?: string;
  readonly pages: UserPages;
  /** RLIMIT_MEMLOCK in pages; default: none. */
  readonly lockedPagesLimit?: number;
}

/** A move of a page that has begun: whoever needs the page lets it end. */
export interface PageMigration {
  /** Puts the new page in place, or the old one back when memory had run out. */
  finish(): void;
}

/** Mappings begin at 4 GiB: a pointer near 0, or one cut to 32 bits, finds nothing. */
const LOWEST_PAGE = 0x10_0000;
/** 47 bits of addresses. */
const END_PAGE = 2 ** 35;
const HUGE_ALIGNMENT = 512;

export class AddressSpace {
  readonly name: string;
  readonly pages: UserPages;
  readonly areas = new VmAreas();
  readonly table = new CpuPageTable();
  readonly notifiers = new IntervalNotifiers();
  readonly swap = new SwapArea();
  /** By page of addresses. */
  readonly migrations = new Map<number, PageMigration>();
  readonly lockedPagesLimit: number;
  /** `pinned_vm`: pages charged against the limit. */
  pinnedPages = 0;
  /** Faults handled, of all kinds. */
  faults = 0;
  /** Of them, those that read the page from the swap area. */
  majorFaults = 0;
  /** False after exit. */
  alive = true;

  constructor(options: AddressSpaceOptions) {
    this.name = options.name ?? 'process';
    this.pages = options.pages;
    this.lockedPagesLimit = options.lockedPagesLimit ?? Infinity;
  }

  /** `mmap`: the first page, or -EINVAL or -ENOMEM. Nothing is populated. */
  map(request: MapRequest): number {
    const { pages, kind = 'anonymous', file = null, offset = 0, hugePages = false } = request;
    if (pages <= 0 || (kind === 'file') !== (file !== null) || !this.alive) return EINVAL;
    const start = request.at ?? this.freePlace(pages, hugePages ? HUGE_ALIGNMENT : 1);
    const end = start + pages;
    if (start < 0 || end > END_PAGE) return ENOMEM;
    if (!this.areas.isFree(start, end)) this.unmap(start, pages);
    const { readable = true, writable = true } = request;
    this.areas.insert({ start, end, kind, readable, writable, hugePages, file, offset });
    return start;
  }

  /** `munmap`. */
  unmap(start: number, pages: number): void {
    const end = start + pages;
    this.invalidate(start, end, 'unmap', () => {
      this.zap(start, end);
      this.areas.update(start, end, () => null);
    });
  }

  /** `madvise(MADV_DONTNEED)`: the area stays, its pages go. Not blockable, as when memory runs out: 0 or -EAGAIN. */
  discard(start: number, pages: number, blockable = true): number {
    const end = start + pages;
    const ret = this.notifiers.invalidateRangeStart({ start, end, event: 'clear', blockable });
    if (ret !== 0) return ret;
    this.zap(start, end);
    this.notifiers.invalidateRangeEnd();
    return 0;
  }

  /** `mprotect`; 0, or -ENOMEM where nothing is mapped. What becomes allowed is granted by the next fault. */
  protect(start: number, pages: number, permissions: { readable?: boolean; writable?: boolean }): number {
    const end = start + pages;
    for (let page = start; page < end;) {
      const area = this.areas.find(page);
      if (area === null) return ENOMEM;
      page = area.end;
    }
    this.areas.update(start, end, (area) => ({ ...area, ...permissions }));
    this.invalidate(start, end, 'protection_vma', () => {
      if (permissions.writable === false) this.writeProtect(start, end);
    });
    return 0;
  }

  /** `handle_mm_fault` for one page: 0 or a negative errno. */
  fault(page: number, write: boolean): number {
    return handleMmFault(this, page, write);
  }

  /** What the process reads at a byte address: 0, or -EFAULT with the rest of `target` untouched. */
  read(address: number, target: Uint8Array): number {
    return this.access(address, target, false);
  }

  /** What the process writes. */
  write(address: number, source: Uint8Array): number {
    return this.access(address, source, true);
  }

  /** The process ends: mirrors are told first, then all pages go. */
  exit(): void {
    if (!this.alive) return;
    this.alive = false;
    this.invalidate(0, END_PAGE, 'release', () => {
      for (const area of this.areas.all) this.zap(area.start, area.end);
      this.areas.update(0, END_PAGE, () => null);
    });
  }

  /** Changes entries between start and end of an invalidation that may block. */
  invalidate(start: number, end: number, event: InvalidationEvent, change: () => void): void {
    this.notifiers.invalidateRangeStart({ start, end, event, blockable: true });
    change();
    this.notifiers.invalidateRangeEnd();
  }

  /** Entries of [start, end) are read-only from now on. */
  writeProtect(start: number, end: number): void {
    for (let page = this.table.next(start, end); page < end; page = this.table.next(page + 1, end)) {
      this.table.protect(page, ~PTE_WRITE, start, end);
    }
  }

  /** Takes all entries of [start, end) away; only between start and end of an invalidation. */
  zap(start: number, end: number): void {
    const { table, pages } = this;
    for (let page = table.next(start, end); page < end; page = table.next(page + 1, end)) {
      // whoever is moving the page finds its place gone if it is let end first
      if ((table.flagsOf(page) & PTE_MIGRATION) !== 0) this.migrations.get(page)!.finish();
      const frame = table.pageOf(page);
      if ((table.flagsOf(page) & PTE_SWAP) !== 0) {
        this.swap.free(frame);
        table.clear(page);
        continue;
      }
      if ((table.flagsOf(page) & PTE_DIRTY) !== 0) pages.markDirty(frame);
      table.clear(page);
      pages.release(frame);
    }
  }

  private access(address: number, bytes: Uint8Array, write: boolean): number {
    const { table, pages } = this;
    for (let done = 0; done < bytes.length;) {
      const at = address + done;
      const page = Math.floor(at / PAGE_SIZE);
      const step = Math.min(bytes.length - done, PAGE_SIZE - (at % PAGE_SIZE));
      if (handleMmFault(this, page, write) !== 0) return EFAULT;
      const phys = table.pageOf(page) * PAGE_SIZE + (at % PAGE_SIZE);
      if (write) {
        pages.memory.writeBytes(phys, bytes, done, step);
        pages.markDirty(table.pageOf(page));
      } else {
        pages.memory.readBytes(phys, bytes, done, step);
      }
      done += step;
    }
    return 0;
  }

  private freePlace(pages: number, alignment: number): number {
    let place = LOWEST_PAGE;
    for (;;) {
      const next = this.areas.findAtOrAbove(place);
      if (next === null || next.start >= place + pages) break;
      place = Math.ceil(next.end / alignment) * alignment;
    }
    if (place + pages > END_PAGE) {
      throw new LabError(
        this.name,
        `its address space has no room for ${String(pages)} pages more.`,
        'Map less, or unmap what is no longer needed.',
      );
    }
    return place;
  }
}
