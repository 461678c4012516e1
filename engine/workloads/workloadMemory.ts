/** The memory that messages come to or from, as the program that owns it sees it: a process's (processBuffers.ts), or exported buffers. */
export interface WorkloadMemory {
  /** Page of addresses at which each buffer begins. */
  readonly buffers: Float64Array;
  /** Somebody changes it just now; whoever wants to write comes again. */
  readonly isChanging: boolean;
  /** From a byte address on. */
  read(address: number, target: Uint8Array): void;
  write(address: number, source: Uint8Array): void;
  /** No device uses it any more. */
  release(): void;
}

/** What happens to the memory while messages are under way. */
export interface MemoryActivity {
  /** `pages`: of each buffer. */
  start(buffers: Float64Array, pages: number): void;
  /** `stopped`: no change is under way, and none follows. */
  stop(stopped: () => void): void;
}
