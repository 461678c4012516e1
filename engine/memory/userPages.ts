/**
 * The pages of processes: how many page tables and pins hold each, and when its frame is free again (Linux struct page and
 * folio: `_refcount`, `_mapcount`, `_pincount`, and the zero page). Pages of a peer or of a device's registers can be held
 * and pinned as well; their frames are not ours to give back.
 * Leaves out: the page cache's own lists, reclaim, NUMA, swap.
 */
import { LabError } from '../time/labError.ts';
import { PAGE_SIZE } from './addresses.ts';
import type { FrameAllocator } from './frameAllocator.ts';
import type { PageKinds } from './pageKinds.ts';
import type { PhysicalMemory } from './physicalMemory.ts';

/** Pages of a huge entry: 2 MiB. */
export const HUGE_PAGES = 512;
export const HUGE_ORDER = 9;

interface PageState {
  /** Page tables, pins and others that hold it. */
  references: number;
  pins: number;
  dirty: boolean;
  /** Its frame is ours. */
  readonly owned: boolean;
  /** Of a device's page: told when nobody holds it any more. */
  readonly freed: ((page: number) => void) | null;
}

export class UserPages {
  readonly memory: PhysicalMemory;
  /** Null: all memory is plain RAM. */
  readonly kinds: PageKinds | null;
  /** What reading untouched anonymous memory finds; never written. */
  readonly zeroPage: number;
  private readonly frames: FrameAllocator;
  private readonly states = new Map<number, PageState>();
  private readonly copyBuffer = new Uint8Array(PAGE_SIZE);

  constructor(memory: PhysicalMemory, frames: FrameAllocator, kinds: PageKinds | null) {
    this.memory = memory;
    this.frames = frames;
    this.kinds = kinds;
    this.zeroPage = frames.allocatePage();
  }

  /** Pages that something holds; the zero page is nobody's. */
  get held(): number {
    return this.states.size;
  }

  /** Pins of all pages. */
  get pinned(): number {
    let pins = 0;
    for (const state of this.states.values()) pins += state.pins;
    return pins;
  }

  /** A zeroed page with one reference, or -1. */
  allocate(): number {
    const page = this.take(1);
    if (page >= 0) this.states.set(page, { references: 1, pins: 0, dirty: false, owned: true, freed: null });
    return page;
  }

  /** 512 neighbouring pages, aligned, each with one reference; or -1. */
  allocateHuge(): number {
    const first = this.take(HUGE_PAGES);
    if (first < 0) return -1;
    for (let page = first; page < first + HUGE_PAGES; page += 1) {
      this.states.set(page, { references: 1, pins: 0, dirty: false, owned: true, freed: null });
    }
    return first;
  }

  /** A page of a device's memory, with one reference: its driver takes it back when the last one goes (`page_free` of a dev_pagemap). */
  adopt(page: number, freed: (page: number) => void): void {
    if (this.states.has(page)) throw new Error(`page 0x${page.toString(16)} is held already`);
    this.states.set(page, { references: 1, pins: 0, dirty: false, owned: false, freed });
  }

  hold(page: number): void {
    if (page === this.zeroPage) return;
    const state = this.states.get(page);
    if (state === undefined) this.states.set(page, { references: 1, pins: 0, dirty: false, owned: false, freed: null });
    else state.references += 1;
  }

  /** The last one to let go frees the frame. */
  release(page: number): void {
    if (page === this.zeroPage) return;
    const state = this.states.get(page);
    if (state === undefined) throw new Error(`page 0x${page.toString(16)} is released more often than held`);
    state.references -= 1;
    if (state.references > 0) return;
    this.states.delete(page);
    state.freed?.(page);
    if (!state.owned) return;
    this.kinds?.setPrivate(page, 1, true);
    this.frames.freePage(page);
  }

  references(page: number): number {
    return this.states.get(page)?.references ?? 0;
  }

  /** A pin is a reference that says: its holder does DMA, so the page may not move. */
  pin(page: number): void {
    if (page === this.zeroPage) return;
    this.hold(page);
    this.states.get(page)!.pins += 1;
  }

  unpin(page: number, dirty: boolean): void {
    if (page === this.zeroPage) return;
    const state = this.states.get(page);
    if (state === undefined || state.pins === 0) {
      throw new Error(`page 0x${page.toString(16)} is unpinned more often than pinned`);
    }
    state.pins -= 1;
    if (dirty) state.dirty = true;
    this.release(page);
  }

  pinCount(page: number): number {
    return this.states.get(page)?.pins ?? 0;
  }

  /** `set_page_dirty`. */
  markDirty(page: number): void {
    const state = this.states.get(page);
    if (state !== undefined) state.dirty = true;
  }

  isDirty(page: number): boolean {
    return this.states.get(page)?.dirty ?? false;
  }

  copy(from: number, to: number): void {
    const { copyBuffer } = this;
    this.memory.readBytes(from * PAGE_SIZE, copyBuffer, 0, PAGE_SIZE);
    this.memory.writeBytes(to * PAGE_SIZE, copyBuffer, 0, PAGE_SIZE);
  }

  private take(pages: number): number {
    try {
      return pages === 1 ? this.frames.allocatePage() : this.frames.allocateContiguous(pages, pages);
    } catch (error) {
      if (error instanceof LabError) return -1;
      throw error;
    }
  }
}
