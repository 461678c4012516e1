/** For tests: a machine with memory, a peer's memory above it, and processes. */
import { AddressSpace } from './addressSpace.ts';
import { FrameAllocator } from './frameAllocator.ts';
import type { IntervalNotifier, Invalidate } from './intervalNotifier.ts';
import { PageKinds, type P2pdmaProvider } from './pageKinds.ts';
import { PhysicalMemory } from './physicalMemory.ts';
import { UserPages } from './userPages.ts';

const RAM_PAGES = 0x4000;
export const PEER_PAGE = 0x8000;
export const PEER_PAGES = 0x100;
const PEER: P2pdmaProvider = { name: '0000:04:00.0', busOffset: 0x1000_0000, sourceId: 0x400 };

export class TestProcesses {
  readonly memory = new PhysicalMemory((PEER_PAGE + PEER_PAGES) * 4096);
  readonly frames: FrameAllocator;
  readonly kinds: PageKinds;
  readonly pages: UserPages;
  readonly mm: AddressSpace;

  constructor(options: { ramPages?: number; confidential?: boolean; lockedPagesLimit?: number } = {}) {
    const { lockedPagesLimit = Infinity, confidential = false } = options;
    this.frames = new FrameAllocator(this.memory, 1, (options.ramPages ?? RAM_PAGES) - 1);
    this.kinds = new PageKinds({ confidential });
    this.kinds.setRange(PEER_PAGE, PEER_PAGES, PEER);
    this.pages = new UserPages(this.memory, this.frames, this.kinds);
    this.mm = new AddressSpace({ pages: this.pages, lockedPagesLimit });
  }

  /** The byte at an address of pages, as the process reads it. */
  byte(page: number, mm = this.mm): number {
    const target = new Uint8Array(1);
    return mm.read(page * 4096, target) === 0 ? target[0]! : -1;
  }

  setByte(page: number, value: number, mm = this.mm): number {
    return mm.write(page * 4096, Uint8Array.of(value));
  }

  notify(start: number, pages: number, invalidate: Invalidate): IntervalNotifier {
    const notifier = this.mm.notifiers.insert(start, pages, invalidate);
    if (typeof notifier === 'number') throw new Error(`not inserted: ${String(notifier)}`);
    return notifier;
  }
}
