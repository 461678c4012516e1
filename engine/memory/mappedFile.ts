/**
 * A file that processes map: its pages are made when first touched, and stay until the file goes (the page cache, Linux
 * mm/filemap.c). Leaves out: storage behind it; what a file holds is what was put there.
 */
import { PAGE_SIZE } from './addresses.ts';
import type { UserPages } from './userPages.ts';

export class MappedFile {
  private readonly pages: UserPages;
  private readonly cache = new Map<number, number>();

  constructor(pages: UserPages) {
    this.pages = pages;
  }

  /** The frame of a page of the file, or -1 when memory has run out. */
  pageAt(index: number): number {
    const known = this.cache.get(index);
    if (known !== undefined) return known;
    const page = this.pages.allocate();
    if (page >= 0) this.cache.set(index, page);
    return page;
  }

  /** Puts bytes into the file, as writing it does. */
  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const at = offset + done;
      const step = Math.min(bytes.length - done, PAGE_SIZE - (at % PAGE_SIZE));
      const page = this.pageAt(Math.floor(at / PAGE_SIZE));
      if (page < 0) throw new Error('no memory for the pages of a file');
      this.pages.memory.writeBytes(page * PAGE_SIZE + (at % PAGE_SIZE), bytes, done, step);
      done += step;
    }
  }

  /** The file goes; pages that are still mapped or pinned live on without it. */
  close(): void {
    for (const page of this.cache.values()) this.pages.release(page);
    this.cache.clear();
  }
}
