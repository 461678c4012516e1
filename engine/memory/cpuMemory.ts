/**
 * Memory as the CPUs of a socket write it: the same bytes, and every line that they write lies in that socket's last-level cache from
 * then on, where devices find it. For machines whose caches are modelled; all others use the memory itself.
 * Leaves out: what CPUs read, and the time that their own accesses take.
 */
import { PAGE_SIZE } from './addresses.ts';
import type { MemorySystem } from './memorySystem.ts';
import { PhysicalMemory } from './physicalMemory.ts';

const WORD_BYTES = 4;

export class CpuMemory extends PhysicalMemory {
  private readonly memory: PhysicalMemory;
  private readonly system: MemorySystem;
  private readonly node: number;

  constructor(memory: PhysicalMemory, system: MemorySystem, node: number) {
    super(memory.sizeBytes);
    this.memory = memory;
    this.system = system;
    this.node = node;
  }

  override get touchedPages(): number {
    return this.memory.touchedPages;
  }

  override locate(page: number): number {
    const at = this.memory.locate(page);
    this.words = this.memory.words;
    return at;
  }

  /** What will be written is not known: all of the page counts. */
  override locateForWriting(page: number): number {
    const at = this.memory.locateForWriting(page);
    this.words = this.memory.words;
    this.system.cpuWrite(this.node, page * PAGE_SIZE, PAGE_SIZE);
    return at;
  }

  override readWord(page: number, wordIndex: number): number {
    return this.memory.readWord(page, wordIndex);
  }

  override writeWord(page: number, wordIndex: number, value: number): void {
    this.memory.writeWord(page, wordIndex, value);
    this.system.cpuWrite(this.node, page * PAGE_SIZE + wordIndex * WORD_BYTES, WORD_BYTES);
  }

  override readBytes(phys: number, target: Uint8Array, targetOffset: number, length: number): void {
    this.memory.readBytes(phys, target, targetOffset, length);
  }

  override writeBytes(phys: number, source: Uint8Array, sourceOffset: number, length: number): void {
    this.memory.writeBytes(phys, source, sourceOffset, length);
    this.system.cpuWrite(this.node, phys, length);
  }

  override releasePage(page: number): void {
    this.memory.releasePage(page);
  }
}
