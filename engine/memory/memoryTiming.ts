/**
 * What an access to memory takes, seen from one socket: the two interfaces that page walkers and root complexes ask. Times are
 * plain numbers of picoseconds, and an answer is when it is there, not how long it took. memorySystem.ts answers them for
 * machines whose caches and sockets are modelled; where nobody answers, an access takes a fixed time that the cost preset names.
 * Leaves out: who asks; every asker has an answerer of its own, which knows the asker's socket.
 */

export interface TableReadTiming {
  /**
   * When an entry of a table that a walker asks for at `at` has come. `word`: the first 32-bit word of the entry in its page, 0 to
   * 1023, as `PhysicalMemory.readWord` counts them.
   */
  tableRead(physPage: number, word: number, at: number): number;
  /** Where the entry would come from now, for whoever only looks: nothing changes by it. */
  tablePlace(physPage: number, word: number): TablePlace;
}

export interface TablePlace {
  /** From DRAM, for want of a cache that has it and may be looked into. */
  readonly dram: boolean;
  /** Over the interconnect, from another socket. */
  readonly remote: boolean;
}

export interface DataTiming {
  /** When data that a device's read asks for at `at` has come to the root complex. The bytes lie in one page, from `offset` on. */
  dataRead(physPage: number, offset: number, bytes: number, at: number): number;
  /** When what a device's write brings at `at` is visible to everybody. The bytes lie in one page, from `offset` on. */
  dataWrite(physPage: number, offset: number, bytes: number, at: number): number;
}
