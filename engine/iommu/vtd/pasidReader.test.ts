/**
 * Requests through scalable mode (VT-d specification 3.4.3, 3.8, 9.4 to 9.6), against a lookup written from the bit tables on whole words.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { naiveFirstStage, naiveNestedWalk, naiveSecondStage } from '../formats/naiveNested.ts';
import { naiveWalk, readEntry, writeEntry } from '../formats/naiveTables.ts';
import { FunctionalTranslation } from '../functionalTranslation.ts';
import { PasidReader } from './pasidReader.ts';

const PAGES = 2 ** 12;
const ROOT = 1;
const CONTEXT = 2;
const DIRECTORY = 16;
const PASID_TABLE = 100;
const DOMAIN = 0x1234n;

interface Words {
  readonly root: bigint;
  readonly context: readonly [bigint, bigint];
  readonly directory: bigint;
  readonly entry: readonly [bigint, bigint, bigint];
}

/** Puts one device's chain of entries where the specification says they lie. */
function place(memory: PhysicalMemory, sourceId: number, pasid: number, words: Words): void {
  const bus = sourceId >> 8;
  const upper = (sourceId & 0x80) === 0 ? 0 : 1;
  writeEntry(memory, ROOT, bus * 2 + upper, words.root);
  words.context.forEach((word, index) => {
    writeEntry(memory, CONTEXT, (sourceId & 0x7f) * 4 + index, word);
  });
  const index = pasid >> 6;
  writeEntry(memory, DIRECTORY + (index >> 9), index & 511, words.directory);
  words.entry.forEach((word, at) => {
    writeEntry(memory, PASID_TABLE, (pasid & 63) * 8 + at, word);
  });
}

