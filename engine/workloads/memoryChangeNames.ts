/** What can happen to a process's memory (memoryChanges.ts). No imports at run time: the lab's schema and the window use the names. */

export const MEMORY_CHANGES = ['migrate', 'swapOut', 'fork', 'toPeer', 'toPeerPrivate', 'toRam'] as const;

export type MemoryChangeKind = (typeof MEMORY_CHANGES)[number];

/** Those that name a GPU. */
export function namesPeer(kind: MemoryChangeKind): boolean {
  return kind === 'toPeer' || kind === 'toPeerPrivate' || kind === 'toRam';
}
