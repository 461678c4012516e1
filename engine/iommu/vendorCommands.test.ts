/**
 * All of VT-d's and AMD's commands for translations against a plain list of what is kept in IOTLB, paging-structure cache and device TLBs:
 * what a command covers is gone, and nothing else is (VT-d specification 6.5.2.3 to 6.5.2.6; AMD specification 48882, 2.4.3, 2.4.4, 2.4.8;
 * PCI Express Base Specification 10.3.2). The bits of the commands are written here a second time.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Link } from '../pcie/link.ts';
import { Way } from '../pcie/way.ts';
import { NO_PASID } from '../pcie/translator.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { AmdCommandBuffer } from './amd/amdCommandBuffer.ts';
import { DeviceTlbs, type InvalidatedTlb } from './ats/deviceTlbs.ts';
import { ContextCache } from './caches/contextCache.ts';
import { Iotlb } from './caches/iotlb.ts';
import { NO_SPACE, ownerOf } from './caches/owner.ts';
import { PagingStructureCache } from './caches/pagingStructureCache.ts';
import { PAGES_PER_ENTRY, READ_WRITE } from './formats/pageTableFormat.ts';
import { FREE_IOMMU_COSTS } from './freeCosts.ts';
import { InvalidationQueue } from './vtd/invalidationQueue.ts';

interface Kept {
  readonly kind: 'translation' | 'table' | 'in a device';
  /** Domain, or the device's requester id. */
  readonly of: number;
  /** Address space, or PASID; -1: without. */
  readonly space: number;
  readonly first: number;
  readonly pages: number;
}

interface Command {
  readonly words: readonly number[];
  /** Null: either is right. */
  readonly covers: (kept: Kept) => boolean | null;
}

const DOMAINS = [5, 6];
const SOURCES = [0x100, 0x208];
const SPACES = [-1, 3, 0x345];
const SMALL_PAGES = [0, 1, 2, 3, 8, 1023, 1024];
const LARGE_PAGES = [4096, 4608, 8192];
const LARGE = 512;

function everything(): Kept[] {
  const all: Kept[] = [];
  for (const space of SPACES) {
    for (const of of DOMAINS) {
      for (const first of SMALL_PAGES) all.push({ kind: 'translation', of, space, first, pages: 1 });
      for (const first of LARGE_PAGES) all.push({ kind: 'translation', of, space, first, pages: LARGE });
      for (const first of [0, 512, 1024, 4096]) all.push({ kind: 'table', of, space, first, pages: LARGE });
    }
    for (const of of SOURCES) {
      for (const first of SMALL_PAGES) all.push({ kind: 'in a device', of, space, first, pages: 1 });
    }
  }
  return all;
}

/** A device TLB that is a list, and reads the request's body by the bit. */
class ListedTlb implements InvalidatedTlb {
  kept: { pasid: number; page: bigint }[] = [];

  invalidate(words: Uint32Array, wordAt: number, pasid: number, at: Picoseconds): Picoseconds {
    const body = BigInt(words[wordAt]!) | (BigInt(words[wordAt + 1]!) << 32n);
    let bits = 12n;
    if ((body & 0x800n) !== 0n) {
      while (bits < 63n && (body & (1n << bits)) !== 0n) bits += 1n;
      bits += 1n;
    }
    const global = (body & 1n) !== 0n;
    this.kept = this.kept.filter(
      (one) => (!global && one.pasid !== pasid) || (one.page << 12n) >> bits !== body >> bits,
    );
    return at;
  }
}

const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(1) };

