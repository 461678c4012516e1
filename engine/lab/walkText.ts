/** A walk and a cache in words, the same in the window and on the command line. */
import { NO_SPACE } from '../iommu/caches/owner.ts';
import { formatQuantity } from './quantity.ts';
import { PAGE_ROW } from '../iommu/look/walkLook.ts';
import type { CacheLook } from '../iommu/look/cacheLook.ts';
import { addressOf } from './iovaText.ts';
import type { WalkedEntry, WalkOutcome, WalkSnapshot } from './walkInspection.ts';

const PAGE_BYTES = 4096;

const FORMAT_TITLES: ReadonlyMap<string, string> = new Map([
  ['vtd-second-stage', 'VT-d, second stage'],
  ['vtd-first-stage', 'VT-d, first stage'],
  ['amd-v1', 'AMD v1'],
  ['amd-v2', 'AMD v2'],
  ['riscv-sv', 'RISC-V Sv'],
  ['riscv-svx4', 'RISC-V Sv, guest'],
  ...[4, 16, 64].flatMap((granule): [string, string][] => [
    [`arm-stage1-${granule}k`, `Arm stage 1, ${granule} KiB granule`],
    [`arm-stage2-${granule}k`, `Arm stage 2, ${granule} KiB granule`],
  ]),
]);

export function formatTitle(name: string): string {
  return FORMAT_TITLES.get(name) ?? name;
}

/** Whose tables a walk goes through, of one stage or two; '': none. */
export function tablesTitle({ format, secondFormat }: Pick<WalkSnapshot, 'format' | 'secondFormat'>): string {
  if (format === '') return '';
  return secondFormat === '' ? formatTitle(format) : `${formatTitle(format)} over ${formatTitle(secondFormat)}`;
}

/** `level 3`; of two stages with the stage, and for the second what the entry leads to. */
export function entryPlace({ secondFormat }: Pick<WalkSnapshot, 'secondFormat'>, entry: WalkedEntry): string {
  const level = `level ${entry.number}`;
  if (secondFormat === '') return level;
  if (entry.stage === 1) return `first stage, ${level}`;
  const what = entry.row === PAGE_ROW ? 'page' : 'table';
  return `second stage, ${level}, to the ${what} at guest ${addressOf(entry.guestPage)}`;
}

/** READ and WRITE as people say them. */
export function permissionText(permissions: number): string {
  return ['nothing', 'reads', 'writes', 'reads and writes'][permissions & 3] ?? '';
}

export function sizeText(pages: number): string {
  return formatQuantity(pages * PAGE_BYTES, 'bytes');
}

/** What an entry says, in one line. */
export function entryWords(entry: WalkedEntry): string {
  const { kind, bits, targetPage, pages, permissions } = entry;
  // what a first stage over a second one points at is a guest's
  const target = `${entry.stage === 1 && entry.guestPage >= 0 ? 'guest ' : ''}${addressOf(targetPage)}`;
  switch (kind) {
    case 'absent':
      return BigInt(bits) === 0n ? 'not present' : 'not present, or open to nobody';
    case 'invalid':
      return 'invalid: reserved bits are set';
    case 'table':
      return `table at ${target}`;
    case 'leaf':
      return `${sizeText(pages)} at ${target}, ${permissionText(permissions)}`;
  }
}

export function outcomeWords(outcome: WalkOutcome): string {
  switch (outcome.kind) {
    case 'passthrough':
      return `passed through as ${outcome.address}`;
    case 'translated': {
      const { address, pages, permissions, stale } = outcome;
      const found = `${address}, in a page of ${sizeText(pages)} that allows ${permissionText(permissions)}`;
      return stale ? `${found}; stale: the IOTLB still has what the tables no longer say` : found;
    }
    case 'refused':
      return `refused, ${outcome.refusal.code}: ${outcome.refusal.words}`;
  }
}

/** What helps; '' where nothing is wrong. */
export function remedyWords(outcome: WalkOutcome): string {
  return outcome.kind === 'refused' ? outcome.refusal.remedy : '';
}

export function accessWords({ iova, write }: Pick<WalkSnapshot, 'iova' | 'write'>): string {
  return `${write ? 'write to' : 'read of'} ${iova}`;
}

export interface HeldEntry {
  readonly set: number;
  readonly way: number;
  readonly firstPage: number;
  readonly pages: number;
  readonly domainId: number;
  /** Of the domain's address spaces; NO_SPACE: none. */
  readonly space: number;
  readonly targetPage: number;
  readonly permissions: number;
  readonly filledAt: number;
  readonly uses: number;
}

/** One entry of a cache; null where it is empty. */
export function cacheEntry(cache: CacheLook, entry: number): HeldEntry | null {
  const pages = cache.pages[entry] ?? 0;
  if (pages === 0) return null;
  return {
    set: Math.floor(entry / cache.ways),
    way: entry % cache.ways,
    firstPage: cache.firstPages[entry] ?? 0,
    pages,
    domainId: cache.domains[entry] ?? 0,
    space: cache.spaces[entry] ?? NO_SPACE,
    targetPage: cache.targets[entry] ?? 0,
    permissions: cache.permissions[entry] ?? 0,
    filledAt: cache.filledAt[entry] ?? -1,
    uses: cache.uses[entry] ?? -1,
  };
}

export function heldEntries(cache: CacheLook): HeldEntry[] {
  return Array.from(cache.pages, (_, entry) => cacheEntry(cache, entry)).filter((entry) => entry !== null);
}

export function total(column: Float64Array): number {
  return column.reduce((sum, value) => sum + value, 0);
}