function field(word: bigint, high: number, low: number): number {
  return Number((word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
}

function expected(words: Words, pasid: number, plain: boolean): string {
  const { context, entry } = words;
  if (field(words.root, 0, 0) === 0) return 'fault 0x39';
  if (field(context[0], 0, 0) === 0) return 'fault 0x41';
  if (!plain && field(context[0], 3, 3) === 0) return 'fault 0x45';
  if (pasid >> 6 >= 2 ** (7 + field(context[0], 11, 9))) return plain ? 'fault 0x48' : 'fault 0x46';
  if (field(words.directory, 0, 0) === 0) return 'fault 0x51';
  if (field(entry[0], 0, 0) === 0) return 'fault 0x59';
  const first = `${field(entry[2], 63, 12) % 2 ** 40} of ${field(entry[2], 3, 2) + 4}`;
  const second = `${field(entry[0], 63, 12) % 2 ** 40} of ${field(entry[0], 4, 2) + 2}`;
  const badFirst = field(entry[2], 3, 2) > 1;
  const badSecond = ![1, 2, 3].includes(field(entry[0], 4, 2));
  const tags = `${field(entry[1], 15, 0)}/${pasid}`;
  switch (field(entry[0], 8, 6)) {
    case 1:
      return badFirst ? 'fault 0x5b' : `${tags} first ${first}`;
    case 2:
      return badSecond ? 'fault 0x5b' : `${tags} second ${second}`;
    case 3:
      return badFirst || badSecond ? 'fault 0x5b' : `${tags} first ${first} second ${second}`;
    case 4:
      return `${tags} passes`;
    default:
      return 'fault 0x5b';
  }
}

function answered(reader: PasidReader, sourceId: number, pasid: number): string {
  if (!reader.read(ROOT, sourceId, pasid)) return `fault 0x${reader.fault.toString(16)}`;
  const { type, domainId, firstTable, firstLevels, secondTable, secondLevels } = reader;
  const first = type === 1 || type === 3 ? ` first ${firstTable} of ${firstLevels}` : '';
  const second = type === 2 || type === 3 ? ` second ${secondTable} of ${secondLevels}` : '';
  return `${domainId}/${reader.pasid}${first}${second}${type === 4 ? ' passes' : ''}`;
}

test('every combination of bits leads where the tables of the specification say (9.4 to 9.6)', () => {
  const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const likely = fc.constantFrom(1n, 1n, 1n, 1n, 1n, 1n, 0n);
  const chain = fc.record({
    sourceId: fc.nat(0xffff),
    pasid: fc.oneof(fc.nat(100), fc.nat(2 ** 20 - 1)),
    plain: fc.boolean(),
    present: fc.tuple(likely, likely, likely, likely),
    enable: fc.constantFrom(8n, 8n, 0n),
    size: fc.oneof(fc.constant(7n), fc.bigInt({ min: 0n, max: 7n })),
    entry: fc.tuple(word, word, word),
    type: fc.bigInt({ min: 0n, max: 7n }),
  });
  const seen = new Set<string>();
  fc.assert(
    fc.property(chain, ({ sourceId, pasid, plain, present, enable, size, entry, type }) => {
      const memory = new PhysicalMemory(PAGES * 4096);
      const words: Words = {
        root: (BigInt(CONTEXT) << 12n) | present[0],
        context: [(BigInt(DIRECTORY) << 12n) | (size << 9n) | enable | present[1], plain ? BigInt(pasid) : 0n],
        directory: (BigInt(PASID_TABLE) << 12n) | present[2],
        entry: [(entry[0] & ~0x1c1n) | (type << 6n) | present[3], entry[1], entry[2]],
      };
      place(memory, sourceId, pasid, words);
      const want = expected(words, pasid, plain);
      seen.add(want);
      expect(answered(new PasidReader(memory), sourceId, plain ? NO_PASID : pasid)).toBe(want);
    }),
    { numRuns: 1500, seed: 7 },
  );
  const faults = [...seen].filter((text) => text.startsWith('fault')).sort();
  expect(faults).toEqual(
    [0x39, 0x41, 0x45, 0x46, 0x48, 0x51, 0x59, 0x5b].map((fault) => `fault 0x${fault.toString(16)}`),
  );
});

/** A first-stage table and a second-stage one with random 4-KiB leaves; tables of the first lie where guest and host addresses agree. */
function twoStages(seed: number) {
  const memory = new PhysicalMemory(PAGES * 4096);
  let state = seed;
  const below = (limit: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * limit);
  };
  const first = [200, 201, 202, 203] as const;
  const second = [210, 211, 212, 213] as const;
  for (const [tables, flags] of [
    [first, 7n],
    [second, 3n],
  ] as const) {
    for (let at = 0; at < 3; at += 1) writeEntry(memory, tables[at]!, 0, (BigInt(tables[at + 1]!) << 12n) | flags);
  }
  for (let index = 0; index < 512; index += 1) {
    const guest = BigInt(below(512)) << 12n;
    writeEntry(memory, first[3], index, guest | [7n, 7n, 5n, 0n, 3n][below(5)]!);
    const own = first.includes(index as 200);
    const host = BigInt(own ? index : 1024 + below(1024)) << 12n;
    writeEntry(memory, second[3], index, host | (own ? 3n : [3n, 3n, 1n, 0n][below(4)]!));
  }
  return { memory, first: first[0], second: second[0] };
}

test.each([
  ['first stage', 1n],
  ['second stage', 2n],
  ['nested', 3n],
  ['pass-through', 4n],
])('%s, with a PASID and without: pages and refusals of a walk written from the bit tables', (_name, type) => {
  for (const seed of [1, 2, 3]) {
    const { memory, first, second } = twoStages(seed);
    const device = new PasidReader(memory);
    const iommu = new FunctionalTranslation(memory, device);
    iommu.setRootTable(ROOT);
    for (const [sourceId, pasid] of [
      [0x0108, 0x345],
      [0x01f8, 0],
    ] as const) {
      place(memory, sourceId, pasid, {
        root: (BigInt(CONTEXT) << 12n) | 1n,
        context: [(BigInt(DIRECTORY) << 12n) | (7n << 9n) | 9n, BigInt(pasid)],
        directory: (BigInt(PASID_TABLE) << 12n) | 1n,
        entry: [(BigInt(second) << 12n) | (type << 6n) | (2n << 2n) | 1n, DOMAIN, BigInt(first) << 12n],
      });
      for (let page = 0; page < 512; page += 1) {
        const write = page % 2 === 1;
        const address = BigInt(page) << 12n;
        const wanted = naive(memory, Number(type), first, second, address, write);
        const got = iommu.translate(sourceId, page % 3 === 0 ? NO_PASID : pasid, page, write);
        expect(got ? iommu.physPage : -iommu.faultStage).toBe(wanted);
        expect([device.domainId, device.pasid]).toEqual([Number(DOMAIN), pasid]);
      }
    }
  }
});

/** The page, or minus the stage that refuses. */
function naive(
  memory: PhysicalMemory,
  type: number,
  first: number,
  second: number,
  address: bigint,
  write: boolean,
): number {
  if (type === 4) return Number(address >> 12n);
  if (type === 3) {
    const stages = [naiveFirstStage(4), naiveSecondStage(4)] as const;
    const roots = [BigInt(first) << 12n, BigInt(second) << 12n] as const;
    const found = naiveNestedWalk(memory, stages[0], roots[0], stages[1], roots[1], address, write);
    return typeof found === 'number' ? -found : Number(found.phys >> 12n);
  }
  const format = type === 1 ? 'vtd-first-stage' : 'vtd-second-stage';
  const found = naiveWalk(memory, format, type === 1 ? first : second, 4, address, write);
  return found === null ? -type : Number(found >> 12n);
}

test('the first stage is marked accessed, and dirty by writes only (3.6.2)', () => {
  const { memory, first } = twoStages(5);
  writeEntry(memory, 203, 9, (77n << 12n) | 7n);
  place(memory, 8, 0, {
    root: (BigInt(CONTEXT) << 12n) | 1n,
    context: [(BigInt(DIRECTORY) << 12n) | 1n, 0n],
    directory: (BigInt(PASID_TABLE) << 12n) | 1n,
    entry: [(1n << 6n) | 1n, 0n, BigInt(first) << 12n],
  });
  const iommu = new FunctionalTranslation(memory, new PasidReader(memory));
  iommu.setRootTable(ROOT);
  expect([iommu.translate(8, NO_PASID, 9, false), readEntry(memory, 203, 9) & 0x60n]).toEqual([true, 0x20n]);
  expect([iommu.translate(8, NO_PASID, 9, true), readEntry(memory, 203, 9) & 0x60n]).toEqual([true, 0x60n]);
});
