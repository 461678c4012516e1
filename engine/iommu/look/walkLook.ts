/**
 * A page walk for people: every entry on the way of an address with its table, place, bits by name and what it means, from the
 * root down, whatever the caches would leave out. It reads the tables as the walker does (walk/walker.ts) and changes nothing,
 * no accessed bit either.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { entryFields } from '../entryBits/entryBits.ts';
import { entryText, type EntryField } from '../entryBits/bitField.ts';
import { FAULT_READ_NOT_ALLOWED, FAULT_RESERVED_BITS, FAULT_WRITE_NOT_ALLOWED, NO_FAULT } from '../faults.ts';
import { entryIndex, READ, READ_WRITE, WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { accessed, isDirty } from '../walk/accessBits.ts';
import type { Walker } from '../walk/walker.ts';

export type EntryKind = 'table' | 'leaf' | 'absent' | 'invalid';

export interface LookedEntry {
  /** 0 has the smallest pages. */
  readonly level: number;
  readonly tablePage: number;
  readonly index: number;
  readonly kind: EntryKind;
  /** Sixteen hexadecimal digits. */
  readonly bits: string;
  readonly fields: readonly EntryField[];
  /** First page of what it points at; -1 where it points at nothing. */
  readonly targetPage: number;
  /** Of a leaf: the 4 KiB pages that it maps. */
  readonly pages: number;
  /** Its own, READ and WRITE; the walk combines them. */
  readonly permissions: number;
}

export interface LookedWalk {
  readonly entries: readonly LookedEntry[];
  /** 0, or why the tables refuse the access. */
  readonly fault: number;
  /** Of the leaf; -1 where there is none. */
  readonly physPage: number;
  readonly permissions: number;
}

const BYTES_PER_ENTRY = 8;
const PAGE_BYTES = 4096;

export function lookWalk(
  memory: PhysicalMemory,
  { format, accessBits }: Pick<Walker, 'format' | 'accessBits'>,
  rootTable: number,
  levels: number,
  iovaPage: number,
  write: boolean,
): LookedWalk {
  const entries: LookedEntry[] = [];
  const wanted = write ? WRITE : READ;
  const refused = write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
  let table = rootTable;
  let permissions = READ_WRITE;
  for (let level = levels - 1; level >= 0; level -= 1) {
    const entry = lookEntry(memory, format, table, level, entryIndex(format, iovaPage, level, level === levels - 1));
    entries.push(entry);
    if (entry.kind === 'absent') return { entries, fault: refused, physPage: -1, permissions: 0 };
    if (entry.kind === 'invalid') return { entries, fault: FAULT_RESERVED_BITS, physPage: -1, permissions: 0 };
    permissions &= entry.permissions;
    if (entry.kind === 'leaf') {
      const physPage = entry.targetPage + (iovaPage % entry.pages);
      const open = (permissions & wanted) !== 0 && (accessBits !== 'checked' || isUsed(format, entry, write));
      // nobody keeps a translation that lets writes pass by a dirty bit
      const clean = accessBits !== 'ignored' && !write && !isDirty(format, wordOf(entry, 'low'), wordOf(entry, 'high'));
      return {
        entries,
        fault: open ? NO_FAULT : refused,
        physPage,
        permissions: clean ? permissions & ~WRITE : permissions,
      };
    }
    table = entry.targetPage;
    if (format.skipsLevels) {
      const below = format.tableLevel(wordOf(entry, 'low'), level);
      if (iovaPage % format.pagesPerEntry[level]! >= format.pagesPerEntry[below + 1]!) break;
      level = below + 1;
    }
  }
  return { entries, fault: refused, physPage: -1, permissions: 0 };
}

/** Whether the bits that tell of an access are set where hardware only checks them. */
function isUsed(format: PageTableFormat, entry: LookedEntry, write: boolean): boolean {
  const low = wordOf(entry, 'low');
  return accessed(format, low, wordOf(entry, 'high'), write) === low;
}

/** Half of an entry, from its sixteen digits. */
function wordOf({ bits }: LookedEntry, half: 'low' | 'high'): number {
  const digits = bits.slice(-16);
  return Number.parseInt(half === 'low' ? digits.slice(8) : digits.slice(0, 8), 16);
}

function lookEntry(
  memory: PhysicalMemory,
  format: PageTableFormat,
  tablePage: number,
  level: number,
  index: number,
): LookedEntry {
  // Tables of several pages lie side by side.
  const byte = index * BYTES_PER_ENTRY;
  const page = tablePage + Math.floor(byte / PAGE_BYTES);
  const word = (byte % PAGE_BYTES) / 4;
  const low = memory.readWord(page, word);
  const high = memory.readWord(page, word + 1);
  const permissions = format.permissions(low, high, level);
  const present = permissions !== 0;
  const valid = present && format.isValid(low, high, level);
  const leaf = present ? format.isLeaf(low, level) : level === 0;
  const kind = !present ? 'absent' : !valid ? 'invalid' : leaf ? 'leaf' : 'table';
  return {
    level,
    tablePage,
    index,
    kind,
    bits: entryText(low, high),
    fields: entryFields(format.name, low, high, { present, leaf, level }),
    targetPage: valid ? format.target(low, high, level) : -1,
    pages: kind === 'leaf' ? format.leafPages(low, high, level) : 0,
    permissions,
  };
}
