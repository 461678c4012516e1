/** Words of arrays that lie in more than one page, and pointers in entries (Arm SMMUv3 specification IHI 0070, 5). */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';

const WORDS_PER_PAGE = 1024;
/** Bits 51:32 of an address in the high word. */
const ADDRESS_HIGH_MASK = 0xf_ffff;
const LOW_PAGES = 2 ** 20;

export function readWordOf(memory: PhysicalMemory, firstPage: number, word: number): number {
  return memory.readWord(firstPage + Math.floor(word / WORDS_PER_PAGE), word % WORDS_PER_PAGE);
}

export function writeWordOf(memory: PhysicalMemory, firstPage: number, word: number, value: number): void {
  memory.writeWord(firstPage + Math.floor(word / WORDS_PER_PAGE), word % WORDS_PER_PAGE, value);
}

/** The page that bits 51:12 of an entry name. */
export function tablePointer(memory: PhysicalMemory, page: number, word: number): number {
  const high = readWordOf(memory, page, word + 1) & ADDRESS_HIGH_MASK;
  return (readWordOf(memory, page, word) >>> 12) + high * LOW_PAGES;
}
