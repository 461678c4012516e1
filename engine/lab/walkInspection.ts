/**
 * What an access of the device to an IOVA would meet at a moment: which caches answer it, which tables are read, what each step
 * takes and from which cost parameter, and how it ends. The order of the steps is that of iommu.ts; a test holds the two
 * together. Looking changes nothing, so the same machine can go on to a later moment.
 * Where there are two stages, it shows both: what is read of the second one for each entry of the first, and for the page.
 * Leaves out: contexts that are cached and have changed in memory since; the look shows those of memory. That the paging-structure caches are
 * so small that one walk through two stages drives out what it has brought itself.
 */
import { NO_SPACE } from '../iommu/caches/owner.ts';
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_READ_NOT_ALLOWED,
  FAULT_WRITE_NOT_ALLOWED,
  NO_FAULT,
} from '../iommu/faults.ts';
import { READ, WRITE } from '../iommu/formats/pageTableFormat.ts';
import type { Iommu } from '../iommu/iommu.ts';
import { heldEntry, type CacheLook } from '../iommu/look/cacheLook.ts';
import { lookNestedWalk } from '../iommu/look/nestedLook.ts';
import { lookWalk, PAGE_ROW, refusedLook, type LookedEntry, type LookedWalk } from '../iommu/look/walkLook.ts';
import { NO_PASID } from '../pcie/translator.ts';
import { LabError } from '../time/labError.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { addressOf, parseIova } from './iovaText.ts';
import { NOT_READ, readsOf } from './nestedReads.ts';
import type { CostParameter } from './presets.ts';
import { refusal, type Refusal } from './walkRemedies.ts';

export interface WalkRequest {
  /** Hexadecimal. */
  readonly iova: string;
  readonly write: boolean;
}

export interface WalkedEntry extends LookedEntry {
  /** Of the level, as the vendor's manual counts. */
  readonly number: number;
  /** Of the first stage's level that the entry is read for; null: it is read for the page. */
  readonly rowNumber: number | null;
  /** Where it lies in memory. */
  readonly address: string;
  /** By this access; not where a cache knew what it says. */
  readonly read: boolean;
}

export interface CacheAnswer {
  readonly cache: string;
  readonly answer: 'hit' | 'miss' | 'not asked';
  readonly note: string;
}

export interface WalkStep {
  readonly title: string;
  readonly count: number;
  readonly ps: number;
  /** What it is computed from; null: from waiting for others. */
  readonly cost: CostParameter | null;
}

export type WalkOutcome =
  | { readonly kind: 'passthrough'; readonly address: string }
  | {
      readonly kind: 'translated';
      readonly address: string;
      readonly pages: number;
      readonly permissions: number;
      /** The IOTLB knows a translation that the tables no longer have: the window between an unmap and its flush. */
      readonly stale: boolean;
    }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export interface WalkSnapshot {
  readonly at: number;
  readonly iova: string;
  readonly write: boolean;
  /** '' where nothing was walked. */
  readonly format: string;
  /** Of the second stage, where there are two; '': there is one. */
  readonly secondFormat: string;
  readonly domainId: number;
  /** Of the domain's address spaces; NO_SPACE: none. */
  readonly space: number;
  readonly caches: readonly CacheAnswer[];
  /** From the root down, also those that a cache made it needless to read. */
  readonly entries: readonly WalkedEntry[];
  readonly steps: readonly WalkStep[];
  /** Sum of the steps. */
  readonly ps: number;
  readonly outcome: WalkOutcome;
}

/** What the look stands on. */
export interface WalkPlace {
  readonly at: number;
  readonly iommu: Iommu;
  readonly sourceId: number;
  readonly iotlb: readonly CacheLook[];
  readonly pagingCache: readonly CacheLook[];
  readonly costs: readonly CostParameter[];
}

const NO_WALK = refusedLook([], NO_FAULT);
const BYTES_PER_ENTRY = 8;
const WORDS_PER_ENTRY = 2;
const PAGE_BYTES = 4096;

