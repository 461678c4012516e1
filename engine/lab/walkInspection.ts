/**
 * What an access of the device to an IOVA would meet at a moment: which caches answer it, which tables are read, what each step
 * takes and from which cost parameter, and how it ends. The order of the steps is that of iommu.ts; a test holds the two
 * together. Looking changes nothing, so the same machine can go on to a later moment.
 * Leaves out: contexts that are cached and have changed in memory since; the look shows those of memory.
 */
import { NO_SPACE } from '../iommu/caches/owner.ts';
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_READ_NOT_ALLOWED, FAULT_WRITE_NOT_ALLOWED } from '../iommu/faults.ts';
import { READ, WRITE } from '../iommu/formats/pageTableFormat.ts';
import type { Iommu } from '../iommu/iommu.ts';
import { heldEntry, type CacheLook } from '../iommu/look/cacheLook.ts';
import { lookWalk, type LookedEntry, type LookedWalk } from '../iommu/look/walkLook.ts';
import { NO_PASID } from '../pcie/translator.ts';
import { LabError } from '../time/labError.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { addressOf, parseIova } from './iovaText.ts';
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

const NO_WALK: LookedWalk = { entries: [], fault: 0, physPage: -1, permissions: 0 };
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
  if (!held) spend(`${names.deviceEntries} read`, 'tableRead', context.lookupReads);
  const { domainId, space, format, levels, tablePage, passthrough } = context;
  const end = (outcome: WalkOutcome, looked: LookedWalk, firstRead: number): WalkSnapshot => ({
    at,
    iova: text,
    write,
    format: looked.entries.length === 0 ? '' : format.name,
    domainId: attached ? domainId : 0,
    space: attached ? space : NO_SPACE,
    caches,
    entries: looked.entries.map((entry) => ({
      ...entry,
      number: names.level(entry.level),
      address: addressOf(
        entry.tablePage + Math.floor((entry.index * BYTES_PER_ENTRY) / PAGE_BYTES),
        (entry.index * BYTES_PER_ENTRY) % PAGE_BYTES,
      ),
      read: entry.level <= firstRead,
    })),
    steps,
    ps: time - at,
    outcome,
  });
  const refuse = (
    reason: number,
    looked: LookedWalk,
    firstRead: number,
    permissions = looked.permissions,
  ): WalkSnapshot => {
    const tables = !attached ? 'devices' : format.stage === 1 ? 'first' : 'second';
    return end(
      { kind: 'refused', refusal: refusal(names, reason, { tables, nested: false, write, permissions }) },
      looked,
      firstRead,
    );
  };
  if (!attached) return refuse(context.fault, NO_WALK, -1);
  if (passthrough) {
    answer('IOTLB', null, 'the domain is passed through');
    return end({ kind: 'passthrough', address: addressOf(page, offset) }, NO_WALK, -1);
  }

  const beyond = !format.translates(page, levels);
  const looked = beyond ? NO_WALK : lookWalk(memory, context, tablePage, levels, page, write);
  spend('IOTLB lookup', 'iotlbHit');
  const translation = heldEntry(place.iotlb, domainId, space, page);
  if (translation !== null) {
    const { cache, entry } = translation;
    answer('IOTLB', true, `${cache.title}, set ${Math.floor(entry / cache.ways)}, way ${entry % cache.ways}`);
    answer('paging-structure caches', null, 'the IOTLB has answered');
    waitUntil('wait for the walk under way', cache.filledAt[entry] ?? 0);
    const permissions = cache.permissions[entry] ?? 0;
    if ((permissions & (write ? WRITE : READ)) === 0) {
      return refuse(write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED, looked, -1, permissions);
    }
    const physPage = (cache.targets[entry] ?? 0) + page - (cache.firstPages[entry] ?? 0);
    const stale = looked.physPage !== physPage;
    const pages = cache.pages[entry] ?? 1;
    return end({ kind: 'translated', address: addressOf(physPage, offset), pages, permissions, stale }, looked, -1);
  }
  answer('IOTLB', false);
  if (beyond) return refuse(FAULT_ADDRESS_BEYOND_WIDTH, NO_WALK, -1);

  spend('paging-structure caches', 'pagingCacheLookup');
  const prefix = heldEntry(place.pagingCache, domainId, space, page);
  const table = prefix === null ? tablePage : (prefix.cache.targets[prefix.entry] ?? 0);
  const known = looked.entries.findIndex((entry) => entry.tablePage === table);
  const firstRead = prefix === null || known < 0 ? levels - 1 : (looked.entries[known]?.level ?? 0);
  answer(
    'paging-structure caches',
    prefix !== null,
    prefix === null
      ? 'the walk begins at the root'
      : `${prefix.cache.title}: the walk begins at level ${names.level(firstRead)}`,
  );
  waitUntil('wait for a page walker', Math.min(...walkerFreeAt));
  spend('page walk begins', 'walkOverhead');
  for (const { level, tablePage: entryPage, index } of looked.entries) {
    if (level > firstRead) continue;
    const from = tableReadTiming?.tablePlace(entryPage, index * WORDS_PER_ENTRY);
    spend(`entry of level ${names.level(level)} read`, from?.dram === true ? 'dramTableRead' : 'tableRead');
    if (from?.remote !== true) continue;
    spend('from the other socket', 'remoteSocket');
    spend('over the interconnect', 'socketLinkPerLine');
  }
  if (looked.fault !== 0) return refuse(looked.fault, looked, firstRead);
  const { physPage, permissions } = looked;
  const pages = looked.entries.at(-1)?.pages ?? 1;
  return end(
    { kind: 'translated', address: addressOf(physPage, offset), pages, permissions, stale: false },
    looked,
    firstRead,
  );
}
