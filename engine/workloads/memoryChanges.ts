/**
 * What happens to a process's buffers while an adapter uses them: pages move to other frames, to a GPU's memory and back, are swapped out, or
 * become shared with a child and are copied by the next write (the cases of on-demand paging in the thread of March 2024). One change after the
 * other, at random places, each of so many pages; whoever finds the process's lock held comes again.
 * Leaves out: who would want these changes, and what they cost the process's own CPU.
 */
import type { ProcessPages } from '../drivers/gpu/processPages.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import { forkAddressSpace, migratePage } from '../memory/pageMovement.ts';
import { swapOut } from '../memory/swapArea.ts';
import type { Counters } from '../metrics/counters.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { RandomStream } from '../time/random.ts';
import type { MemoryChangeKind } from './memoryChangeNames.ts';
import type { MemoryActivity } from './workloadMemory.ts';

export interface MemoryChange {
  readonly kind: MemoryChangeKind;
  /** So many in a row. */
  readonly pages: number;
  /** How often, beside the others. */
  readonly weight: number;
  /** Whose memory; for the kinds that name a peer, and for `toRam`. */
  readonly peer?: string | undefined;
}

export interface MemoryChangesOptions {
  readonly mm: AddressSpace;
  readonly events: EventQueue;
  /** Changes are made by this one. */
  readonly cpu: Cpu;
  readonly peerPages: (peer: string) => ProcessPages;
  readonly counters: Counters;
  readonly changes: readonly MemoryChange[];
  /** On average. */
  readonly every: Picoseconds;
}

const CHANGE = 0;
const LOCK_WAIT = nanoseconds(50);

export class MemoryChanges implements MemoryActivity, EventHandler {
  private readonly options: MemoryChangesOptions;
  private readonly random: RandomStream;
  private readonly totalWeight: number;
  /** Page numbers of the buffers, and pages of each. */
  private buffers: Float64Array = new Float64Array(0);
  private pages = 0;
  private children: AddressSpace[] = [];
  private onStopped: (() => void) | null = null;

  constructor(options: MemoryChangesOptions, random: RandomStream) {
    this.options = options;
    this.random = random;
    this.totalWeight = options.changes.reduce((sum, { weight }) => sum + weight, 0);
  }

  start(buffers: Float64Array, pages: number): void {
    this.buffers = buffers;
    this.pages = pages;
    if (this.totalWeight > 0) this.schedule(this.pause());
  }

  /** `stopped`: no change is under way and none follows. */
  stop(stopped: () => void): void {
    if (this.totalWeight === 0) stopped();
    else this.onStopped = stopped;
  }

  handleEvent(): void {
    const { mm, cpu, events } = this.options;
    if (mm.notifiers.active > 0) {
      this.schedule(LOCK_WAIT);
      return;
    }
    if (this.onStopped !== null) {
      for (const child of this.children.splice(0)) child.exit();
      this.onStopped();
      return;
    }
    cpu.begin(events.now);
    this.make(this.choose());
    this.schedule(picoseconds(this.pause() + Math.max(0, cpu.now - events.now)));
  }

  private schedule(after: Picoseconds): void {
    const { events } = this.options;
    events.schedule(picoseconds(events.now + after), this, CHANGE);
  }

  /** From half to one and a half of the average. */
  private pause(): Picoseconds {
    return picoseconds(Math.round(this.options.every * (0.5 + this.random.fraction())));
  }

  private choose(): MemoryChange {
    let left = this.random.below(this.totalWeight);
    for (const change of this.options.changes) {
      left -= change.weight;
      if (left < 0) return change;
    }
    throw new Error('weights do not add up');
  }

  private make({ kind, pages, peer = '' }: MemoryChange): void {
    const { mm, cpu, counters, peerPages } = this.options;
    const count = Math.min(pages, this.pages);
    const buffer = this.random.below(this.buffers.length);
    const first = this.buffers[buffer]! + this.random.below(this.pages - count + 1);
    if (kind === 'fork') this.fork();
    else if (kind === 'toPeer' || kind === 'toPeerPrivate' || kind === 'toRam') {
      const place = peerPages(peer);
      const run =
        kind === 'toRam'
          ? place.toRam(cpu, first, count)
          : place.toDevice(cpu, first, count, kind === 'toPeer' ? 'coherent' : 'private');
      if (typeof run === 'number') return;
      place.wait(cpu, run);
      counters.add('pagesMoved', run.moved);
    } else {
      for (let page = first; page < first + count; page += 1) {
        const ret = kind === 'migrate' ? migratePage(mm, page) : swapOut(mm, page);
        if (ret === 0) counters.add('pagesMoved', 1);
      }
    }
  }

  /** A child for a while: the parent's pages are its own again when the child has gone, or when they are written. */
  private fork(): void {
    const { mm } = this.options;
    const child = forkAddressSpace(mm, `${mm.name}, child`);
    if (child !== null) this.children.push(child);
    if (this.children.length > 2) this.children.shift()!.exit();
  }
}