export function inspectWalk(place: WalkPlace, { iova, write }: WalkRequest): WalkSnapshot {
  const written = parseIova(iova);
  if (written === null) {
    throw new LabError(
      iova.slice(0, 40),
      'this is no address.',
      'Write up to 16 hexadecimal digits, as in 0xfffff000.',
    );
  }
  const { page, offset, text } = written;
  const { at, iommu, sourceId } = place;
  const { context, rootPage, memory, walkerFreeAt, tableReadTiming } = iommu.inside;
  const steps: WalkStep[] = [];
  const caches: CacheAnswer[] = [];
  let time = at;
  const spend = (title: string, name: string, count = 1): void => {
    const cost = place.costs.find((parameter) => parameter.name === name) ?? null;
    const ps = nanoseconds(cost?.value ?? 0) * count;
    time += ps;
    steps.push({ title, count, ps, cost });
  };
  const waitUntil = (title: string, moment: number): void => {
    if (moment <= time) return;
    steps.push({ title, count: 1, ps: moment - time, cost: null });
    time = moment;
  };
  const answer = (cache: string, found: boolean | null, note = ''): void => {
    caches.push({ cache, answer: found === null ? 'not asked' : found ? 'hit' : 'miss', note });
  };

  const held = iommu.contextCache.holds(sourceId, NO_PASID);
  const attached = context.read(rootPage, sourceId, NO_PASID);
  const { names } = iommu;
  spend(names.deviceCache, 'contextCacheHit');
  answer(names.deviceCache, held, held ? '' : `${context.lookupReads} entries read from memory`);
  if (held) waitUntil('wait for the device entry on its way', iommu.contextCache.readyAtOf(sourceId, NO_PASID));
  else spend(`${names.deviceEntries} read`, 'tableRead', context.lookupReads);
  const { domainId, space, format, levels, tablePage, passthrough, second } = context;
  const wanted = write ? WRITE : READ;
  const notAllowed = write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
  const end = (outcome: WalkOutcome, looked: LookedWalk, reads: readonly number[]): WalkSnapshot => ({
    at,
    iova: text,
    write,
    format: looked.entries.length === 0 ? '' : format.name,
    secondFormat: looked.entries.length === 0 ? '' : (second?.format.name ?? ''),
    domainId: attached ? domainId : 0,
    space: attached ? space : NO_SPACE,
    caches,
    entries: looked.entries.map((entry, index) => ({
      ...entry,
      number: names.level(entry.level),
      rowNumber: entry.row === PAGE_ROW ? null : names.level(entry.row),
      address: addressOf(
        entry.tablePage + Math.floor((entry.index * BYTES_PER_ENTRY) / PAGE_BYTES),
        (entry.index * BYTES_PER_ENTRY) % PAGE_BYTES,
      ),
      read: (reads[index] ?? NOT_READ) !== NOT_READ,
    })),
    steps,
    ps: time - at,
    outcome,
  });
  const refuse = (
    reason: number,
    looked: LookedWalk,
    reads: readonly number[],
    tables: 'devices' | 'tables' = 'tables',
    permissions = looked.permissions,
  ): WalkSnapshot => {
    const nested = second !== null && looked.faultStage === 2;
    const whose = tables === 'devices' ? 'devices' : nested || format.stage === 2 ? 'second' : 'first';
    return end(
      { kind: 'refused', refusal: refusal(names, reason, { tables: whose, nested, write, permissions }) },
      looked,
      reads,
    );
  };
  if (!attached) return refuse(context.fault, NO_WALK, [], 'devices');
  if ((context.permissions & wanted) === 0) return refuse(notAllowed, NO_WALK, [], 'devices', context.permissions);
  if (passthrough) {
    answer('IOTLB', null, 'the domain is passed through');
    return end({ kind: 'passthrough', address: addressOf(page, offset) }, NO_WALK, []);
  }

  const beyond = page >= context.endPage || !format.translates(page, levels);
  const looked = beyond
    ? NO_WALK
    : second === null
      ? lookWalk(memory, context, tablePage, levels, page, write)
      : lookNestedWalk(memory, context, second, page, write);
  spend('IOTLB lookup', 'iotlbHit');
  const translation = heldEntry(place.iotlb, domainId, space, page);
  const permissions = translation === null ? 0 : (translation.cache.permissions[translation.entry] ?? 0);
  const notesWrites = context.accessBits === 'updated' || second?.accessBits === 'updated';
  const mustNote = translation !== null && write && notesWrites && (permissions & WRITE) === 0;
  if (translation !== null && !mustNote) {
    const { cache, entry } = translation;
    answer('IOTLB', true, `${cache.title}, set ${Math.floor(entry / cache.ways)}, way ${entry % cache.ways}`);
    answer('paging-structure caches', null, 'the IOTLB has answered');
    waitUntil('wait for the walk under way', cache.filledAt[entry] ?? 0);
    if ((permissions & wanted) === 0)
      return refuse(notAllowed, { ...looked, faultStage: 1 }, [], 'tables', permissions);
    const physPage = (cache.targets[entry] ?? 0) + page - (cache.firstPages[entry] ?? 0);
    const stale = looked.physPage !== physPage;
    const pages = cache.pages[entry] ?? 1;
    return end({ kind: 'translated', address: addressOf(physPage, offset), pages, permissions, stale }, looked, []);
  }
  answer('IOTLB', false, mustNote ? 'held for reads: the first write walks, to leave its mark in the tables' : '');
  if (beyond) return refuse(FAULT_ADDRESS_BEYOND_WIDTH, NO_WALK, []);

  spend('paging-structure caches', 'pagingCacheLookup');
  const prefix = heldEntry(place.pagingCache, domainId, space, page);
  const start =
    prefix === null
      ? { level: levels - 1, knownAt: 0 }
      : {
          level: place.pagingCache.indexOf(prefix.cache),
          knownAt: Math.max(0, prefix.cache.filledAt[prefix.entry] ?? 0),
        };
  answer(
    'paging-structure caches',
    prefix !== null,
    prefix === null
      ? 'the walk begins at the root'
      : `${prefix.cache.title}: the walk begins at level ${names.level(start.level)}`,
  );
  waitUntil('wait for a page walker', Math.min(...walkerFreeAt));
  spend('page walk begins', 'walkOverhead');
  const reads = readsOf(looked.entries, start, second, place.pagingCache, domainId);
  for (const [number, { level, stage, tablePage: entryPage, index }] of looked.entries.entries()) {
    const knownAt = reads[number] ?? NOT_READ;
    if (knownAt === NOT_READ) continue;
    waitUntil('wait for a table that another walk reads', knownAt);
    const whose = second === null ? '' : stage === 1 ? ', first stage' : ', second stage';
    const from = tableReadTiming?.tablePlace(entryPage, index * WORDS_PER_ENTRY);
    spend(`entry of level ${names.level(level)} read${whose}`, from?.dram === true ? 'dramTableRead' : 'tableRead');
    if (from?.remote !== true) continue;
    spend('from the other socket', 'remoteSocket');
    spend('over the interconnect', 'socketLinkPerLine');
  }
  if (looked.fault !== NO_FAULT) return refuse(looked.fault, looked, reads);
  const { physPage, pages } = looked;
  return end(
    {
      kind: 'translated',
      address: addressOf(physPage, offset),
      pages,
      permissions: looked.permissions,
      stale: false,
    },
    looked,
    reads,
  );
}
