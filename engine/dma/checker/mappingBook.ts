/**
 * The live mappings of one device, as the kernel's checker keeps them (Linux kernel/dma/debug.c: `struct dma_debug_entry`,
 * `__hash_bucket_find`): one entry a mapping, and one for each segment of a scatterlist. Without translation a page can be
 * mapped several times at one address, so an address names a list of entries, of which the one that fits best is taken.
 * Leaves out: the hash buckets and their locks.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { DmaDirection } from '../attributes.ts';
import type { CallHistory } from './callHistory.ts';

/** `type2name` of kernel/dma/debug.c. */
export type MappingType = 'single' | 'scatter-gather' | 'coherent' | 'noncoherent' | 'phy';

/** `struct dma_debug_entry`. */
export interface MappingEntry {
  readonly type: MappingType;
  readonly address: number;
  readonly size: number;
  readonly phys: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
  /** Entries of the scatterlist as the driver gave it, and segments that came of it; 0 for other types. */
  readonly sgCallEntries: number;
  readonly sgMappedEntries: number;
  /** The driver has asked dma_mapping_error; true where that does not apply. */
  errorChecked: boolean;
  readonly history: CallHistory;
}

/** What a later call says of a mapping. */
export interface MappingReference {
  readonly type: MappingType;
  readonly address: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly sgCallEntries: number;
}

/** Mappings that are gone but may explain what comes: enough for the double unmap that follows soon. */
const REMEMBERED = 512;

export class MappingBook {
  readonly entries = new Map<number, MappingEntry[]>();
  private readonly gone: MappingEntry[] = [];
  private nextGone = 0;

  add(entry: MappingEntry): void {
    const known = this.entries.get(entry.address);
    if (known === undefined) this.entries.set(entry.address, [entry]);
    else known.push(entry);
  }

  /**
   * The entry that agrees with the reference in most of size, type, direction and number of entries. When none agrees in all
   * of them and several share the address, there is no telling which one was meant: null.
   */
  find(reference: MappingReference): MappingEntry | null {
    const known = this.entries.get(reference.address);
    if (known === undefined) return null;
    const exact = known.find((entry) => agreement(entry, reference) === 4);
    if (exact !== undefined) return exact;
    return known.length === 1 ? known[0]! : null;
  }

  /** The entry that holds the first byte of a range (`bucket_find_contain`). */
  findContaining(reference: MappingReference): MappingEntry | null {
    const exact = this.find(reference);
    if (exact !== null) return exact;
    for (const known of this.entries.values()) {
      for (const entry of known) {
        if (entry.address <= reference.address && reference.address < entry.address + entry.size) return entry;
      }
    }
    return null;
  }

  remove(entry: MappingEntry): void {
    const known = this.entries.get(entry.address);
    if (known === undefined) return;
    if (known.length === 1) this.entries.delete(entry.address);
    else known.splice(known.indexOf(entry), 1);
    this.gone[this.nextGone] = entry;
    this.nextGone = (this.nextGone + 1) % REMEMBERED;
  }

  /** The mapping that held this address last, for the history of a call that comes too late. */
  lastAt(address: number): MappingEntry | null {
    for (let age = 1; age <= this.gone.length; age += 1) {
      const entry = this.gone[(this.nextGone - age + REMEMBERED) % REMEMBERED];
      if (entry === undefined) continue;
      const first = entry.address - (entry.address % PAGE_SIZE);
      if (first <= address && address < entry.address + entry.size) return entry;
    }
    return null;
  }

  /** Every live entry, oldest address first known. */
  *live(): Generator<MappingEntry> {
    for (const known of this.entries.values()) yield* known;
  }
}

function agreement(entry: MappingEntry, reference: MappingReference): number {
  return (
    Number(entry.size === reference.size) +
    Number(entry.type === reference.type) +
    Number(entry.direction === reference.direction) +
    Number(entry.sgCallEntries === reference.sgCallEntries)
  );
}
