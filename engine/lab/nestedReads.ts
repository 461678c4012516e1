/**
 * Which entries of a looked-at walk are read, and which the paging-structure caches make it needless to read (VT-d specification 6.2.5). Of
 * two stages each address of the first one begins in the second as low as the caches allow, those included that the same walk has just filled.
 */
import { NO_SPACE } from '../iommu/caches/owner.ts';
import type { StageTables } from '../iommu/deviceContext.ts';
import { heldEntry, type CacheLook } from '../iommu/look/cacheLook.ts';
import type { LookedEntry } from '../iommu/look/walkLook.ts';

/** In place of the moment from which an entry's table is known: it is not read. */
export const NOT_READ = -1;

/** Where the first stage begins, and from when on the table there is known. */
export interface WalkStart {
  readonly level: number;
  readonly knownAt: number;
}

/** By entry, NOT_READ or the moment before which it cannot be read, as its table is not known yet. */
export function readsOf(
  entries: readonly LookedEntry[],
  start: WalkStart,
  second: StageTables | null,
  caches: readonly CacheLook[],
  domainId: number,
): number[] {
  const first = ({ level }: LookedEntry): number =>
    level > start.level ? NOT_READ : level === start.level ? start.knownAt : 0;
  if (second === null) return entries.map(first);
  const { format, levels } = second;
  /** `level prefix` of tables that this walk has come to know. */
  const filled = new Set<string>();
  const prefixOf = (level: number, page: number): string =>
    `${level} ${Math.floor(page / (format.pagesPerEntry[level + 1] ?? 1))}`;
  const startOf = (page: number): WalkStart => {
    for (const [level, cache] of caches.entries()) {
      const held = heldEntry([cache], domainId, NO_SPACE, page);
      if (held !== null) return { level, knownAt: Math.max(0, cache.filledAt[held.entry] ?? 0) };
      if (cache.pages.length > 0 && filled.has(prefixOf(level, page))) return { level, knownAt: 0 };
    }
    return { level: levels - 1, knownAt: 0 };
  };
  let begin: WalkStart = { level: levels - 1, knownAt: 0 };
  return entries.map((entry) => {
    const { stage, row, level, guestPage, kind } = entry;
    if (stage === 1) return first(entry);
    if (row > start.level) return NOT_READ;
    if (level === levels - 1) begin = startOf(guestPage);
    if (level > begin.level) return NOT_READ;
    if (kind === 'table' && level <= caches.length) filled.add(prefixOf(level - 1, guestPage));
    return level === begin.level ? begin.knownAt : 0;
  });
}
