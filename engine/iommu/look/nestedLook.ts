/**
 * A walk through two stages for people (walk/nestedWalker.ts): every entry of the first stage with those of the second that lead to it, and
 * those that lead from its leaf to memory, in the order in which a walk reads them. Nothing is changed, no accessed bit either.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { StageTables } from '../deviceContext.ts';
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_READ_NOT_ALLOWED,
  FAULT_RESERVED_BITS,
  FAULT_WRITE_NOT_ALLOWED,
  NO_FAULT,
} from '../faults.ts';
import { entryIndex, READ, READ_WRITE, WRITE } from '../formats/pageTableFormat.ts';
import { accessed, isDirty } from '../walk/accessBits.ts';
import {
  grantedBy,
  isUsed,
  lookEntry,
  lookWalk,
  PAGE_ROW,
  refusedLook,
  wordOf,
  type LookedEntry,
  type LookedWalk,
} from './walkLook.ts';

const ENTRIES_PER_PAGE = 512;

export function lookNestedWalk(
  memory: PhysicalMemory,
  first: StageTables,
  second: StageTables,
  iovaPage: number,
  write: boolean,
): LookedWalk {
  const { format, accessBits, levels } = first;
  const entries: LookedEntry[] = [];
  const refused = write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
  /** A guest's page through the second stage; null: it refuses, as `refusal` says. */
  let refusal = refusedLook(entries, NO_FAULT);
  const through = (guestPage: number, row: number, forWriting: boolean, again = false): LookedWalk | null => {
    const looked = lookSecond(memory, second, guestPage, forWriting);
    entries.push(...looked.entries.map((entry) => ({ ...entry, row, again, guestPage })));
    if (looked.fault === NO_FAULT) return looked;
    refusal = { ...refusedLook(entries, looked.fault, 2), permissions: looked.permissions };
    return null;
  };

  let table = first.tablePage;
  let permissions = READ_WRITE;
  for (let level = levels - 1; level >= 0; level -= 1) {
    const index = entryIndex(format, iovaPage, level, level === levels - 1);
    const guestPage = table + Math.floor(index / ENTRIES_PER_PAGE);
    const place = through(guestPage, level, false);
    if (place === null) return refusal;
    const entry = lookEntry(memory, format, place.physPage, level, index % ENTRIES_PER_PAGE);
    entries.push({ ...entry, guestPage });
    if (entry.kind === 'absent') return refusedLook(entries, refused);
    if (entry.kind === 'invalid') return refusedLook(entries, FAULT_RESERVED_BITS);
    permissions &= grantedBy(format, accessBits, entry);
    const low = wordOf(entry, 'low');
    const high = wordOf(entry, 'high');
    if (entry.kind === 'leaf') {
      if ((permissions & (write ? WRITE : READ)) === 0) return { ...refusedLook(entries, refused), permissions };
      if (accessBits === 'checked' && !isUsed(format, entry, write))
        return { ...refusedLook(entries, refused), permissions };
      if (accessBits !== 'ignored' && !write && !isDirty(format, low, high)) permissions &= ~WRITE;
      const sets = accessBits === 'updated' && accessed(format, low, high, write) !== low;
      if (sets && through(guestPage, level, true, true) === null) return refusal;
      const page = through(entry.targetPage + (iovaPage % entry.pages), PAGE_ROW, write);
      if (page === null) return refusal;
      return {
        entries,
        fault: NO_FAULT,
        faultStage: 1,
        physPage: page.physPage,
        permissions: permissions & page.permissions,
        pages: Math.min(entry.pages, page.pages),
      };
    }
    const marks = accessBits === 'updated' && (low & format.tableAccessedBit) !== format.tableAccessedBit;
    if (marks && through(guestPage, level, true, true) === null) return refusal;
    table = entry.targetPage;
    if (format.skipsLevels) {
      const below = format.tableLevel(low, level);
      if (iovaPage % format.pagesPerEntry[level]! >= format.pagesPerEntry[below + 1]!)
        return refusedLook(entries, refused);
      level = below + 1;
    }
  }
  return refusedLook(entries, refused);
}

/** One address of the first stage's through the second. */
function lookSecond(memory: PhysicalMemory, second: StageTables, guestPage: number, write: boolean): LookedWalk {
  const { format, tablePage, levels, endPage } = second;
  if (guestPage >= endPage || !format.translates(guestPage, levels)) return refusedLook([], FAULT_ADDRESS_BEYOND_WIDTH);
  return lookWalk(memory, second, tablePage, levels, guestPage, write);
}
