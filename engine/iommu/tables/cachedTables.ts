/**
 * Page tables that walkers find in the last-level cache: what a CPU has written lies there until other lines take its place, and a
 * walker that looks into caches saves the way to DRAM (VT-d ECAP.C = 1).
 * Leaves out: tables that a CPU of another socket wrote.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { MemorySystem } from '../../memory/memorySystem.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { TableWrites } from './tableWrites.ts';

const ENTRY_BYTES = 8;

export class CachedTables implements TableWrites {
  readonly view: PhysicalMemory;
  private readonly system: MemorySystem;
  private readonly node: number;

  /** `node`: the socket whose CPUs write. */
  constructor(memory: PhysicalMemory, system: MemorySystem, node: number) {
    this.view = memory;
    this.system = system;
    this.node = node;
  }

  tableAllocated(page: number): number {
    this.system.cpuWrite(this.node, page * PAGE_SIZE, PAGE_SIZE);
    return 0;
  }

  entriesWritten(page: number, firstEntry: number, entries: number): number {
    this.system.cpuWrite(this.node, page * PAGE_SIZE + firstEntry * ENTRY_BYTES, entries * ENTRY_BYTES);
    return 0;
  }

  tableFreed(_page: number): void {
    // its lines stay until others take their place
  }
}
