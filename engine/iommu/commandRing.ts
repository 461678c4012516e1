/**
 * What the queues of all vendors have in common: a ring of commands of 16 bytes, or 32, in memory, served in order by one hardware, and at
 * the end of each submission a wait command that writes a status word on which the CPU spins (VT-d specification 6.5.2; AMD
 * specification 48882, 2.4). What the bits of a command mean is the vendor's, and so is what comes of a command that the hardware refuses.
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Counters } from '../metrics/counters.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { InvalidatedDevices } from './ats/deviceTlbs.ts';
import type { ContextCache } from './caches/contextCache.ts';
import type { Iotlb } from './caches/iotlb.ts';
import type { PagingStructureCache } from './caches/pagingStructureCache.ts';

const COMMAND_WORDS = 4;
export const WIDE_COMMAND_WORDS = 8;
const LOG2_WORDS_PER_PAGE = 10;
const WORDS_PER_PAGE = 2 ** LOG2_WORDS_PER_PAGE;
const RING_COMMANDS = 256;
/** What a wait command writes. */
export const STATUS_DONE = 2;

/** All in picoseconds. */
export interface InvalidationCosts {
  /** From the tail register write to the status word that the CPU sees. */
  readonly invalidationWait: Picoseconds;
  /** What the hardware needs per command; the queue serves one after the other, whichever CPU submitted it. */
  readonly invalidationService: Picoseconds;
  /** Added to the wait for each command of a submission beyond the first. */
  readonly invalidationDescriptor: Picoseconds;
}

export interface InvalidatedCaches {
  readonly iotlb: Iotlb;
  readonly pagingCache: PagingStructureCache;
  readonly contextCache: ContextCache;
  readonly deviceTlbs: InvalidatedDevices;
  /** Whether an invalidation without the hint empties whole sets. */
  readonly emptiesSets: boolean;
}

/** What every vendor's queue offers to drivers. */
export interface CommandQueue {
  readonly ringPage: number;
  /** `count` commands of four words each, or eight, carried out before this returns; then when the CPU knows that they were. */
  submit(commands: Uint32Array, count: number, at: Picoseconds): Picoseconds;
}

export abstract class CommandRing implements CommandQueue {
  /** The first page of the ring, and the page whose first word is the status. */
  readonly ringPage: number;
  readonly statusPage: number;
  protected readonly memory: PhysicalMemory;
  protected readonly caches: InvalidatedCaches;
  protected readonly counters: Counters;
  private readonly costs: InvalidationCosts;
  protected readonly commandWords: number;
  /** The hardware stands at a command, and nobody has made it go on. */
  protected halted = false;
  private tail = 0;
  private busyUntil = 0;

  constructor(
    memory: PhysicalMemory,
    frames: FrameAllocator,
    caches: InvalidatedCaches,
    costs: InvalidationCosts,
    counters: Counters,
    commandWords = COMMAND_WORDS,
  ) {
    this.memory = memory;
    this.caches = caches;
    this.costs = costs;
    this.counters = counters;
    this.commandWords = commandWords;
    const pages = (RING_COMMANDS * commandWords) / WORDS_PER_PAGE;
    this.ringPage = pages === 1 ? frames.allocatePage() : frames.allocateContiguous(pages, pages);
    this.statusPage = frames.allocatePage();
  }

  /**
   * `count` commands of as many words as one has in the ring, followed by a wait. The caches change at once; returns when the CPU that
   * submitted at `at` sees the status word, which is written when devices have answered too.
   */
  submit(commands: Uint32Array, count: number, at: Picoseconds): Picoseconds {
    const { memory, costs, commandWords } = this;
    const { deviceTlbs } = this.caches;
    const start = Math.max(at, this.busyUntil);
    deviceTlbs.begin(picoseconds(start));
    for (let index = 0; index < count; index += 1) {
      const page = this.pageOf(this.tail);
      const slot = this.wordOf(this.tail);
      for (let word = 0; word < commandWords; word += 1) {
        memory.writeWord(page, slot + word, commands[index * commandWords + word]!);
      }
      this.serveTail(page, slot);
    }
    memory.writeWord(this.statusPage, 0, 0);
    const page = this.pageOf(this.tail);
    const slot = this.wordOf(this.tail);
    this.writeWait(page, slot);
    for (let word = COMMAND_WORDS; word < commandWords; word += 1) memory.writeWord(page, slot + word, 0);
    this.serveTail(page, slot);
    this.busyUntil = start + costs.invalidationService * count;
    const served = start + costs.invalidationWait + costs.invalidationDescriptor * (count - 1);
    const seen = picoseconds(served + Math.max(0, deviceTlbs.end() - start));
    if (memory.readWord(this.statusPage, 0) !== STATUS_DONE) return this.unanswered(seen);
    this.waiting();
    return seen;
  }

  /** Writes a wait command, but for the upper half of a wide one, at a word of a page of the ring. */
  protected abstract writeWait(page: number, word: number): void;

  /**
   * The hardware's side: carries out a command, from its first four words and, of a wide one, whether there is anything in the others. False:
   * it is none, and the queue stands there.
   */
  protected abstract serve(first: number, second: number, low: number, high: number, more: boolean): boolean;

  /** Software's side of a command that was refused at a word of a page of the ring. True: it made another one of it, which is served. */
  protected abstract refused(page: number, word: number): boolean;

  /** The status word never came; when software goes on, which had waited from `since` on. */
  protected unanswered(since: Picoseconds): Picoseconds {
    throw new Error(`the queue lost its wait command at ${since} ps`);
  }

  /** Everything was served, and the CPU has not seen the status word yet. */
  protected abstract waiting(): void;

  /** The hardware takes each command as soon as the tail has moved past it, unless it stands at one that it refused. */
  private serveTail(page: number, word: number): void {
    this.tail = (this.tail + 1) % RING_COMMANDS;
    if (this.halted || this.serveAt(page, word)) return;
    this.halted = !this.refused(page, word) || !this.serveAt(page, word);
  }

  private serveAt(page: number, word: number): boolean {
    const { memory } = this;
    const base = memory.locate(page) + word;
    const { words } = memory;
    const more = this.commandWords !== COMMAND_WORDS && upperHalf(words, base) !== 0;
    return this.serve(words[base]!, words[base + 1]!, words[base + 2]!, words[base + 3]!, more);
  }

  private pageOf(slot: number): number {
    return this.ringPage + ((slot * this.commandWords) >>> LOG2_WORDS_PER_PAGE);
  }

  private wordOf(slot: number): number {
    return (slot * this.commandWords) & (WORDS_PER_PAGE - 1);
  }
}

function upperHalf(words: Uint32Array, base: number): number {
  return words[base + 4]! | words[base + 5]! | words[base + 6]! | words[base + 7]!;
}