/** Fills everything, sends the commands, and compares what is left with the list. */
function check(Queue: typeof InvalidationQueue | typeof AmdCommandBuffer, commands: readonly Command[]): void {
  const memory = new PhysicalMemory(64 * 4096);
  const deviceTlbs = new DeviceTlbs();
  const tlbs = new Map(SOURCES.map((source) => [source, new ListedTlb()]));
  for (const [source, tlb] of tlbs) {
    deviceTlbs.add(source, { tlb, way: new Way(new Link(LINK)), rootComplex: nanoseconds(1), queueDepth: 0 });
  }
  const iotlb = new Iotlb({ entries4K: 64, entries2M: 64, entries1G: 1, ways: 64 });
  const pagingCache = new PagingStructureCache({ entries512G: 1, entries1G: 1, entries2M: 64 }, PAGES_PER_ENTRY);
  const caches = { iotlb, pagingCache, contextCache: new ContextCache(1), emptiesSets: false, deviceTlbs };
  const queue = new Queue(memory, new FrameAllocator(memory, 1, 63), caches, FREE_IOMMU_COSTS, new Counters());
  const all = everything();
  for (const { kind, of, space, first, pages } of all) {
    const owner = ownerOf(of, space);
    if (kind === 'translation') iotlb.fill(owner, first, pages === 1 ? 0 : 1, 7 * LARGE, READ_WRITE, 1, 0);
    else if (kind === 'table') pagingCache.fill(owner, first, 0, 9, READ_WRITE);
    else tlbs.get(of)!.kept.push({ pasid: space, page: BigInt(first) });
  }
  const isKept = ({ kind, of, space, first }: Kept): boolean => {
    if (kind === 'translation') return iotlb.find(ownerOf(of, space), first);
    if (kind === 'table') return pagingCache.find(ownerOf(of, space), first);
    return tlbs.get(of)!.kept.some((one) => one.pasid === space && one.page === BigInt(first));
  };
  expect(all.every(isKept)).toBe(true);
  const words = commands.flatMap((command) => command.words);
  queue.submit(Uint32Array.from(words), commands.length, picoseconds(0));
  const verdicts = all.map((one) => commands.map(({ covers }) => covers(one)));
  const stale = all.filter((one, index) => verdicts[index]!.includes(true) && isKept(one));
  const lost = all.filter((one, index) => verdicts[index]!.every((verdict) => verdict === false) && !isKept(one));
  expect({ stale, lost }).toEqual({ stale: [], lost: [] });
}

/** Pages [first, first + 2^log2), naturally aligned around a page. */
const range = fc
  .tuple(fc.oneof(fc.constantFrom(...SMALL_PAGES, ...LARGE_PAGES), fc.nat(9000), fc.nat(2 ** 31)), fc.nat(14))
  .map(([page, log2]) => ({ first: page - (page % 2 ** log2), log2, pages: 2 ** log2 }));
interface Range {
  readonly first: number;
  readonly log2: number;
  readonly pages: number;
}
const overlaps = (kept: Kept, { first, pages }: Range): boolean =>
  kept.first < first + pages && first < kept.first + kept.pages;
const domain = fc.constantFrom(...DOMAINS, 7);
const source = fc.constantFrom(...SOURCES, 0x300);
const pasid = fc.constantFrom(3, 0x345, 9);
const inIommu = (kept: Kept): boolean => kept.kind !== 'in a device';

function words(low: bigint, high: bigint): number[] {
  return [low, low >> 32n, high, high >> 32n].map((word) => Number(word & 0xffff_ffffn));
}

/** Address field of a range that says its own size: below the highest bit of the size all ones. */
function sizedAddress({ first, log2 }: Range): bigint {
  return (BigInt(first) << 12n) | (log2 === 0 ? 0n : ((1n << BigInt(log2 - 1)) - 1n) << 12n);
}

/** PASID 7:0 at 23:16, 19:8 at 59:48. */
function devicePasid(pasid: number): bigint {
  return (BigInt(pasid & 0xff) << 16n) | (BigInt(pasid >> 8) << 48n);
}

