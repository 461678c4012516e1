/**
 * The areas of a process's address space: what stands behind each range of addresses and what the process may do there (Linux
 * struct vm_area_struct, mm/vma.c). Sorted and disjoint; a change of a part splits its area.
 * Leaves out: merging of neighbours, growth of stacks, guard pages.
 */
import type { MappedFile } from './mappedFile.ts';

/**
 * `anonymous`: zeroed memory, made at first touch. `file`: pages of a file, private, so writing copies. `pfnmap`: a device's
 * registers (VM_IO | VM_PFNMAP), nothing that can be pinned. `p2p`: memory of a peer that can (a pgmap's pages).
 */
export type VmAreaKind = 'anonymous' | 'file' | 'pfnmap' | 'p2p';

/** All in pages. */
export interface VmArea {
  readonly start: number;
  /** One past the last page. */
  readonly end: number;
  readonly kind: VmAreaKind;
  readonly readable: boolean;
  readonly writable: boolean;
  /** May take huge entries where 2 MiB are aligned and whole. */
  readonly hugePages: boolean;
  readonly file: MappedFile | null;
  /** Page of the file, or physical page, behind `start`. */
  readonly offset: number;
}

export class VmAreas {
  private areas: readonly VmArea[] = [];

  get all(): readonly VmArea[] {
    return this.areas;
  }

  find(page: number): VmArea | null {
    const area = this.areas[this.firstEndingAbove(page)];
    return area !== undefined && area.start <= page ? area : null;
  }

  /** The area at `page` or the next one above it. */
  findAtOrAbove(page: number): VmArea | null {
    return this.areas[this.firstEndingAbove(page)] ?? null;
  }

  /** True when nothing lies in [start, end). */
  isFree(start: number, end: number): boolean {
    const next = this.findAtOrAbove(start);
    return next === null || next.start >= end;
  }

  insert(area: VmArea): void {
    const index = this.firstEndingAbove(area.start);
    this.areas = this.areas.toSpliced(index, 0, area);
  }

  /** Every area inside [start, end), cut there, becomes what `change` makes of it; null: it goes. */
  update(start: number, end: number, change: (area: VmArea) => VmArea | null): void {
    this.areas = this.areas.flatMap((area) => {
      if (area.end <= start || area.start >= end) return [area];
      const parts: VmArea[] = [];
      if (area.start < start) parts.push(cut(area, area.start, start));
      const changed = change(cut(area, Math.max(area.start, start), Math.min(area.end, end)));
      if (changed !== null) parts.push(changed);
      if (area.end > end) parts.push(cut(area, end, area.end));
      return parts;
    });
  }

  private firstEndingAbove(page: number): number {
    const { areas } = this;
    let low = 0;
    let high = areas.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (areas[middle]!.end <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function cut(area: VmArea, start: number, end: number): VmArea {
  return { ...area, start, end, offset: area.offset + start - area.start };
}
