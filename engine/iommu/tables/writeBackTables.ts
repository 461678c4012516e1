/**
 * Page tables behind CPU caches that walkers do not look into: the kernel's writes stay in a cache until their lines are cleaned, and
 * memory, which walkers read, holds what it held before. A line that nobody cleans stays in the cache for ever, which is the worst
 * that can happen and the same in every run.
 * Leaves out: lines that make way by themselves; walkers that write (accessed and dirty bits), which Linux does not use there.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { PhysicalMemory as CpuView } from '../../memory/physicalMemory.ts';
import { ENTRIES_PER_TABLE } from '../formats/pageTableFormat.ts';
import type { TableWrites } from './tableWrites.ts';

const ENTRIES_PER_LINE = 8;
const WORDS_PER_LINE = 16;
const LINES_PER_TABLE = ENTRIES_PER_TABLE / ENTRIES_PER_LINE;
/** Stands for whatever the last owner of a page left in memory. */
const OLD_BYTES = 0xffff_ffff;

export class WriteBackTables implements TableWrites {
  readonly view: PhysicalMemory;
  private readonly memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
    this.view = new CpuView(memory.sizeBytes);
  }

  tableAllocated(page: number): number {
    const { memory } = this;
    const first = memory.locateForWriting(page);
    memory.words.fill(OLD_BYTES, first, first + ENTRIES_PER_TABLE * 2);
    return this.entriesWritten(page, 0, ENTRIES_PER_TABLE);
  }

  entriesWritten(page: number, firstEntry: number, entries: number): number {
    const { memory, view } = this;
    const firstLine = Math.floor(firstEntry / ENTRIES_PER_LINE);
    const lastLine = Math.min(LINES_PER_TABLE, Math.ceil((firstEntry + entries) / ENTRIES_PER_LINE));
    const from = view.locate(page);
    const source = view.words;
    const to = memory.locateForWriting(page);
    const target = memory.words;
    for (let word = firstLine * WORDS_PER_LINE; word < lastLine * WORDS_PER_LINE; word += 1) {
      target[to + word] = source[from + word]!;
    }
    return lastLine - firstLine;
  }

  tableFreed(page: number): void {
    this.view.releasePage(page);
  }
}