const vtdCommands: fc.Arbitrary<Command> = fc.oneof(
  { arbitrary: fc.constant<Command>({ words: words(2n | (1n << 4n), 0n), covers: inIommu }), weight: 1 },
  {
    arbitrary: domain.map<Command>((of) => ({
      words: words(2n | (2n << 4n) | (BigInt(of) << 16n), 0n),
      covers: (kept) => inIommu(kept) && kept.of === of,
    })),
    weight: 1,
  },
  {
    arbitrary: fc.tuple(domain, range, fc.boolean()).map<Command>(([of, pages, hint]) => ({
      words: words(
        2n | (3n << 4n) | (BigInt(of) << 16n),
        (BigInt(pages.first) << 12n) | (hint ? 0x40n : 0n) | BigInt(pages.log2),
      ),
      covers: (kept) => {
        if (!inIommu(kept) || kept.of !== of) return false;
        if (kept.kind === 'table') return kept.space === NO_SPACE ? overlaps(kept, pages) && !hint : null;
        // of nested translations nobody knows whether the second stage's page is on their way
        return kept.space !== NO_SPACE || overlaps(kept, pages);
      },
    })),
    weight: 3,
  },
  {
    arbitrary: fc.tuple(domain, pasid).map<Command>(([of, space]) => ({
      words: words(6n | (2n << 4n) | (BigInt(of) << 16n) | (BigInt(space) << 32n), 0n),
      covers: (kept) => inIommu(kept) && kept.of === of && kept.space === space,
    })),
    weight: 1,
  },
  {
    arbitrary: fc.tuple(domain, pasid, range, fc.boolean()).map<Command>(([of, space, pages, hint]) => ({
      words: words(
        6n | (3n << 4n) | (BigInt(of) << 16n) | (BigInt(space) << 32n),
        (BigInt(pages.first) << 12n) | (hint ? 0x40n : 0n) | BigInt(pages.log2),
      ),
      covers: (kept) =>
        inIommu(kept) &&
        kept.of === of &&
        kept.space === space &&
        overlaps(kept, pages) &&
        !(hint && kept.kind === 'table'),
    })),
    weight: 3,
  },
  {
    arbitrary: fc.tuple(source, range).map<Command>(([of, pages]) => ({
      words: words(3n | (BigInt(of) << 32n), sizedAddress(pages) | (pages.log2 === 0 ? 0n : 1n)),
      covers: (kept) => !inIommu(kept) && kept.of === of && kept.space === NO_PASID && overlaps(kept, pages),
    })),
    weight: 3,
  },
  {
    arbitrary: fc.tuple(source, pasid, range, fc.boolean()).map<Command>(([of, space, pages, global]) => ({
      words: words(
        8n | (BigInt(of) << 16n) | (BigInt(space) << 32n),
        sizedAddress(pages) | (pages.log2 === 0 ? 0n : 0x800n) | (global ? 1n : 0n),
      ),
      covers: (kept) => !inIommu(kept) && kept.of === of && (global || kept.space === space) && overlaps(kept, pages),
    })),
    weight: 3,
  },
);

const amdCommands: fc.Arbitrary<Command> = fc.oneof(
  { arbitrary: fc.constant<Command>({ words: words(8n << 60n, 0n), covers: inIommu }), weight: 1 },
  {
    arbitrary: fc.tuple(domain, fc.option(pasid), range, fc.boolean()).map<Command>(([of, space, pages, upper]) => ({
      words: words(
        (3n << 60n) | (BigInt(of) << 32n) | BigInt(space ?? 0),
        sizedAddress(pages) | (pages.log2 === 0 ? 0n : 1n) | (upper ? 2n : 0n) | (space === null ? 0n : 4n),
      ),
      covers: (kept) =>
        inIommu(kept) &&
        kept.of === of &&
        (space === null || kept.space === space) &&
        overlaps(kept, pages) &&
        (upper || kept.kind === 'translation'),
    })),
    weight: 4,
  },
  {
    arbitrary: fc.tuple(source, fc.option(pasid), range).map<Command>(([of, space, pages]) => ({
      words: words(
        (4n << 60n) | (BigInt(of) << 32n) | devicePasid(space ?? 0) | (32n << 24n) | BigInt(of),
        sizedAddress(pages) | (pages.log2 === 0 ? 0n : 1n) | (space === null ? 0n : 4n),
      ),
      covers: (kept) => !inIommu(kept) && kept.of === of && kept.space === (space ?? NO_PASID) && overlaps(kept, pages),
    })),
    weight: 4,
  },
);

test.each([
  ['VT-d', InvalidationQueue, vtdCommands],
  ['AMD', AmdCommandBuffer, amdCommands],
] as const)('%s: what a command covers is gone, and nothing else is', (_vendor, Queue, command) => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 1, maxLength: 4 }), (commands) => {
      check(Queue, commands);
    }),
    { seed: 7, numRuns: 600 },
  );
});
