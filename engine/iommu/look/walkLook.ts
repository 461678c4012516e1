/**
 * A page walk for people: every entry on the way of an address with its table, place, bits by name and what it means, from the
 * root down, whatever the caches would leave out. It reads the tables as the walker does (walk/walker.ts) and changes nothing,
 * no accessed bit either. Two stages are nestedLook.ts.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { entryFields } from '../entryBits/entryBits.ts';
import { entryText, type EntryField } from '../entryBits/bitField.ts';
import { FAULT_READ_NOT_ALLOWED, FAULT_RESERVED_BITS, FAULT_WRITE_NOT_ALLOWED, NO_FAULT } from '../faults.ts';
import { entryIndex, READ, READ_WRITE, WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { accessed, isDirty, written, type AccessBits } from '../walk/accessBits.ts';
import type { Walker } from '../walk/walker.ts';

export type EntryKind = 'table' | 'leaf' | 'absent' | 'invalid';

export interface LookedEntry {
  /** Whose tables: of a device with one stage, that one's. */
  readonly stage: 1 | 2;
  /**
   * Where there are two stages, what the entry is read for: the entry of the first stage at this level, or, PAGE_ROW, the page that the first
   * stage leads to. Where there is one, its own level.
   */
  readonly row: number;
  /** Of two stages: read once more, to see whether a bit may be set in the first stage's entry. */
  readonly again: boolean;
  /** Of two stages: the guest's page that an entry of the second leads on from, or in which one of the first lies; -1: there is one stage. */
  readonly guestPage: number;
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
  /** Which stage refuses: 1 where there is but one. */
  readonly faultStage: 1 | 2;
  /** Of the leaf; -1 where there is none. */
  readonly physPage: number;
  readonly permissions: number;
  /** 4 KiB pages of the leaf, of the smaller one where there are two; 0 where there is none. */
  readonly pages: number;
}

export const PAGE_ROW = -1;

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
    if (entry.kind === 'absent') return refusedLook(entries, refused);
    if (entry.kind === 'invalid') return refusedLook(entries, FAULT_RESERVED_BITS);
    permissions &= grantedBy(format, accessBits, entry);
    if (entry.kind === 'leaf') {
      const physPage = entry.targetPage + (iovaPage % entry.pages);
      const open = (permissions & wanted) !== 0 && (accessBits !== 'checked' || isUsed(format, entry, write));
      // nobody keeps a translation that lets writes pass by a dirty bit
      const clean = accessBits !== 'ignored' && !write && !isDirty(format, wordOf(entry, 'low'), wordOf(entry, 'high'));
      return {
        entries,
        fault: open ? NO_FAULT : refused,
        faultStage: 1,
        physPage,
        permissions: clean ? permissions & ~WRITE : permissions,
        pages: entry.pages,
      };
    }
    table = entry.targetPage;
    if (format.skipsLevels) {
      const below = format.tableLevel(wordOf(entry, 'low'), level);
      if (iovaPage % format.pagesPerEntry[level]! >= format.pagesPerEntry[below + 1]!) break;
      level = below + 1;
    }
  }
  return refusedLook(entries, refused);
}

export function refusedLook(entries: readonly LookedEntry[], fault: number, faultStage: 1 | 2 = 1): LookedWalk {
  return { entries, fault, faultStage, physPage: -1, permissions: 0, pages: 0 };
}

/** What an entry allows, to hardware that sets dirty bits: a leaf that waits for its first write allows it. */
export function grantedBy(format: PageTableFormat, accessBits: AccessBits, entry: LookedEntry): number {
  const high = wordOf(entry, 'high');
  if (entry.kind !== 'leaf' || accessBits !== 'updated' || (high & format.dirtyModifier) === 0)
    return entry.permissions;
  return format.permissions(written(format, wordOf(entry, 'low')), high, entry.level);
}

/** Whether the bits that tell of an access are set where hardware only checks them. */
export function isUsed(format: PageTableFormat, entry: LookedEntry, write: boolean): boolean {
  const low = wordOf(entry, 'low');
  return accessed(format, low, wordOf(entry, 'high'), write) === low;
}

/** Half of an entry, from its sixteen digits. */
export function wordOf({ bits }: LookedEntry, half: 'low' | 'high'): number {
  const digits = bits.slice(-16);
  return Number.parseInt(half === 'low' ? digits.slice(8) : digits.slice(0, 8), 16);
}

export function lookEntry(
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
    stage: format.stage,
    row: level,
    again: false,
    guestPage: -1,
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
